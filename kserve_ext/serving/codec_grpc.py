"""V2 messages as arrays: raw contents by np.frombuffer, typed contents by np.array. Raises BadRequest."""

from __future__ import annotations

from typing import Any

import numpy as np

from kserve_ext.serving.codec import count_of, from_raw
from kserve_ext.serving.datatypes import DTYPES
from kserve_ext.serving.execution import Array
from kserve_ext.serving.faults import BadRequest

_TYPED = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def decode_inputs(request: Any) -> dict[str, Array]:
    """The tensors of a ModelInferRequest."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadRequest(f"{len(request.inputs)} inputs with {len(raw)} raw contents")
    arrays: dict[str, Array] = {}
    for place, tensor in enumerate(request.inputs):
        name, datatype = tensor.name, tensor.datatype
        if name in arrays:
            raise BadRequest(f"input `{name}` is there twice")
        if datatype not in DTYPES:
            raise BadRequest(f"input `{name}` has datatype {datatype!r}; allowed: {', '.join(DTYPES)}")
        shape = list(tensor.shape)
        count = count_of(name, shape)
        if not raw:
            arrays[name] = _typed(tensor, datatype, shape, count)
            continue
        if tensor.HasField("contents"):
            raise BadRequest(f"input `{name}` has both contents and raw contents")
        content = raw[place]
        arrays[name] = from_raw(name, datatype, shape, content, 0, len(content), count)
    return arrays


def asked_names(request: Any) -> list[str]:
    """The outputs the client names; none means all."""
    return [output.name for output in request.outputs]


def _typed(tensor: Any, datatype: str, shape: list[int], count: int) -> Array:
    field = _TYPED.get(datatype)
    if field is None:
        raise BadRequest(f"input `{tensor.name}`: {datatype} needs raw contents")
    values = getattr(tensor.contents, field)
    if len(values) != count:
        raise BadRequest(f"input `{tensor.name}` has {len(values)} values; shape {shape} has {count}")
    if datatype == "BYTES":
        array = np.empty(count, np.object_)
        array[:] = list(values)
        return array.reshape(shape)
    wide = np.array(values)
    array = wide.astype(DTYPES[datatype])
    if wide.size and DTYPES[datatype].kind in "iu" and not np.array_equal(array, wide):
        raise BadRequest(f"input `{tensor.name}` holds values outside {datatype}")
    return array.reshape(shape)
