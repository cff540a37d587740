from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from kserve_ext.bench.tensor import from_wire, to_wire
from kserve_ext.client.tensors import check_json, to_tensors
from kserve_ext.errors import InputError

BF16 = np.array([1.5, -2.0], ml_dtypes.bfloat16)


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (np.zeros(2, np.bool_), "BOOL"),
        (np.zeros(2, np.uint16), "UINT16"),
        (np.zeros(2, np.float16), "FP16"),
        (np.zeros(2, ">f4"), "FP32"),
        ([1, 2], "INT64"),
        ([[1.5]], "FP64"),
        (["a", "ü"], "BYTES"),
        ([b"a\0"], "BYTES"),
        (np.array(["a"]), "BYTES"),
        (BF16, "BF16"),
        (np.float32(1), "FP32"),
    ],
)
def test_an_array_is_sent_as_what_it_is(value: Any, datatype: str) -> None:
    (tensor,) = to_tensors({"x": value})
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", datatype, np.shape(value))


def test_strings_keep_their_trailing_zero_bytes() -> None:
    (tensor,) = to_tensors({"x": [[b"a\0"], ["b\0"]]})
    assert tensor.data.tolist() == [[b"a\0"], [b"b\0"]]


def test_bf16_is_sent_from_its_own_dtype_and_from_floats() -> None:
    (own,), (asked,) = to_tensors({"x": BF16}), to_tensors({"x": BF16.astype(np.float64)}, {"x": "BF16"})
    assert to_wire(own) == to_wire(asked) == BF16.tobytes()


def test_an_input_can_be_sent_as_another_datatype() -> None:
    inputs = {"a": [1.5, np.inf], "b": [1, 255], "c": np.array([1], np.uint64), "d": [True], "e": BF16}
    sent = to_tensors(inputs, {"a": "FP32", "b": "UINT8", "c": "INT64", "d": "INT32", "e": "FP32"})
    assert [(t.datatype, t.data.dtype.name) for t in sent] == [
        ("FP32", "float32"), ("UINT8", "uint8"), ("INT64", "int64"), ("INT32", "int32"), ("FP32", "float32"),
    ]  # fmt: skip
    assert [t.data.tolist() for t in sent] == [[1.5, np.inf], [1, 255], [1], [1], [1.5, -2.0]]


@pytest.mark.parametrize(
    ("inputs", "datatypes", "told"),
    [
        ({}, {}, "no inputs"),
        ({"x": np.zeros(1, np.complex64)}, {}, "complex64 has no datatype"),
        ({"x": [1.5]}, {"x": "INT32"}, "cannot be sent as INT32"),
        ({"x": ["a"]}, {"x": "FP32"}, "cannot be sent as FP32"),
        ({"x": [1.5]}, {"x": "BYTES"}, "cannot be sent as BYTES"),
        ({"x": [1.5]}, {"x": "FP8"}, "unknown datatype FP8; allowed: BOOL"),
        ({"x": [1.5]}, {"z": "FP32"}, "datatypes['z']: no such input; allowed: x"),
        ({"x": ["a", 1]}, {}, "found int"),
        ({"x": [300]}, {"x": "UINT8"}, "values outside UINT8: 0 to 255"),
        ({"x": [-1]}, {"x": "UINT64"}, "values outside UINT64"),
        ({"x": [1e5]}, {"x": "FP16"}, "values outside FP16"),
        ({"x": [[1], [1, 2]]}, {}, "inhomogeneous"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is_sent(
    inputs: dict[str, Any], datatypes: dict[str, str], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        to_tensors(inputs, datatypes)
    assert told in caught.value.message


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        to_tensors({"a": 1j, "b": object()})
    assert [problem.field for problem in caught.value.problems] == ["inputs['a']", "inputs['b']"]


@pytest.mark.parametrize("value", [[b"\xff"], [np.nan], [np.inf]])
def test_what_json_cannot_carry_is_said(value: Any) -> None:
    with pytest.raises(InputError, match="binary=True"):
        check_json(to_tensors({"x": value}))


@given(
    nps.arrays(
        st.sampled_from(["?", "i1", "<i2", ">i4", "i8", "u1", "u2", "u4", ">u8", "f2", ">f4", "f8"]),
        nps.array_shapes(max_dims=3, min_side=0, max_side=3),
    )
)
def test_any_array_comes_out_of_the_wire_as_it_went_in(array: np.ndarray[Any, Any]) -> None:
    (tensor,) = to_tensors({"x": array})
    back = from_wire("x", tensor.datatype, tensor.shape, to_wire(tensor)).data
    np.testing.assert_array_equal(back, array)
