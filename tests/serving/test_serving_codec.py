from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kserve_ext.render.tensors import Signature, TensorShape
from kserve_ext.serving.codec import Asked, Call, decode_v2, encode_v2, load_json
from kserve_ext.serving.codec_v1 import decode_v1, encode_v1
from kserve_ext.serving.datatypes import DTYPES, NAMES
from kserve_ext.serving.faults import BadRequest, ModelFailed

NUMERIC = sorted(set(DTYPES) - {"BYTES", "BF16"})
shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)
strings = hnp.arrays(np.object_, shapes, elements=st.binary(max_size=6))


def as_request(answer: bytes, json_bytes: int | None) -> bytes:
    """The outputs of an answer, sent back as inputs."""
    head = orjson.loads(answer if json_bytes is None else answer[:json_bytes])
    head["inputs"] = head.pop("outputs")
    return orjson.dumps(head)


def round_trip(array: np.ndarray[Any, Any], *, binary: bool) -> np.ndarray[Any, Any]:
    answer, json_bytes = encode_v2(Call("1", {}, None, binary), "m", "1", {"t": array})
    request = as_request(answer, json_bytes)
    raw = b"" if json_bytes is None else answer[json_bytes:]
    call = decode_v2(request + raw, None if json_bytes is None else len(request))
    assert call.id == "1"
    result: np.ndarray[Any, Any] = call.inputs["t"]
    return result


@given(st.sampled_from(NUMERIC).flatmap(lambda name: hnp.arrays(DTYPES[name], shapes)))
def test_tensors_survive_the_binary_extension_bit_by_bit(array: np.ndarray[Any, Any]) -> None:
    back = round_trip(array, binary=True)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(
    st.sampled_from([name for name in NUMERIC if name != "FP16"]).flatmap(
        lambda name: hnp.arrays(
            DTYPES[name],
            shapes,
            elements={"allow_nan": False, "allow_infinity": False} if DTYPES[name].kind == "f" else None,
        )
    )
)
def test_tensors_survive_json(array: np.ndarray[Any, Any]) -> None:
    back = round_trip(array, binary=False)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(strings)
def test_strings_survive_the_binary_extension(array: np.ndarray[Any, Any]) -> None:
    assert round_trip(array, binary=True).tolist() == array.tolist()


def test_an_input_looks_into_the_body_and_is_not_copied() -> None:
    raw = np.arange(6, dtype=np.float32)
    head = orjson.dumps(
        {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}]}
    )
    body = head + raw.tobytes()
    array = decode_v2(body, len(head)).inputs["x"]
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert not array.flags.writeable


def test_half_precision_brain_floats_become_float32() -> None:
    head = orjson.dumps(
        {"inputs": [{"name": "x", "shape": [2], "datatype": "BF16", "parameters": {"binary_data_size": 4}}]}
    )
    call = decode_v2(head + np.array([0x3F80, 0xC000], "<u2").tobytes(), len(head))
    assert call.inputs["x"].tolist() == [1.0, -2.0]


def one(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0], **changes}
    return {"inputs": [{key: value for key, value in tensor.items() if value is not None}]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "no `inputs`"),
        ({}, "no `inputs`"),
        ({"inputs": []}, "must be a list of tensors"),
        ({"inputs": [1]}, "needs `name`, `datatype` and `shape`"),
        (one(name=7), "`name` must be a string"),
        (one(datatype="FP33"), "datatype 'FP33'; allowed: BOOL"),
        (one(datatype=[]), r"datatype \[\]"),
        (one(shape=[-1, 2]), r"shape \[-1, 2\]"),
        (one(shape="12"), "shape 12"),
        (one(shape=[True, 2]), "shape"),
        (one(shape=[1] * 33), "up to 32"),
        (one(shape=[1, 3]), "2 values; shape"),
        (one(data=None), "neither `data` nor"),
        (one(data=[1.0, "2"]), "not FP32"),
        (one(data=[1.0, None]), "not FP32"),
        (one(data=[[1.0], [1.0, 2.0]]), "different lengths"),
        (one(datatype="INT8", data=[1.5, 2]), "not INT8"),
        (one(datatype="INT8", data=[300, 2]), "outside INT8"),
        (one(datatype="UINT8", data=[-1, 2]), "outside UINT8"),
        (one(datatype="INT64", data=[1e300, 2]), "not INT64"),
        (one(datatype="BOOL", data=[2, 0]), "outside BOOL"),
        (one(datatype="BYTES", data=[1, "a"]), "not strings"),
        (one(datatype="FP16"), "cannot be sent as JSON"),
        (one(parameters={"binary_data_size": 8}), "0 bytes are left"),
        (one(parameters={"binary_data_size": -1}), "binary_data_size -1"),
        (one(parameters={"binary_data_size": True}), "binary_data_size True"),
        ({"inputs": one()["inputs"] * 2}, "there twice"),
        ({**one(), "id": 5}, "`id` must be a string"),
        ({**one(), "outputs": [{}]}, "objects with a `name`"),
    ],
)
def test_a_request_that_cannot_be_read_says_what_is_wrong(content: Any, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        decode_v2(orjson.dumps(content), None)


@pytest.mark.parametrize(
    ("body", "header_bytes", "words"),
    [
        (b"{", None, "not JSON"),
        (b"", None, "not JSON"),
        (b"{}", 5, "in a body of 2 bytes"),
        (b"\xff", None, "not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes, header_bytes: int | None, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        decode_v2(body, header_bytes)


def test_bytes_that_belong_to_no_input_are_refused() -> None:
    head = orjson.dumps(one())
    with pytest.raises(BadRequest, match="3 bytes after the last input"):
        decode_v2(head + b"abc", len(head))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y"]) | json_values,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | json_values,
        "datatype": st.sampled_from(sorted(DTYPES)) | json_values,
        "data": st.lists(json_values, max_size=4) | json_values,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20)}) | json_values,
    },
)
contents = st.fixed_dictionaries(
    {}, optional={"inputs": st.lists(tensors, max_size=3) | json_values, "outputs": json_values,
                  "parameters": json_values, "id": json_values}
)  # fmt: skip


