from __future__ import annotations

import socket
import threading
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from kserve_ext.client import (
    AnswerError,
    DeadlineError,
    FailedError,
    InferenceError,
    NotFoundError,
    RefusedError,
    RetryPolicy,
    UnavailableError,
)

X = {"x": np.array([1.5], np.float32)}
PATIENT = {"retry": RetryPolicy(first_wait_s=0.0)}


def good(body: bytes, context: grpc.ServicerContext) -> bytes:
    """The first input, doubled."""
    request = service_pb2.ModelInferRequest.FromString(body)
    answer = service_pb2.ModelInferResponse()
    answer.outputs.add(name="y", datatype="FP32", shape=[1])
    answer.raw_output_contents.append((2 * np.frombuffer(request.raw_input_contents[0], np.float32)).tobytes())
    message: bytes = answer.SerializeToString()
    return message


class Failing:
    """Ends the first calls with a status, and answers the later ones."""

    def __init__(self, code: grpc.StatusCode, times: int = 1, pushback_ms: str | None = None) -> None:
        self.code, self.times, self.pushback_ms, self.calls = code, times, pushback_ms, 0

    def __call__(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        if self.calls > self.times:
            return good(body, context)
        if self.pushback_ms is not None:
            context.set_trailing_metadata([("grpc-retry-pushback-ms", self.pushback_ms)])
        context.abort(self.code, "the reason")
        raise AssertionError


def test_arrays_go_in_and_come_out_as_raw_bytes(grpc_server: Any, ask: Any) -> None:
    assert ask(grpc_server(good), "infer", "m", X)["y"].tolist() == [3.0]


def test_the_server_sees_the_deadline_and_the_headers(grpc_server: Any, ask: Any) -> None:
    seen: dict[str, Any] = {}

    def look(body: bytes, context: grpc.ServicerContext) -> bytes:
        seen.update(left_s=context.time_remaining(), **dict(context.invocation_metadata()))
        return good(body, context)

    ask(grpc_server(look), "infer", "m", X, timeout_s=7.0, options={"headers": {"Authorization": "Bearer t"}})
    assert seen["authorization"] == "Bearer t"
    assert 5 < seen["left_s"] < 8  # gRPC rounds what it writes up


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, RefusedError),
        (grpc.StatusCode.NOT_FOUND, NotFoundError),
        (grpc.StatusCode.INTERNAL, FailedError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineError),
    ],
)
def test_each_kind_of_failure_has_its_own_error_and_is_not_sent_again(
    grpc_server: Any, ask: Any, code: grpc.StatusCode, kind: type[InferenceError]
) -> None:
    failing = Failing(code)
    with pytest.raises(kind, match=rf"gRPC {code.value[0]} {code.name}; the reason") as caught:
        ask(grpc_server(failing), "infer", "m", X)
    assert (type(caught.value), failing.calls) == (kind, 1)


@pytest.mark.parametrize(
    ("code", "pushback_ms"),
    [
        (grpc.StatusCode.UNAVAILABLE, None),
        (grpc.StatusCode.UNAVAILABLE, "1"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "1"),
    ],
)
def test_a_server_that_did_not_begin_is_asked_again(
    grpc_server: Any, ask: Any, code: grpc.StatusCode, pushback_ms: str | None
) -> None:
    failing = Failing(code, 2, pushback_ms)
    assert ask(grpc_server(failing), "infer", "m", X, options=PATIENT)["y"].tolist() == [3.0]
    assert failing.calls == 3


def test_a_server_that_pushes_back_for_good_is_not_asked_again(grpc_server: Any, ask: Any) -> None:
    failing = Failing(grpc.StatusCode.UNAVAILABLE, 2, "-1")
    with pytest.raises(UnavailableError):
        ask(grpc_server(failing), "infer", "m", X, options=PATIENT)
    assert failing.calls == 1


def test_nobody_listening_is_tried_again_and_then_said(ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnavailableError, match=r"\(3 attempts\): gRPC 14 UNAVAILABLE"):
        ask(f"grpc://127.0.0.1:{port}", "infer", "m", X, options=PATIENT)


def test_a_server_that_says_nothing_ends_at_the_deadline(grpc_server: Any, ask: Any) -> None:
    over = threading.Event()

    def silent(body: bytes, context: grpc.ServicerContext) -> bytes:
        over.wait(10)
        return b""

    try:
        with pytest.raises(DeadlineError) as caught:
            ask(grpc_server(silent), "infer", "m", X, timeout_s=0.1)
    finally:
        over.set()
    assert caught.value.attempts == 1


@pytest.mark.parametrize("body", [b"\xff\xff", service_pb2.ModelInferResponse(raw_output_contents=[b"1"])])
def test_an_answer_that_is_not_the_protocol_s_is_said_to_be_so(grpc_server: Any, ask: Any, body: Any) -> None:
    raw = body if isinstance(body, bytes) else body.SerializeToString()
    with pytest.raises(AnswerError):
        ask(grpc_server(lambda request, context: raw), "infer", "m", X)


def test_an_answer_larger_than_grpc_s_default_limit_is_taken(grpc_server: Any, ask: Any) -> None:
    answer = service_pb2.ModelInferResponse()
    answer.outputs.add(name="y", datatype="UINT8", shape=[2**23])
    answer.raw_output_contents.append(bytes(2**23))
    assert ask(grpc_server(lambda request, context: answer.SerializeToString()), "infer", "m", X)["y"].size == 2**23


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("model", ["", "m"])
def test_a_server_or_model_is_ready_or_not(grpc_server: Any, ask: Any, model: str, ready: bool) -> None:
    answer = service_pb2.ModelReadyResponse(ready=ready).SerializeToString()
    assert ask(grpc_server(lambda request, context: answer), "ready", model) is ready


def test_nobody_listening_is_not_ready(ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ask(f"grpc://127.0.0.1:{port}", "ready", "m") is False
