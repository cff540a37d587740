from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from kserve_ext.bench.codec import decode, decode_metadata, encode, metadata_request
from kserve_ext.bench.message import Reply
from kserve_ext.bench.payload import Sample, TensorSpec
from kserve_ext.bench.target import parse_target
from kserve_ext.bench.tensor import Tensor, from_items

HTTP, GRPC = parse_target("http://h:1", model="m"), parse_target("grpc://h:1", model="m", version="3")
SAMPLE = Sample(
    inputs=(
        Tensor(name="x", datatype="FP32", data=np.array([[1.0, 2.0]], np.float32)),
        Tensor(name="text", datatype="BYTES", data=from_items([b"ab"]).reshape(1, 1)),
    )
)


def test_a_binary_request_is_a_json_head_and_raw_bytes() -> None:
    request = encode(SAMPLE, HTTP)
    size = int(dict(request.headers)["Inference-Header-Content-Length"])
    head = json.loads(request.body[:size])
    assert request.path == "/v2/models/m/infer"
    assert [(i["name"], i["shape"], i["datatype"], i["parameters"]) for i in head["inputs"]] == [
        ("x", [1, 2], "FP32", {"binary_data_size": 8}),
        ("text", [1, 1], "BYTES", {"binary_data_size": 6}),
    ]
    assert head["parameters"] == {"binary_data_output": True}
    assert request.body[size:] == struct.pack("<ff", 1, 2) + b"\x02\0\0\0ab"


def test_a_json_request_is_plain_json() -> None:
    request = encode(SAMPLE, parse_target("http://h:1", model="m", version="2"), binary=False)
    assert request.path == "/v2/models/m/versions/2/infer"
    assert [i["data"] for i in json.loads(request.body)["inputs"]] == [[1.0, 2.0], ["ab"]]


def test_a_grpc_request_is_the_message_with_raw_contents() -> None:
    request = encode(SAMPLE, GRPC)
    message = service_pb2.ModelInferRequest.FromString(request.body)
    assert request.path == "/inference.GRPCInferenceService/ModelInfer"
    assert (message.model_name, message.model_version) == ("m", "3")
    assert [(i.name, i.datatype, list(i.shape)) for i in message.inputs] == [
        ("x", "FP32", [1, 2]),
        ("text", "BYTES", [1, 1]),
    ]
    assert list(message.raw_input_contents) == [struct.pack("<ff", 1, 2), b"\x02\0\0\0ab"]


def test_a_binary_answer_is_taken_apart() -> None:
    head = json.dumps(
        {
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
                {"name": "label", "datatype": "INT64", "shape": [1], "data": [7]},
                {"name": "z", "datatype": "UINT8", "shape": [3], "parameters": {"binary_data_size": 3}},
            ]
        }
    ).encode()
    reply = Reply(outcome="", json_bytes=len(head), body=head + struct.pack("<ff", 1, 2) + b"abc")
    assert [(t.name, t.data.tolist()) for t in decode(reply, HTTP)] == [
        ("y", [[1.0, 2.0]]),
        ("label", [7]),
        ("z", [97, 98, 99]),
    ]


@pytest.mark.parametrize("value", ["NaN", "null"])
def test_nan_in_json_is_nan_however_it_is_written(value: str) -> None:
    body = f'{{"outputs": [{{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, {value}]}}]}}'.encode()
    (tensor,) = decode(Reply(outcome="", body=body), HTTP)
    assert np.isnan(tensor.data).tolist() == [False, True]


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        b"[]",
        b"{}",
        b'{"outputs": [{}]}',
        b'{"outputs": [1]}',
        b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1]}]}',
        b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]}',
    ],
)
def test_an_answer_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(Reply(outcome="", body=body), HTTP)


def test_a_grpc_answer_is_read_raw_or_typed() -> None:
    raw = service_pb2.ModelInferResponse(raw_output_contents=[struct.pack("<q", 5)])
    raw.outputs.add(name="y", datatype="INT64", shape=[1])
    typed = service_pb2.ModelInferResponse()
    typed.outputs.add(name="y", datatype="FP32", shape=[2]).contents.fp32_contents.extend([1.5, float("nan")])
    (one,) = decode(Reply(outcome="", body=raw.SerializeToString()), GRPC)
    (two,) = decode(Reply(outcome="", body=typed.SerializeToString()), GRPC)
    assert one.data.tolist() == [5]
    assert np.array_equal(two.data, [1.5, np.nan], equal_nan=True)


@pytest.mark.parametrize("body", [b"\xff\xff", b""])
def test_a_grpc_answer_that_is_none_has_no_outputs_or_is_refused(body: bytes) -> None:
    reply = Reply(outcome="", body=body)
    if body:
        with pytest.raises(ValueError, match="not a ModelInferResponse"):
            decode(reply, GRPC)
    else:
        assert decode(reply, GRPC) == ()


def test_metadata_is_read_over_both_protocols() -> None:
    inputs, outputs = (
        (TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),),
        (TensorSpec(name="y", datatype="INT8", shape=(1,)),),
    )
    message = service_pb2.ModelMetadataResponse(name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[-1, 4])
    message.outputs.add(name="y", datatype="INT8", shape=[1])
    body = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "INT8", "shape": [1]}],
    }
    assert decode_metadata(Reply(outcome="", body=message.SerializeToString()), GRPC) == (inputs, outputs)
    assert decode_metadata(Reply(outcome="", body=json.dumps(body).encode()), HTTP) == (inputs, outputs)
    assert (metadata_request(HTTP).method, metadata_request(HTTP).path) == ("GET", "/v2/models/m")
    with pytest.raises(ValueError, match="metadata without 'inputs'"):
        decode_metadata(Reply(outcome="", body=b"{}"), HTTP)
