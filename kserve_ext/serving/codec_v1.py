"""V1 `:predict` payloads as arrays: `{"instances": [...]}` in, `{"predictions": [...]}` out. Knows no model.

An instance is one row: a value where the model has one input, an object of values by input name where it has several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from kserve_ext.render.tensors import Signature
from kserve_ext.serving.codec import from_values
from kserve_ext.serving.datatypes import signature_datatype
from kserve_ext.serving.execution import Array
from kserve_ext.serving.faults import BadRequest

_UNNAMED = "input_0"  # as KServe's own servers call the only input of a V1 request
_GUESSED = {"f": "FP32", "i": "INT64", "u": "UINT64", "b": "BOOL", "U": "BYTES"}


def decode_v1(content: Any, signature: Signature | None) -> dict[str, Array]:
    """The tensors in a parsed V1 body; datatypes are the signature's, or guessed from the values. Raises BadRequest."""
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list) or not instances:
        raise BadRequest("`instances` must be a list with one item for each row")
    datatypes = {tensor.name: signature_datatype(tensor) for tensor in signature.inputs} if signature else {}
    if isinstance(instances[0], dict):
        columns = _columns(instances)
    else:
        if len(datatypes) > 1:
            raise BadRequest(f"an instance must be an object with {', '.join(datatypes)}: the model has several inputs")
        columns = {next(iter(datatypes), _UNNAMED): instances}
    return {name: _column(name, datatypes.get(name), values) for name, values in columns.items()}


def _columns(instances: list[Any]) -> dict[str, list[Any]]:
    names = instances[0].keys()
    if any(not isinstance(instance, dict) or instance.keys() != names for instance in instances):
        raise BadRequest("all instances must have the same inputs")
    return {name: [instance[name] for instance in instances] for name in names}


def _column(name: str, datatype: str | None, values: list[Any]) -> Array:
    if datatype is None:
        try:
            datatype = _GUESSED.get(np.array(values).dtype.kind)
        except ValueError:
            raise BadRequest(f"input `{name}` has lists of different lengths") from None
        if datatype is None:
            raise BadRequest(f"input `{name}` holds values of different types")
    if datatype in ("FP16", "BF16"):
        return from_values(name, "FP32", values).astype(np.float16 if datatype == "FP16" else np.float32)
    return from_values(name, datatype, values)


def encode_v1(outputs: Mapping[str, Array]) -> bytes:
    """The answer: a list of rows, each an object where the model has several outputs."""
    return dump_json({"predictions": rows_v1(outputs)})


def rows_v1(outputs: Mapping[str, Array]) -> list[Any]:
    """The outputs row by row, in plain lists and numbers."""
    columns = {name: _plain(array) for name, array in outputs.items()}
    if len(columns) == 1:
        (rows,) = columns.values()
        return list(rows)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(array: Array) -> Any:
    values = array.tolist()
    return _texts(values) if array.dtype.kind in "OS" else values


def _texts(values: Any) -> Any:
    if isinstance(values, list):
        return [_texts(value) for value in values]
    return values.decode(errors="replace") if isinstance(values, bytes) else values


def dump_json(content: Any) -> bytes:
    """JSON with numpy's numbers and arrays in it."""
    written: bytes = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return written