@given(contents, st.binary(max_size=24), st.integers(-2, 3) | st.none())
def test_whatever_comes_is_read_or_refused(content: Any, raw: bytes, shift: int | None) -> None:
    head = orjson.dumps(content)
    body = head if shift is None else head + raw
    try:
        call = decode_v2(body, None if shift is None else len(head) + shift)
    except BadRequest:
        return
    assert call.inputs


def test_outputs_are_chosen_by_name_each_as_json_or_bytes() -> None:
    outputs = {"a": np.array([1], np.int64), "b": np.array([2.0], np.float32), "c": np.array([b"x"], np.object_)}
    call = Call("7", {}, (Asked("b", True), Asked("c", False)), False)
    body, json_bytes = encode_v2(call, "m", "3", outputs)
    assert orjson.loads(body[:json_bytes]) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "b", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}},
            {"name": "c", "shape": [1], "datatype": "BYTES", "data": ["x"]},
        ],
    }
    assert body[json_bytes:] == np.float32(2).tobytes()
    with pytest.raises(BadRequest, match="no output `z`; it has a, b, c"):
        encode_v2(call._replace(outputs=(Asked("z", True),)), "m", "3", outputs)


def test_an_output_that_cannot_travel_is_the_models_failure() -> None:
    for array in (np.zeros(1, np.complex64), np.array([b"\xff"], np.object_)):
        with pytest.raises(ModelFailed):
            encode_v2(Call("1", {}, None, False), "m", "1", {"y": array})


def signature(*names: str) -> Signature:
    tensors = tuple(TensorShape(name=name, datatype="TYPE_FP32", dims=(2,)) for name in names)
    return Signature(inputs=tensors, outputs=tensors, batchable=True)


@pytest.mark.parametrize(
    ("instances", "known", "expected"),
    [
        ([[1, 2], [3, 4]], signature("x"), {"x": [[1, 2], [3, 4]]}),
        ([{"a": [1, 2], "b": [3, 4]}], signature("a", "b"), {"a": [[1, 2]], "b": [[3, 4]]}),
        ([[1.5]], None, {"input_0": [[1.5]]}),
        (["a", "b"], None, {"input_0": [b"a", b"b"]}),
    ],
)
def test_v1_instances_become_rows(instances: Any, known: Signature | None, expected: Any) -> None:
    tensors = decode_v1({"instances": instances}, known)
    assert {name: array.tolist() for name, array in tensors.items()} == expected
    if known:
        assert {array.dtype for array in tensors.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("content", "known"),
    [
        ({}, None),
        ({"instances": []}, None),
        ({"instances": 3}, None),
        ([], None),
        ({"instances": [{"a": 1}, {"b": 1}]}, None),
        ({"instances": [{"a": 1}, 2]}, None),
        ({"instances": [[1, 2]]}, signature("a", "b")),
        ({"instances": [[1], [1, 2]]}, None),
        ({"instances": [[1, None]]}, None),
        ({"instances": [["a", "b"]]}, signature("x")),
    ],
)
def test_v1_payloads_that_are_no_rows_are_refused(content: Any, known: Signature | None) -> None:
    with pytest.raises(BadRequest):
        decode_v1(content, known)


def test_v1_answers_rows_and_names_the_outputs_where_there_are_several() -> None:
    y, label = np.array([[1, 2], [3, 4]]), np.array([b"a", b"b"], np.object_)
    assert load_json(encode_v1({"y": y})) == {"predictions": [[1, 2], [3, 4]]}
    rows = [{"y": [1, 2], "label": "a"}, {"y": [3, 4], "label": "b"}]
    assert load_json(encode_v1({"y": y, "label": label})) == {"predictions": rows}


def test_every_numeric_datatype_has_one_name() -> None:
    assert sorted(NAMES.values()) == NUMERIC
