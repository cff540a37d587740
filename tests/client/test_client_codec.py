from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from kserve_ext.bench.message import Reply
from kserve_ext.bench.target import parse_target
from kserve_ext.bench.tensor import from_items, to_wire
from kserve_ext.client import calls
from kserve_ext.client.answer import good, http_answer
from kserve_ext.client.errors import AnswerError
from kserve_ext.client.grpc_codec import (
    decode_inference,
    decode_metadata,
    decode_readiness,
    encode_inference,
    encode_metadata,
    encode_readiness,
)
from kserve_ext.client.tensors import to_tensors

TARGET = parse_target("grpc://h:1", model="m", version="3")
INPUTS = to_tensors({"x": np.array([[1.0, 2.0]], np.float32), "text": [b"a\0", b""]})


def test_triton_s_own_messages_read_what_is_sent() -> None:
    request = encode_inference(TARGET, INPUTS)
    message = service_pb2.ModelInferRequest.FromString(request.body)
    assert request.path == "/inference.GRPCInferenceService/ModelInfer"
    assert (message.model_name, message.model_version) == ("m", "3")
    assert [(i.name, i.datatype, list(i.shape)) for i in message.inputs] == [
        ("x", "FP32", [1, 2]),
        ("text", "BYTES", [2]),
    ]
    assert list(message.raw_input_contents) == [to_wire(tensor) for tensor in INPUTS]
    asked = service_pb2.ModelMetadataRequest.FromString(encode_metadata(TARGET).body)
    assert (asked.name, asked.version) == ("m", "3")
    asked = service_pb2.ModelReadyRequest.FromString(encode_readiness(TARGET).body)
    assert (asked.name, asked.version) == ("m", "3")


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("FP32", "fp32_contents", [1.5, -2.0]),
        ("FP64", "fp64_contents", [1.5, -2.0]),
        ("INT8", "int_contents", [1, -2]),
        ("INT64", "int64_contents", [2**40, -2]),
        ("UINT16", "uint_contents", [1, 65535]),
        ("UINT64", "uint64_contents", [2**63, 2**63 + 1]),
        ("BOOL", "bool_contents", [True, False]),
        ("BYTES", "bytes_contents", [b"a\0", b""]),
    ],
)
def test_typed_and_raw_contents_are_read_alike(datatype: str, field: str, values: list[Any]) -> None:
    typed, raw = service_pb2.ModelInferResponse(), service_pb2.ModelInferResponse()
    getattr(typed.outputs.add(name="y", datatype=datatype, shape=[2, 1]).contents, field).extend(values)
    raw.outputs.add(name="y", datatype=datatype, shape=[2, 1])
    array = from_items(values) if datatype == "BYTES" else np.array(values)
    (tensor,) = to_tensors({"y": array}, None if datatype in ("BYTES", "BOOL") else {"y": datatype})
    raw.raw_output_contents.append(to_wire(tensor))
    for message in (typed, raw):
        (output,) = decode_inference(Reply(outcome="", body=message.SerializeToString()))
        assert (output.name, output.shape, output.data.ravel().tolist()) == ("y", (2, 1), values)


@pytest.mark.parametrize(("datatype", "values"), [("INT8", [1000]), ("FP16", [1]), ("", [1]), ("INT32", [1, 2])])
def test_contents_that_do_not_fit_are_an_error(datatype: str, values: list[int]) -> None:
    message = service_pb2.ModelInferResponse()
    message.outputs.add(name="y", datatype=datatype, shape=[1]).contents.int_contents.extend(values)
    with pytest.raises(ValueError, match=r"."):
        decode_inference(Reply(outcome="", body=message.SerializeToString()))


def test_metadata_and_readiness_are_read() -> None:
    message = service_pb2.ModelMetadataResponse(name="m", versions=["1"], platform="p")
    message.inputs.add(name="x", datatype="FP32", shape=[-1, 4])
    message.outputs.add(name="y", datatype="BYTES", shape=[1])
    inputs, outputs = decode_metadata(Reply(outcome="", body=message.SerializeToString()))
    assert [(t.name, t.datatype, t.shape) for t in (*inputs, *outputs)] == [
        ("x", "FP32", (-1, 4)),
        ("y", "BYTES", (1,)),
    ]
    for kind in (service_pb2.ModelReadyResponse, service_pb2.ServerReadyResponse):
        assert decode_readiness(Reply(outcome="", body=kind(ready=True).SerializeToString())) is True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "datatype", "shape", "data", "parameters", "binary_data_size"]), inner
        )
    ),
    max_leaves=8,
)
OUTPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("y") | JSON,
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES", "BF16", "BOOL", "FP8"]) | JSON,
        "shape": st.lists(st.integers(-2, 5), max_size=3) | JSON,
        "data": st.lists(st.integers(-300, 300) | st.none() | st.text(max_size=2), max_size=4) | JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-5, 20) | JSON}) | JSON,
    },
)
BODIES = st.builds(
    lambda outputs, raw: (json.dumps({"outputs": outputs}).encode(), raw), st.lists(OUTPUTS), st.binary()
)


@given(BODIES | st.tuples(st.binary(), st.binary()))
def test_whatever_an_http_server_answers_is_an_answer_or_an_answer_error(parts: tuple[bytes, bytes]) -> None:
    call = calls.inference(parse_target("http://h:1", model="m"), {"x": [1.0]}, None, binary=True)
    answer = http_answer(200, parts[0] + parts[1], json_bytes=str(len(parts[0])))
    with contextlib.suppress(AnswerError):
        assert isinstance(call.result(answer, 1), dict)


@given(
    st.binary()
    | st.builds(
        lambda datatype, shape, raw, values: service_pb2.ModelInferResponse(
            outputs=[
                service_pb2.ModelInferResponse.InferOutputTensor(
                    name="y",
                    datatype=datatype,
                    shape=shape,
                    contents=service_pb2.InferTensorContents(int_contents=values, fp32_contents=values),
                )
            ],
            raw_output_contents=raw,
        ).SerializeToString(),
        st.sampled_from(["FP32", "INT8", "BYTES", "BF16", "BOOL", "FP8", ""]),
        st.lists(st.integers(-2, 2**40), max_size=3),
        st.lists(st.binary(), max_size=2),
        st.lists(st.integers(-300, 300), max_size=4),
    )
)
def test_whatever_a_grpc_server_answers_is_an_answer_or_an_answer_error(body: bytes) -> None:
    call = calls.inference(TARGET, {"x": [1.0]}, None, binary=True)
    with contextlib.suppress(AnswerError):
        assert isinstance(call.result(good(body), 1), dict)
