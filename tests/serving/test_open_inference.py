"""The Open Inference Protocol, endpoint by endpoint, over HTTP (JSON and binary) and gRPC: one suite for three servers.

What a server does otherwise stands in DIFFERENCES, with the reason; a difference that has gone fails as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import numpy as np
import orjson
import pytest
from serving.running import Running
from serving.sample_predictors import ROW
from tritonclient.grpc import service_pb2 as pb

from kserve_ext.bench.exchange import exchange
from kserve_ext.bench.message import Reply, Request

OURS, KSERVE, TRITON = "ours", "kserve", "triton"
SERVERS = (OURS, KSERVE, TRITON)
X = np.arange(2 * ROW, dtype=np.float32).reshape(2, ROW)
INFER = "/v2/models/m/infer"
SERVICE = "/inference.GRPCInferenceService/"
JSON, BINARY = "application/json", "application/octet-stream"


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def server(name: str, request: pytest.FixtureRequest) -> Running:
    running: Running = request.getfixturevalue({OURS: "our_server", KSERVE: "plain_server"}.get(name, "triton_server"))
    return running


# ------------------------------------------------------------------------------------------------------- over HTTP


def tensor(**changes: Any) -> dict[str, Any]:
    whole = {"name": "x", "shape": [2, ROW], "datatype": "FP32", "data": X.ravel().tolist(), **changes}
    return {key: value for key, value in whole.items() if value is not None}


def infer(*inputs: Any, **more: Any) -> Any:
    return {"id": "7", "inputs": list(inputs) or [tensor()], **more}


class Case(NamedTuple):
    """A request, and the status it is answered with; `same` looks at the answer of a good one."""

    method: str
    path: str
    body: Any = None
    status: int = 200
    same: Callable[[Any], Any] = lambda content: True


def outputs(content: Any) -> Any:
    """What an inference gives back, without what the protocol leaves open."""
    (y,) = content["outputs"]
    return content["model_name"], content["id"], y["name"], y["datatype"], y["shape"], np.ravel(y["data"]).tolist()


DOUBLED = ("m", "7", "y", "FP32", [2, ROW], (2 * X).ravel().tolist())

CASES: dict[str, Case] = {
    "live": Case("GET", "/v2/health/live"),
    "ready": Case("GET", "/v2/health/ready"),
    "server": Case("GET", "/v2", None, 200, lambda content: {"name", "version", "extensions"} <= content.keys()),
    "model ready": Case("GET", "/v2/models/m/ready"),
    "version ready": Case("GET", "/v2/models/m/versions/1/ready"),
    "no such version": Case("GET", "/v2/models/m/versions/9/ready", None, 404),
    "model": Case("GET", "/v2/models/m", None, 200, lambda content: [
        (one["name"], one["datatype"], one["shape"]) for one in (*content["inputs"], *content["outputs"])
    ] == [("x", "FP32", [-1, ROW]), ("y", "FP32", [-1, ROW])]),
    "model version": Case("GET", "/v2/models/m/versions/1", None, 200, lambda content: content["name"] == "m"),
    "no such model": Case("GET", "/v2/models/none", None, 404),
    "no such model ready": Case("GET", "/v2/models/none/ready", None, 404),
    "statistics": Case("GET", "/v2/models/m/stats", None, 200, lambda content: content["model_stats"][0]["name"] == "m"),
    "index": Case("POST", "/v2/repository/index", {}, 200, lambda content: content[0]["name"] == "m"),
    "infer": Case("POST", INFER, infer(), 200, lambda content: outputs(content) == DOUBLED),
    "infer by version": Case("POST", "/v2/models/m/versions/1/infer", infer(), 200,
                             lambda content: outputs(content) == DOUBLED),
    "infer nested data": Case("POST", INFER, infer(tensor(data=X.tolist())), 200,
                              lambda content: outputs(content) == DOUBLED),
    "infer named output": Case("POST", INFER, infer(outputs=[{"name": "y"}]), 200,
                               lambda content: outputs(content) == DOUBLED),
    "infer one row": Case("POST", INFER, infer(tensor(shape=[1, ROW], data=[1, 2, 3, 4])), 200,
                          lambda content: outputs(content)[-1] == [2, 4, 6, 8]),
    "infer parameters": Case("POST", INFER, infer(parameters={"my": 1}), 200,
                             lambda content: outputs(content) == DOUBLED),
    "no such output": Case("POST", INFER, infer(outputs=[{"name": "z"}]), 400),
    "infer no such model": Case("POST", "/v2/models/none/infer", infer(), 404),
    "infer no such version": Case("POST", "/v2/models/m/versions/9/infer", infer(), 404),
    "not JSON": Case("POST", INFER, b"{", 400),
    "empty": Case("POST", INFER, b"", 400),
    "no inputs": Case("POST", INFER, {}, 400),
    "no input": Case("POST", INFER, {"inputs": []}, 400),
    "no name": Case("POST", INFER, infer(tensor(name=None)), 400),
    "no shape": Case("POST", INFER, infer(tensor(shape=None)), 400),
    "no datatype": Case("POST", INFER, infer(tensor(datatype=None)), 400),
    "no data": Case("POST", INFER, infer(tensor(data=None)), 400),
    "another name": Case("POST", INFER, infer(tensor(name="w")), 400),
    "another datatype": Case("POST", INFER, infer(tensor(datatype="INT32", data=[1] * 2 * ROW)), 400),
    "unknown datatype": Case("POST", INFER, infer(tensor(datatype="FP7")), 400),
    "too few values": Case("POST", INFER, infer(tensor(data=[1.0, 2.0])), 400),
    "too many values": Case("POST", INFER, infer(tensor(data=[1.0] * 99)), 400),
    "another width": Case("POST", INFER, infer(tensor(shape=[2, 3], data=[1.0] * 6)), 400),
    "a negative shape": Case("POST", INFER, infer(tensor(shape=[-2, ROW])), 400),
    "a text among numbers": Case("POST", INFER, infer(tensor(data=["a"] * 2 * ROW)), 400),
    "twice the same input": Case("POST", INFER, infer(tensor(), tensor()), 400),
    "one input too many": Case("POST", INFER, infer(tensor(), tensor(name="z")), 400),
    "an id that is no text": Case("POST", INFER, {"id": [1], "inputs": [tensor()]}, 400),
    "metrics": Case("GET", "/metrics", None, 200),
}  # fmt: skip

NO_VERSIONS = "KServe has no versions"
PYDANTIC = "pydantic refuses with a status of its own"
UNCHECKED = "KServe leaves it to the predictor, which here does not look"
OWN_FAULT = "Triton calls what it cannot parse a fault of its own"
NOT_THERE = "to Triton a model or version that is not there is a bad request"

# name of the case: for a server, the status there (or "otherwise": a good answer that is another one), and why
DIFFERENCES: dict[str, dict[str, tuple[int | str, str]]] = {
    "model": {KSERVE: ("otherwise", "a predictor's shapes are not known unless it writes them down itself")},
    "metrics": {TRITON: (404, "Triton's metrics are on a port of their own")},
    "version ready": {KSERVE: (501, NO_VERSIONS)},
    "no such version": {KSERVE: (501, NO_VERSIONS), TRITON: (400, NOT_THERE)},
    "model version": {KSERVE: (501, NO_VERSIONS)},
    "infer by version": {KSERVE: (501, NO_VERSIONS)},
    "infer no such version": {KSERVE: (501, NO_VERSIONS)},
    "no such model ready": {TRITON: (400, NOT_THERE)},
    "statistics": {KSERVE: (404, "KServe has no statistics")},
    "index": {KSERVE: (404, "KServe does not route the index")},
    "not JSON": {KSERVE: (422, PYDANTIC), TRITON: (500, OWN_FAULT)},
    "empty": {KSERVE: (422, PYDANTIC)},
    "no inputs": {KSERVE: (422, PYDANTIC), TRITON: (500, OWN_FAULT)},
    "no input": {KSERVE: (500, UNCHECKED)},
    "no name": {KSERVE: (422, PYDANTIC), TRITON: (500, OWN_FAULT)},
    "no shape": {KSERVE: (422, PYDANTIC), TRITON: (500, OWN_FAULT)},
    "no datatype": {KSERVE: (422, PYDANTIC), TRITON: (500, OWN_FAULT)},
    "no data": {KSERVE: (422, PYDANTIC)},
    "another name": {KSERVE: (200, UNCHECKED)},
    "another datatype": {KSERVE: (500, UNCHECKED)},
    "too few values": {KSERVE: (500, UNCHECKED), TRITON: (500, OWN_FAULT)},
    "too many values": {KSERVE: (500, UNCHECKED), TRITON: (500, OWN_FAULT)},
    "another width": {KSERVE: (200, UNCHECKED)},
    "a negative shape": {KSERVE: (200, UNCHECKED), TRITON: (500, OWN_FAULT)},
    "a text among numbers": {KSERVE: (500, UNCHECKED), TRITON: (500, OWN_FAULT)},
    "twice the same input": {KSERVE: (200, UNCHECKED)},
    "one input too many": {KSERVE: (200, UNCHECKED)},
    "an id that is no text": {KSERVE: (422, PYDANTIC), TRITON: (500, OWN_FAULT)},
}


def content_of(reply: Reply) -> Any:
    return orjson.loads(reply.body) if reply.body[:1] in (b"{", b"[") else {}


def status_of(reply: Reply) -> int:
    return int(reply.outcome.removeprefix("HTTP ")) if reply.outcome else 200


def found_at(server: Running, case: Case) -> int | str:
    body = case.body if isinstance(case.body, bytes) else b"" if case.body is None else orjson.dumps(case.body)
    (reply,) = exchange(
        server.rest, [Request(path=case.path, body=body, method=case.method, headers=(("Content-Type", JSON),))]
    )
    status = status_of(reply)
    return "otherwise" if status == 200 and not case.same(content_of(reply)) else status


@pytest.mark.triton
@pytest.mark.parametrize("case", CASES)
def test_over_http(name: str, server: Running, case: str) -> None:
    expected, _ = DIFFERENCES.get(case, {}).get(name, (CASES[case].status, ""))
    assert found_at(server, CASES[case]) == expected


# ------------------------------------------------------------------------------------------- the binary extension

RAW = X.tobytes()


def with_bytes(head: Any, *parts: bytes) -> tuple[bytes, int]:
    content = orjson.dumps(head)
    return b"".join((content, *parts)), len(content)


def sized(size: int = len(RAW), **changes: Any) -> dict[str, Any]:
    return tensor(**{"data": None, "parameters": {"binary_data_size": size}, **changes})


ALL_BINARY = {"parameters": {"binary_data_output": True}}
BINARY_CASES: dict[str, tuple[tuple[bytes, int], int]] = {
    "bytes in, bytes out": (with_bytes(infer(sized(), **ALL_BINARY), RAW), 200),
    "bytes in, JSON out": (with_bytes(infer(sized()), RAW), 200),
    "bytes out where an output asks": (
        with_bytes(infer(sized(), outputs=[{"name": "y", "parameters": {"binary_data": True}}]), RAW), 200),
    "too few bytes": (with_bytes(infer(sized(), **ALL_BINARY), RAW[:-1]), 400),
    "too many bytes": (with_bytes(infer(sized(), **ALL_BINARY), RAW + b"a"), 400),
    "a size that is not the shape's": (with_bytes(infer(sized(4)), RAW[:4]), 400),
    "a head longer than the body": ((with_bytes(infer(sized()), RAW)[0], 10**6), 400),
    "a negative size": (with_bytes(infer(sized(-1)), RAW), 400),
}  # fmt: skip
BINARY_DIFFERENCES: dict[str, dict[str, tuple[int | str, str]]] = {
    "too few bytes": {KSERVE: (500, UNCHECKED)},
    "too many bytes": {KSERVE: (200, UNCHECKED)},
    "a size that is not the shape's": {KSERVE: (500, UNCHECKED)},
    "a negative size": {KSERVE: (500, UNCHECKED), TRITON: (500, OWN_FAULT)},
}


@pytest.mark.triton
@pytest.mark.parametrize("case", BINARY_CASES)
def test_over_http_with_bytes(name: str, server: Running, case: str) -> None:
    (body, head_bytes), status = BINARY_CASES[case]
    headers = (("Content-Type", BINARY), ("Inference-Header-Content-Length", str(head_bytes)))
    (reply,) = exchange(server.rest, [Request(path=INFER, body=body, headers=headers)])
    expected, _ = BINARY_DIFFERENCES.get(case, {}).get(name, (status, ""))
    assert status_of(reply) == expected
    if status == 200:
        head = orjson.loads(reply.body[: reply.json_bytes])
        (y,) = head["outputs"]
        asked_bytes = "out" in case and "JSON out" not in case
        assert (reply.json_bytes is not None) == asked_bytes
        values = np.frombuffer(reply.body[reply.json_bytes :], "<f4") if asked_bytes else np.ravel(y["data"])
        assert (y["shape"], values.tolist()) == ([2, ROW], (2 * X).ravel().tolist())


# ------------------------------------------------------------------------------------------------------- over gRPC


def message(**changes: Any) -> Any:
    raw = changes.pop("raw", RAW)
    about = {"name": "x", "datatype": "FP32", "shape": [2, ROW], **changes.pop("tensor", {})}
    request = pb.ModelInferRequest(**{"model_name": "m", "id": "7", **changes})
    request.inputs.add(**about)
    if raw is not None:
        request.raw_input_contents.append(raw)
    return request


def typed() -> Any:
    request = message(raw=None)
    request.inputs[0].contents.fp32_contents.extend(X.ravel().tolist())
    return request


def both() -> Any:
    request = typed()
    request.raw_input_contents.append(RAW)
    return request


def asking(output: str) -> Any:
    request = message()
    request.outputs.add(name=output)
    return request


def good(response: Any) -> bool:
    (y,) = response.outputs
    values = np.frombuffer(response.raw_output_contents[0], "<f4") if response.raw_output_contents else np.array(
        y.contents.fp32_contents, np.float32
    )  # fmt: skip
    about = (response.model_name, response.id, y.name, y.datatype, list(y.shape), values.tolist())
    return about == DOUBLED


class Rpc(NamedTuple):
    """A call, and the code it ends with."""

    method: str
    request: Any
    answer: Any
    code: str = "OK"
    same: Callable[[Any], bool] = lambda response: True


RPCS: dict[str, Rpc] = {
    "live": Rpc("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse, same=lambda one: one.live),
    "ready": Rpc("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse, same=lambda one: one.ready),
    "server": Rpc("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse, same=lambda one: bool(one.name)),
    "model ready": Rpc("ModelReady", pb.ModelReadyRequest(name="m"), pb.ModelReadyResponse, same=lambda one: one.ready),
    "model": Rpc("ModelMetadata", pb.ModelMetadataRequest(name="m"), pb.ModelMetadataResponse,
                 same=lambda one: [(t.name, t.datatype, list(t.shape)) for t in (*one.inputs, *one.outputs)]
                 == [("x", "FP32", [-1, ROW]), ("y", "FP32", [-1, ROW])]),
    "no such model": Rpc("ModelMetadata", pb.ModelMetadataRequest(name="none"), pb.ModelMetadataResponse, "NOT_FOUND"),
    "statistics": Rpc("ModelStatistics", pb.ModelStatisticsRequest(name="m"), pb.ModelStatisticsResponse,
                      same=lambda one: one.model_stats[0].name == "m"),
    "index": Rpc("RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse,
                 same=lambda one: one.models[0].name == "m"),
    "infer": Rpc("ModelInfer", message(), pb.ModelInferResponse, same=good),
    "infer typed contents": Rpc("ModelInfer", typed(), pb.ModelInferResponse, same=good),
    "infer by version": Rpc("ModelInfer", message(model_version="1"), pb.ModelInferResponse, same=good),
    "infer named output": Rpc("ModelInfer", asking("y"), pb.ModelInferResponse, same=good),
    "no such output": Rpc("ModelInfer", asking("z"), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "infer no such model": Rpc("ModelInfer", message(model_name="none"), pb.ModelInferResponse, "NOT_FOUND"),
    "infer no such version": Rpc("ModelInfer", message(model_version="9"), pb.ModelInferResponse, "NOT_FOUND"),
    "too few bytes": Rpc("ModelInfer", message(raw=RAW[:-1]), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "both contents": Rpc("ModelInfer", both(), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "no contents": Rpc("ModelInfer", message(raw=None), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "another name": Rpc("ModelInfer", message(tensor={"name": "w"}), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "another datatype": Rpc("ModelInfer", message(tensor={"datatype": "INT32"}), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "unknown datatype": Rpc("ModelInfer", message(tensor={"datatype": "FP7"}), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "a negative shape": Rpc("ModelInfer", message(tensor={"shape": [-2, ROW]}), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "no inputs": Rpc("ModelInfer", pb.ModelInferRequest(model_name="m"), pb.ModelInferResponse, "INVALID_ARGUMENT"),
    "no such method": Rpc("ModelSleep", pb.ServerLiveRequest(), pb.ServerLiveResponse, "UNIMPLEMENTED"),
}  # fmt: skip
TRITONS = "Triton's extension, which KServe's protocol file leaves out"
RPC_DIFFERENCES: dict[str, dict[str, tuple[str, str]]] = {
    "model": {KSERVE: ("otherwise", "a predictor's shapes are not known unless it writes them down itself")},
    "statistics": {KSERVE: ("UNIMPLEMENTED", TRITONS)},
    "index": {KSERVE: ("UNIMPLEMENTED", TRITONS)},
    "no such output": {KSERVE: ("OK", UNCHECKED)},
    "infer no such version": {KSERVE: ("OK", NO_VERSIONS)},
    "too few bytes": {KSERVE: ("INTERNAL", UNCHECKED)},
    "no contents": {KSERVE: ("INTERNAL", UNCHECKED)},
    "another name": {KSERVE: ("OK", UNCHECKED)},
    "a negative shape": {KSERVE: ("OK", UNCHECKED)},
    "no inputs": {KSERVE: ("INTERNAL", UNCHECKED)},
}


@pytest.mark.triton
@pytest.mark.parametrize("case", RPCS)
def test_over_grpc(name: str, server: Running, case: str) -> None:
    rpc = RPCS[case]
    with grpc.insecure_channel(server.rpc.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(SERVICE + rpc.method, type(rpc.request).SerializeToString, rpc.answer.FromString)
        try:
            found = "OK" if rpc.same(call(rpc.request, timeout=30)) else "otherwise"
        except grpc.RpcError as error:
            found = error.code().name
    expected, _ = RPC_DIFFERENCES.get(case, {}).get(name, (rpc.code, ""))
    assert found == expected
