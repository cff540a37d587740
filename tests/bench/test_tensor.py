from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kserve_ext.bench.tensor import DTYPES, Tensor, from_items, from_wire, to_wire

NUMBERS = sorted(set(DTYPES) - {"BYTES", "BF16"})


@given(data=st.data(), datatype=st.sampled_from(NUMBERS))
def test_numbers_come_back_from_the_wire_as_they_went(data: st.DataObject, datatype: str) -> None:
    array = data.draw(hnp.arrays(DTYPES[datatype], hnp.array_shapes(max_dims=3, min_side=0, max_side=4)))
    back = from_wire("x", datatype, array.shape, to_wire(Tensor(name="x", datatype=datatype, data=array)))
    assert back.data.dtype == array.dtype
    assert np.array_equal(back.data, array, equal_nan=array.dtype.kind == "f")


@given(st.lists(st.binary(max_size=5), max_size=5))
def test_strings_come_back_from_the_wire_as_they_went(items: list[bytes]) -> None:
    tensor = Tensor(name="x", datatype="BYTES", data=from_items(items))
    assert from_wire("x", "BYTES", (len(items),), to_wire(tensor)).data.tolist() == items


def test_bf16_keeps_the_upper_half_of_a_float() -> None:
    tensor = Tensor(name="x", datatype="BF16", data=np.array([1.5, -2.0, np.nan], np.float32))
    assert len(to_wire(tensor)) == 6
    assert np.array_equal(from_wire("x", "BF16", (3,), to_wire(tensor)).data, tensor.data, equal_nan=True)


def test_the_known_bytes_of_a_string_tensor() -> None:
    tensor = Tensor(name="x", datatype="BYTES", data=from_items([b"ab", b""]))
    assert to_wire(tensor) == b"\x02\0\0\0ab\0\0\0\0"


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("FP32", (2,), b"\0" * 7),
        ("FP99", (1,), b"\0"),
        ("BYTES", (1,), b"\x05\0\0\0ab"),
        ("BYTES", (1,), b"\x05\0"),
        ("BYTES", (3,), b"\0\0\0\0"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(datatype: str, shape: tuple[int, ...], raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"datatype|bytes|string|reshape"):
        from_wire("x", datatype, shape, raw)
