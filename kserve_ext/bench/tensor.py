"""Named arrays of the Open Inference Protocol V2, and their bytes on the wire.

BYTES tensors are object arrays of `bytes`; BF16 tensors are float32 arrays, cut to 16 bits on the wire.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.float32),
    "BYTES": np.dtype(np.object_),
}
_WIRE_BYTES = {name: dtype.itemsize for name, dtype in DTYPES.items()} | {"BF16": 2}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """One input or output; `data` has the tensor's shape."""

    name: str
    datatype: str
    data: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)


def to_wire(tensor: Tensor) -> bytes:
    """The tensor's raw bytes, little-endian, as the binary extension and `raw_input_contents` carry them."""
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(item)) + item for item in tensor.data.ravel())
    if tensor.datatype == "BF16":
        return (np.ascontiguousarray(tensor.data, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(tensor.data).tobytes()


def from_wire(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """The tensor in `raw`. Raises ValueError when the bytes do not fit the datatype and shape."""
    if datatype not in DTYPES:
        raise ValueError(f"unknown datatype {datatype}")
    if datatype == "BYTES":
        return Tensor(name=name, datatype=datatype, data=_strings(raw).reshape(shape))
    if len(raw) != int(np.prod(shape)) * _WIRE_BYTES[datatype]:
        raise ValueError(f"{len(raw)} bytes do not make {datatype} of shape {list(shape)}")
    if datatype == "BF16":
        data = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        data = np.frombuffer(raw, DTYPES[datatype])
    return Tensor(name=name, datatype=datatype, data=data.reshape(shape))


def _strings(raw: bytes) -> Array:
    items: list[bytes] = []
    position = 0
    while position < len(raw):
        if position + 4 > len(raw):
            raise ValueError("a string without its length")
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4 + length
        if position > len(raw):
            raise ValueError("a string longer than its tensor")
        items.append(raw[position - length : position])
    return from_items(items)


def from_items(items: list[bytes]) -> Array:
    """A flat object array of strings; numpy would otherwise cut trailing zero bytes."""
    array = np.empty(len(items), np.object_)
    array[:] = items
    return array
