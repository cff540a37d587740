"""The protocol, endpoint by endpoint, against our server and KServe's plain one: one table, and the known differences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from serving.running import HERE, Running, ours, run_server
from serving.sample_predictors import ROW
from tritonclient.grpc import service_pb2 as pb

from kserve_ext.bench.codec import decode, encode
from kserve_ext.bench.exchange import exchange
from kserve_ext.bench.message import Reply, Request
from kserve_ext.bench.payload import Sample
from kserve_ext.bench.target import parse_target
from kserve_ext.bench.tensor import Tensor

OURS, PLAIN = "ours", "plain KServe"
JSON = (("Content-Type", "application/json"),)
REST = parse_target("http://127.0.0.1:1", model="m")  # says how an answer is to be read


@pytest.fixture(scope="module")
def our_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("ours")
    with run_server(ours("Doubler", folder), folder, KSERVE_EXT_DRAIN_DELAY="0") as running:
        yield running


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with run_server([str(HERE / "plain_kserve.py")], tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(params=[OURS, PLAIN])
def server(request: pytest.FixtureRequest) -> Running:
    running: Running = request.getfixturevalue("our_server" if request.param == OURS else "plain_server")
    return running


SAMPLE = Sample(inputs=(Tensor(name="x", datatype="FP32", data=np.arange(2 * ROW, dtype=np.float32).reshape(2, ROW)),))
DOUBLED = (2 * SAMPLE.inputs[0].data).tolist()


def ask(server: Running, method: str, path: str, body: Any = None) -> Reply:
    raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    (reply,) = exchange(server.rest, [Request(path=path, method=method, body=raw, headers=JSON)])
    return reply


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_v2_inference_over_http(server: Running, binary: bool) -> None:
    request = encode(SAMPLE, server.rest, binary=binary)
    (reply,) = exchange(server.rest, [request])
    assert reply.outcome == "", reply.detail
    assert _without_nulls(reply) == [DOUBLED]


def _without_nulls(reply: Reply) -> list[Any]:
    """The outputs of an answer over HTTP; KServe writes null for parameters it has not."""
    content = orjson.loads(reply.body[: reply.json_bytes])
    for output in content["outputs"]:
        output["parameters"] = output.get("parameters") or {}
    body = orjson.dumps(content) + (reply.body[reply.json_bytes :] if reply.json_bytes is not None else b"")
    size = None if reply.json_bytes is None else len(orjson.dumps(content))
    return [tensor.data.tolist() for tensor in decode(replace(reply, body=body, json_bytes=size), REST)]


def test_v2_inference_over_grpc(server: Running) -> None:
    (reply,) = exchange(server.rpc, [encode(SAMPLE, server.rpc)])
    assert reply.outcome == "", reply.detail
    assert [tensor.data.tolist() for tensor in decode(reply, server.rpc)] == [DOUBLED]


def test_v1_prediction(server: Running) -> None:
    reply = ask(server, "POST", "/v1/models/m:predict", {"instances": SAMPLE.inputs[0].data.tolist()})
    assert orjson.loads(reply.body) == {"predictions": DOUBLED}


def test_a_cloud_event_is_answered_with_one(server: Running) -> None:
    about = {"specversion": "1.0", "id": "1", "source": "t", "type": "t", "time": "2026-01-01T00:00:00Z"}
    event = {**about, "data": {"instances": [[1.0] * ROW]}}
    headers = (("Content-Type", "application/cloudevents+json"),)
    request = Request(path="/v1/models/m:predict", body=orjson.dumps(event), headers=headers)
    (reply,) = exchange(server.rest, [request])
    assert orjson.loads(reply.body)["data"] == {"predictions": [[2.0] * ROW]}


INFER = "/v2/models/m/infer"
WRONG = {"name": "x", "shape": [1, ROW], "datatype": "FP32", "data": [1, 2]}
# method, path, body: the status of our server, KServe's where it differs, and why
STATUSES: list[tuple[str, str, Any, int, int | None, str]] = [
    ("GET", "/v2/health/live", None, 200, None, ""),
    ("GET", "/v2/health/ready", None, 200, None, ""),
    ("GET", "/v2", None, 200, None, ""),
    ("GET", "/v2/models", None, 200, None, ""),
    ("GET", "/v2/models/m", None, 200, None, ""),
    ("GET", "/v2/models/m/ready", None, 200, None, ""),
    ("GET", "/v2/models/none", None, 404, None, ""),
    ("GET", "/v2/models/none/ready", None, 404, None, ""),
    ("GET", "/v1/models", None, 200, None, ""),
    ("GET", "/v1/models/m", None, 200, None, ""),
    ("GET", "/metrics", None, 200, None, ""),
    ("POST", "/v2/models/none/infer", {"inputs": [WRONG]}, 404, None, ""),
    ("POST", "/v1/models/m:predict", b"{", 400, None, ""),
    ("GET", "/v2/models/m/versions/1", None, 200, 501, "KServe has no versions"),
    ("GET", "/v2/models/m/versions/9/ready", None, 404, 501, "KServe has no versions"),
    ("GET", "/v2/models/m/stats", None, 200, 404, "KServe has no statistics"),
    ("POST", "/v2/repository/index", {}, 200, 404, "KServe does not route the index"),
    ("POST", INFER, b"{", 400, 422, "pydantic refuses with its own status"),
    ("POST", INFER, {"inputs": [WRONG]}, 400, 500, "KServe reshapes without looking"),
    ("POST", "/v1/models/m:predict", {}, 400, 500, "KServe leaves it to the model"),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "at_kserve", "reason"),
    STATUSES,
    ids=[f"{row[0]} {row[1]} {index}" for index, row in enumerate(STATUSES)],
)
def test_statuses_are_kserves_but_for_the_known_differences(
    our_server: Running, plain_server: Running, method: str, path: str, body: Any, status: int, at_kserve: int | None,
    reason: str,
) -> None:  # fmt: skip
    expected = {OURS: status, PLAIN: at_kserve or status}
    assert bool(reason) == (at_kserve is not None)
    found = {}
    for name, server in ((OURS, our_server), (PLAIN, plain_server)):
        outcome = ask(server, method, path, body).outcome
        found[name] = int(outcome.removeprefix("HTTP ")) if outcome else 200
    assert found == expected


def test_the_answers_fields_are_kserves(our_server: Running, plain_server: Running) -> None:
    """KServe writes null for what is absent; we leave it out, and name the version."""
    request = encode(SAMPLE, our_server.rest, binary=False)
    answers = []
    for server in (our_server, plain_server):
        (reply,) = exchange(server.rest, [request])
        content = orjson.loads(reply.body)
        assert isinstance(content.pop("id"), str)
        content.pop("model_version", None)
        for output in content["outputs"]:
            output.pop("parameters", None)
        content.pop("parameters", None)
        answers.append(content)
    assert answers[0] == answers[1]


def test_explain_goes_through_kserves_own_route(our_server: Running) -> None:
    reply = ask(our_server, "POST", "/v1/models/m:explain", {"instances": [[10, 20, 30, 40]]})
    assert orjson.loads(reply.body) == {"explanations": [[1.0, 2.0, 3.0, 4.0]]}


def test_a_model_is_unloaded_and_loaded_again(our_server: Running) -> None:
    assert ask(our_server, "POST", "/v2/repository/models/m/unload").outcome == ""
    assert our_server.status("/v2/health/ready") == 503
    (entry,) = orjson.loads(ask(our_server, "POST", "/v2/repository/index").body)
    assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "unloaded")
    (reply,) = exchange(our_server.rest, [encode(SAMPLE, our_server.rest)])
    assert reply.outcome == "HTTP 503"
    assert ask(our_server, "POST", "/v2/repository/models/m/load").outcome == ""
    assert our_server.status("/v2/health/ready") == 200
    (reply,) = exchange(our_server.rest, [encode(SAMPLE, our_server.rest)])
    assert reply.outcome == ""


# ----------------------------------------------------------------------------------------------------------- gRPC

SERVICE = "/inference.GRPCInferenceService/"


def call(channel: grpc.Channel, method: str, request: Any, answer: Any, **options: Any) -> Any:
    stub = channel.unary_unary(method, type(request).SerializeToString, answer.FromString)
    return stub(request, **options)


@pytest.fixture
def channel(our_server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(our_server.rpc.address) as channel:
        yield channel


def infer_request(**changes: Any) -> pb.ModelInferRequest:
    raw = changes.pop("raw", SAMPLE.inputs[0].data.tobytes())
    request = pb.ModelInferRequest(**{"model_name": "m", "id": "7", **changes})
    request.inputs.add(name="x", datatype="FP32", shape=[2, ROW])
    if raw is not None:
        request.raw_input_contents.append(raw)
    return request


@pytest.mark.parametrize(
    ("request_message", "code", "words"),
    [
        (infer_request(model_name="none"), grpc.StatusCode.NOT_FOUND, "none"),
        (infer_request(model_version="9"), grpc.StatusCode.NOT_FOUND, "has version 1, not 9"),
        (infer_request(raw=b"123"), grpc.StatusCode.INVALID_ARGUMENT, "3 bytes"),
        (infer_request(raw=None), grpc.StatusCode.INVALID_ARGUMENT, "0 values"),
        (infer_request(raw=b"\0\0\x80\xbf" * 2 * ROW), grpc.StatusCode.INTERNAL, "the row is bad"),
    ],
    ids=["model", "version", "too few bytes", "no contents", "bad row"],
)
def test_a_grpc_request_that_fails_has_a_code_and_says_why(
    channel: grpc.Channel, request_message: Any, code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, f"{SERVICE}ModelInfer", request_message, pb.ModelInferResponse)
    assert (caught.value.code(), words in caught.value.details()) == (code, True), caught.value.details()


def test_typed_contents_are_taken_too(channel: grpc.Channel) -> None:
    request = infer_request(raw=None)
    request.inputs[0].contents.fp32_contents.extend(SAMPLE.inputs[0].data.ravel().tolist())
    response = call(channel, f"{SERVICE}ModelInfer", request, pb.ModelInferResponse)
    assert np.frombuffer(response.raw_output_contents[0], np.float32).reshape(2, ROW).tolist() == DOUBLED
    assert (response.id, response.model_version) == ("7", "1")


def test_health_readiness_and_metadata_over_grpc(channel: grpc.Channel) -> None:
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"") == b"\x08\x01"  # status: SERVING
    assert check(b"\n\x01m") == b"\x08\x01"
    with pytest.raises(grpc.RpcError) as caught:
        check(b"\n\x04none")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert call(channel, f"{SERVICE}ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
    assert call(channel, f"{SERVICE}ModelReady", pb.ModelReadyRequest(name="m"), pb.ModelReadyResponse).ready
    about = call(channel, f"{SERVICE}ModelMetadata", pb.ModelMetadataRequest(name="m"), pb.ModelMetadataResponse)
    assert ([*about.inputs[0].shape], [*about.versions]) == ([-1, ROW], ["1"])


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    ask = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    answer = next(ask(iter([b"\x3a\x00"])))  # list_services: ""
    assert b"inference.GRPCInferenceService" in answer
    assert b"grpc.health.v1.Health" in answer


def test_a_stream_answers_in_order_and_errors_stay_with_their_request(channel: grpc.Channel) -> None:
    stream = channel.stream_stream(
        f"{SERVICE}ModelStreamInfer", pb.ModelInferRequest.SerializeToString, pb.ModelStreamInferResponse.FromString
    )
    requests = [infer_request(id=str(number), **({"raw": b"123"} if number == 2 else {})) for number in range(5)]
    answers = list(stream(iter(requests)))
    assert [answer.infer_response.id for answer in answers] == list("01234")
    assert [bool(answer.error_message) for answer in answers] == [False, False, True, False, False]


TRACE = "00-" + "a" * 31 + "1-" + "b" * 16 + "-01"


def test_a_traced_request_is_an_exemplar_of_the_latency_in_openmetrics(our_server: Running) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    request = encode(SAMPLE, our_server.rest)
    exchange(our_server.rest, [replace(request, headers=(*request.headers, ("traceparent", TRACE)))])
    wanted = Request(path="/metrics", method="GET", headers=(("Accept", "application/openmetrics-text"),))
    (reply,) = exchange(our_server.rest, [wanted])
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    assert families["nv_inference_count"].type == "unknown"
    found = [sample.exemplar for sample in families["request_predict_seconds"].samples if sample.exemplar]
    assert {one.labels["trace_id"] for one in found} == {"a" * 31 + "1"}
