from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from kserve_ext.client import (
    NO_RETRY,
    TIMEOUT_HEADER,
    AnswerError,
    AsyncClient,
    Client,
    DeadlineError,
    FailedError,
    InferenceError,
    NotFoundError,
    RefusedError,
    RetryPolicy,
    UnavailableError,
)
from kserve_ext.errors import InputError

X = {"x": np.array([1.5], np.float32)}
GOOD = json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [2.5]}]}).encode()
PATIENT = {"retry": RetryPolicy(first_wait_s=0.0)}


def full(after: str = "0") -> tuple[int, dict[str, str], bytes]:
    return 503, {"Retry-After": after}, b"full"


def test_arrays_go_in_and_come_out(http_server: Any, ask: Any) -> None:
    server = http_server()
    assert ask(server.url, "infer", "m", X)["y"].tolist() == [2.5]
    (seen,) = server.seen
    size = int(seen.headers["Inference-Header-Content-Length"])
    assert (seen.path, seen.body[size:]) == ("/v2/models/m/infer", X["x"].tobytes())


def test_a_server_without_the_binary_extension_gets_plain_json(http_server: Any, ask: Any) -> None:
    server = http_server()
    ask(server.url, "infer", "m", X, version="2", options={"binary": False})
    assert server.seen[0].path == "/v2/models/m/versions/2/infer"
    assert json.loads(server.seen[0].body) == {
        "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]}]
    }


def test_the_server_is_told_how_long_the_client_still_waits(http_server: Any, ask: Any) -> None:
    server = http_server(full(), (200, {}, GOOD))
    ask(server.url, "infer", "m", X, timeout_s=7.0, options=PATIENT)
    first_ms, second_ms = (int(seen.headers[TIMEOUT_HEADER]) for seen in server.seen)
    assert second_ms <= first_ms <= 7000
    assert first_ms > 6000


def test_headers_and_the_host_name_of_a_gateway_are_sent(http_server: Any, ask: Any) -> None:
    server = http_server()
    options = {"headers": {"Authorization": "Bearer t"}, "authority": "digits.example.com"}
    ask(server.url, "infer", "m", X, options=options)
    assert {name: server.seen[0].headers[name] for name in ("Host", "Authorization")} == {
        "Host": "digits.example.com",
        "Authorization": "Bearer t",
    }


def test_a_model_s_name_cannot_leave_its_place_in_the_path(http_server: Any, ask: Any) -> None:
    server = http_server()
    ask(server.url, "infer", "a/../b?c", X)
    assert server.seen[0].path == "/v2/models/a%2F..%2Fb%3Fc/infer"


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (400, RefusedError, 2), (404, NotFoundError, 2), (413, RefusedError, 2), (500, FailedError, 2),
        (503, UnavailableError, 4), (504, DeadlineError, 4), (0, UnavailableError, 4),
    ],
)  # fmt: skip
def test_each_kind_of_failure_has_its_own_error_and_is_not_sent_again(
    http_server: Any, ask: Any, status: int, kind: type[InferenceError], exit_code: int
) -> None:
    server = http_server((status, {}, b'{"error": "the reason"}'))
    with pytest.raises(kind) as caught:
        ask(server.url, "infer", "m", X)
    assert (type(caught.value), caught.value.exit_code, len(server.seen)) == (kind, exit_code, 1)
    if status:
        assert f"HTTP {status}" in caught.value.message
        assert "the reason" in caught.value.message
    assert f"m at {server.url.removeprefix('http://')}" in caught.value.message
    assert caught.value.remedy


def test_a_server_that_says_when_is_asked_again_over_the_same_connection(http_server: Any, ask: Any) -> None:
    server = http_server(full(), full(), (200, {}, GOOD))
    assert ask(server.url, "infer", "m", X, options=PATIENT)["y"].tolist() == [2.5]
    assert (len(server.seen), len(server.clients)) == (3, 1)


def test_the_error_after_the_last_attempt_says_how_many_there_were(http_server: Any, ask: Any) -> None:
    server = http_server(full())
    with pytest.raises(UnavailableError, match=r"\(3 attempts\): HTTP 503; full") as caught:
        ask(server.url, "infer", "m", X, options=PATIENT)
    assert caught.value.attempts == len(server.seen) == 3


def test_retries_of_all_requests_share_one_budget(http_server: Any) -> None:
    server = http_server(full())
    with Client(server.url, retry=RetryPolicy(first_wait_s=0.0, share=0.0, burst=3)) as client:
        for _ in range(5):
            with pytest.raises(UnavailableError):
                client.infer("m", X)
    assert len(server.seen) == 5 + 3


def test_a_wait_longer_than_the_deadline_is_not_begun(http_server: Any, ask: Any) -> None:
    server = http_server(full("60"))
    with pytest.raises(UnavailableError):
        ask(server.url, "infer", "m", X, timeout_s=5.0)
    assert len(server.seen) == 1


def test_nobody_listening_is_tried_again_and_then_said(ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnavailableError, match=r"\(3 attempts\): no connection"):
        ask(f"http://127.0.0.1:{port}", "infer", "m", X, options=PATIENT)


