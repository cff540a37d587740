"""numpy arrays as the protocol's tensors, and back: names and datatypes are checked before anything is sent. Pure.

Strings travel as BYTES and come back as object arrays of `bytes`. BF16 is sent from an array whose dtype has that
name (ml_dtypes), or from floats on request, and comes back as float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kserve_ext.bench.tensor import DTYPES, Array, Tensor, from_items
from kserve_ext.errors import InputError, Problem

_DATATYPES = {dtype.name: name for name, dtype in DTYPES.items() if name not in ("BF16", "BYTES")} | {
    "bfloat16": "BF16"
}
_ALLOWED = "bool, int8 to int64, uint8 to uint64, float16 to float64, bfloat16, str, bytes"


def to_tensors(inputs: Mapping[str, Any], datatypes: Mapping[str, str] | None = None) -> tuple[Tensor, ...]:
    """The inputs as tensors; `datatypes` says what an input is to be sent as. Raises InputError with every fault."""
    problems: list[Problem] = []
    asked = datatypes or {}
    for name in asked.keys() - inputs.keys():
        problems.append(Problem(field=f"datatypes[{name!r}]", what="no such input", allowed=", ".join(inputs)))
    if not inputs:
        problems.append(Problem(field="inputs", what="no inputs"))
    tensors = []
    for name, value in inputs.items():
        try:
            tensors.append(_tensor(name, value, asked.get(name)))
        except ValueError as error:
            problems.append(Problem(field=f"inputs[{name!r}]", what=str(error)))
    if problems:
        raise InputError(*problems)
    return tuple(tensors)


def _tensor(name: str, value: Any, asked: str | None) -> Tensor:
    """Raises ValueError."""
    array = np.asarray(value)
    if array.dtype.kind in "US" and not isinstance(value, np.ndarray):
        array = np.asarray(value, np.object_)  # numpy's own strings lose trailing zero bytes, and make text of numbers
    found = "BYTES" if array.dtype.kind in "USO" else _DATATYPES.get(array.dtype.name)
    if found is None:
        raise ValueError(f"dtype {array.dtype} has no datatype in the protocol; allowed: {_ALLOWED}")
    datatype = asked or found
    if datatype not in DTYPES:
        raise ValueError(f"unknown datatype {datatype}; allowed: {', '.join(DTYPES)}")
    if datatype == "BYTES" or found == "BYTES":
        if datatype != found:
            raise ValueError(f"{array.dtype} cannot be sent as {datatype}")
        return Tensor(name=name, datatype=datatype, data=_strings(array))
    return Tensor(name=name, datatype=datatype, data=array if datatype == found == "BF16" else _as(array, datatype))


def _as(array: Array, datatype: str) -> Array:
    """The same values in the datatype's own dtype and byte order. Raises ValueError where they do not fit."""
    dtype = DTYPES[datatype]
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise ValueError(f"values outside {datatype}: {limits.min} to {limits.max}")
    elif array.dtype.name != "bfloat16" and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ValueError(f"{array.dtype} cannot be sent as {datatype} without loss of meaning: convert it first")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if dtype.kind == "f" and np.isinf(converted).sum() > np.isinf(array).sum():
        raise ValueError(f"values outside {datatype}")
    return converted


def _strings(array: Array) -> Array:
    """An object array of `bytes`."""
    items = []
    for item in array.ravel().tolist():
        if not isinstance(item, str | bytes):
            raise ValueError(f"an object array may hold str and bytes only; found {type(item).__name__}")
        items.append(item.encode() if isinstance(item, str) else item)
    return from_items(items).reshape(array.shape)


def check_json(tensors: tuple[Tensor, ...]) -> None:
    """Raises InputError for what plain JSON cannot carry: bytes that are no UTF-8 text, and NaN or infinity."""
    problems = [
        Problem(field=f"inputs[{tensor.name!r}]", what=fault, allowed="send it with binary=True")
        for tensor in tensors
        if (fault := _json_fault(tensor))
    ]
    if problems:
        raise InputError(*problems)


def _json_fault(tensor: Tensor) -> str:
    if tensor.datatype == "BYTES":
        try:
            b"\n".join(tensor.data.ravel()).decode()
        except UnicodeDecodeError as error:
            return f"JSON carries UTF-8 text only: {error.reason}"
    elif tensor.data.dtype.kind == "f" and not np.isfinite(tensor.data).all():
        return "JSON has no NaN and no infinity"
    return ""


def to_arrays(tensors: tuple[Tensor, ...]) -> dict[str, Array]:
    """The outputs by name; numeric ones are read-only views of the answer."""
    return {tensor.name: tensor.data for tensor in tensors}
