"""Datatypes of the Open Inference Protocol V2 as numpy's, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from kserve_ext.render.tensors import TensorShape

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.float32),  # half of its bits travel
    "BYTES": np.dtype(np.object_),
}
NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items() if name not in ("BF16", "BYTES")}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name; strings and objects are BYTES. Raises ValueError for what the protocol lacks."""
    name = NAMES.get(dtype)
    if name is not None:
        return name
    if dtype.kind in "OSU":
        return "BYTES"
    if (name := NAMES.get(dtype.newbyteorder("="))) is not None:
        return name
    raise ValueError(f"no datatype of the protocol is {dtype}")


def signature_datatype(tensor: TensorShape) -> str:
    """The protocol's name of a signature's datatype: TYPE_STRING -> BYTES."""
    name = tensor.datatype.removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name