def test_a_server_that_takes_a_request_and_says_nothing_ends_at_the_deadline(ask: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(DeadlineError) as caught:
        ask(f"http://127.0.0.1:{listener.getsockname()[1]}", "infer", "m", X, timeout_s=0.05)
    assert caught.value.attempts == 1


def test_a_server_that_answers_byte_by_byte_ends_at_the_deadline_too(ask: Any) -> None:
    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            try:
                while not over.wait(0.005):
                    connection.sendall(b" ")
            except OSError:
                pass

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        with pytest.raises(DeadlineError):
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", "infer", "m", X, timeout_s=0.1)
        over.set()
        thread.join(10)


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[]", b'{"outputs": [{}]}', GOOD.replace(b"[1]", b"[2]"), GOOD.replace(b"FP32", b"FP8")]
)
def test_an_answer_that_is_not_the_protocol_s_is_said_to_be_so(http_server: Any, ask: Any, body: bytes) -> None:
    with pytest.raises(AnswerError):
        ask(http_server((200, {}, body)).url, "infer", "m", X)


def test_something_that_is_not_http_is_said_to_be_so(ask: Any) -> None:
    def greet(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-OpenSSH_9\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet, args=(listener,))
        thread.start()
        with pytest.raises(UnavailableError, match="no HTTP"):
            ask(f"http://127.0.0.1:{listener.getsockname()[1]}", "infer", "m", X)
        thread.join(10)


@pytest.mark.parametrize(("status", "ready"), [(200, True), (400, False), (404, False), (503, False)])
def test_a_model_is_ready_or_not(http_server: Any, ask: Any, status: int, ready: bool) -> None:
    server = http_server((status, {"Retry-After": "0"}, b""))
    assert ask(server.url, "ready", "m") is ready
    assert [seen.path for seen in server.seen] == ["/v2/models/m/ready"]
    assert ask(server.url, "ready") is ready
    assert server.seen[1].path == "/v2/health/ready"


@pytest.mark.parametrize(("status", "kind"), [(500, FailedError), (401, RefusedError), (403, RefusedError)])
def test_a_server_that_fails_or_may_not_be_asked_is_neither_ready_nor_not(
    http_server: Any, ask: Any, status: int, kind: type[InferenceError]
) -> None:
    with pytest.raises(kind):
        ask(http_server((status, {}, b"")).url, "ready")


def test_metadata_tells_inputs_and_outputs(http_server: Any, ask: Any) -> None:
    told = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": [1]}],
    }
    metadata = ask(http_server((200, {}, json.dumps(told).encode())).url, "metadata", "m")
    assert [(t.name, t.datatype, t.shape) for t in (*metadata.inputs, *metadata.outputs)] == [
        ("x", "FP32", (-1, 4)),
        ("y", "BYTES", (1,)),
    ]


def test_one_client_serves_many_threads(http_server: Any) -> None:
    server = http_server()
    with Client(server.url) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.infer("m", X)["y"].item(), range(40)))
    assert answers == [2.5] * 40
    assert len(server.clients) <= 8


def test_one_client_serves_many_tasks(http_server: Any) -> None:
    async def crowd() -> list[float]:
        async with AsyncClient(server.url) as client:
            answers = await asyncio.gather(*(client.infer("m", X) for _ in range(40)))
        return [answer["y"].item() for answer in answers]

    server = http_server()
    assert asyncio.run(crowd()) == [2.5] * 40


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("ftp://h:1", "unknown scheme"),
        ("http://h:1/path", "only scheme, host and port"),
        ("grpc://h", "no port"),
        ("Digits!", "no address and no service"),
        ("", "no address and no service"),
        (f"http://{'a' * 70}.b", "no host name"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_address_that_is_none_is_said_at_once(kind: Callable[[str], Any], where: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        kind(where)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_said(http_server: Any, ask: Any, timeout_s: float) -> None:
    server = http_server()
    with pytest.raises(InputError, match="timeout_s"):
        ask(server.url, "infer", "m", X, timeout_s=timeout_s)
    with pytest.raises(InputError, match="timeout_s"):
        ask(server.url, "ready", options={"timeout_s": timeout_s})
    assert not server.seen


def test_a_file_of_certificates_that_is_missing_is_named(ask: Any, tmp_path: Any) -> None:
    for scheme in ("https", "grpcs"):
        with pytest.raises(InputError, match=r"none\.pem"):
            ask(f"{scheme}://127.0.0.1:1", "infer", "m", X, options={"ca_file": tmp_path / "none.pem"})


def test_no_retry_is_one_attempt(http_server: Any, ask: Any) -> None:
    server = http_server(full())
    with pytest.raises(UnavailableError):
        ask(server.url, "infer", "m", X, options={"retry": NO_RETRY})
    assert len(server.seen) == 1


@pytest.mark.parametrize("space", [b"", b" "])
def test_parameters_that_are_null_are_none(http_server: Any, ask: Any, space: bytes) -> None:
    body = GOOD.replace(b'"name"', b'"parameters":' + space + b'null, "name"')
    assert ask(http_server((200, {}, body)).url, "infer", "m", X)["y"].tolist() == [2.5]


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"": "c"}, {"a": "b\r\nHost: c"}, {"a": "ü"}])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "grpc://127.0.0.1:1"])
def test_a_header_that_cannot_be_sent_is_named_and_its_value_is_not_shown(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(InputError, match="headers") as caught:
        Client(url, headers=headers)
    assert not any(value in caught.value.message.split("allowed")[0] for value in headers.values() if len(value) > 1)
