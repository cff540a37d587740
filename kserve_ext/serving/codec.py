"""V2 and V1 requests and answers over HTTP as arrays: JSON by orjson, the binary extension by np.frombuffer, no Python lists.

Bytes in, arrays that look into those bytes out, and back. Raises BadRequest for what cannot be read. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson

from kserve_ext.serving.datatypes import DTYPES, datatype_of
from kserve_ext.serving.execution import Array
from kserve_ext.serving.faults import BadRequest, ModelFailed

_KINDS = {"f": "iuf", "i": "iu", "u": "iu", "b": "biu"}  # JSON numbers that a datatype takes, by numpy's kind
_ELEMENTS = 2**40
_DIMENSIONS = 32  # numpy's own limit before version 2


class Asked(NamedTuple):
    """One output the client names, and whether it wants it as bytes."""

    name: str
    binary: bool


class Call(NamedTuple):
    """A decoded request. `outputs` None: all of them. `binary`: as bytes where an output does not say."""

    id: str
    inputs: Mapping[str, Array]
    outputs: tuple[Asked, ...] | None
    binary: bool


# ---------------------------------------------------------------------------------------------------------- in


def decode_v2(body: bytes, header_bytes: int | None, other_id: str = "") -> Call:
    """The request in `body`; `header_bytes` is the length of the JSON part where bytes follow it.

    `other_id` is for a request that has no id of its own.
    """
    if header_bytes is not None and not 0 <= header_bytes <= len(body):
        raise BadRequest(f"Inference-Header-Content-Length is {header_bytes} in a body of {len(body)} bytes")
    content = load_json(body if header_bytes is None else memoryview(body)[:header_bytes])
    try:
        inputs = content["inputs"]
    except (KeyError, TypeError):
        raise BadRequest("no `inputs` in the request") from None
    if not isinstance(inputs, list) or not inputs:
        raise BadRequest("`inputs` must be a list of tensors")
    position = len(body) if header_bytes is None else header_bytes
    arrays: dict[str, Array] = {}
    for tensor in inputs:
        name, position, arrays_of = _decode_input(tensor, body, position)
        if name in arrays:
            raise BadRequest(f"input `{name}` is there twice")
        arrays[name] = arrays_of
    if position != len(body):
        raise BadRequest(f"{len(body) - position} bytes after the last input")
    parameters = content.get("parameters") or {}
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    identity = content.get("id")
    if identity is not None and not isinstance(identity, str):
        raise BadRequest("`id` must be a string")
    return Call(identity or other_id, arrays, _asked(content.get("outputs"), binary), binary)


def load_json(body: bytes | memoryview) -> Any:
    """The parsed JSON. Raises BadRequest."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def _decode_input(tensor: Any, body: bytes, position: int) -> tuple[str, int, Array]:
    try:
        name, datatype, shape = tensor["name"], tensor["datatype"], tensor["shape"]
    except (KeyError, TypeError):
        raise BadRequest("an input needs `name`, `datatype` and `shape`") from None
    if not isinstance(name, str):
        raise BadRequest("an input's `name` must be a string")
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise BadRequest(f"input `{name}` has datatype {datatype!r}; allowed: {', '.join(DTYPES)}")
    count = count_of(name, shape)
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return name, position, _from_json(name, datatype, shape, count, tensor.get("data"))
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(body) - position:
        raise BadRequest(f"input `{name}` says binary_data_size {size!r}; {len(body) - position} bytes are left")
    return name, position + size, from_raw(name, datatype, shape, body, position, size, count)


def count_of(name: str, shape: Any) -> int:
    """How many elements the shape holds. Raises BadRequest for what numpy cannot shape either, empty tensors included."""
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS:
        raise _bad_shape(name, shape)
    count = most = 1
    for dim in shape:
        if type(dim) is not int or dim < 0:
            raise _bad_shape(name, shape)
        count *= dim
        most *= dim or 1
    if most > _ELEMENTS:
        raise _bad_shape(name, shape)
    return count


def _bad_shape(name: str, shape: Any) -> BadRequest:
    found = str(shape)[:100]
    return BadRequest(f"input `{name}` has shape {found}; allowed: up to {_DIMENSIONS} whole numbers, 0 or more")


def from_raw(name: str, datatype: str, shape: Any, raw: bytes, position: int, size: int, count: int) -> Array:
    """The array whose bytes stand at `position`; it looks into `raw` and is read-only."""
    if datatype == "BYTES":
        return _strings(name, raw, position, size, count).reshape(shape)
    item = 2 if datatype == "BF16" else DTYPES[datatype].itemsize
    if size != count * item:
        raise BadRequest(f"input `{name}` has {size} bytes; {datatype} of shape {list(shape)} has {count * item}")
    if datatype == "BF16":
        halves = np.frombuffer(raw, "<u2", count, position).astype(np.uint32)
        return (halves << 16).view(np.float32).reshape(shape)
    return np.frombuffer(raw, DTYPES[datatype], count, position).reshape(shape)


def _strings(name: str, raw: bytes, position: int, size: int, count: int) -> Array:
    """Strings with their length in four bytes before each."""
    end = position + size
    if size < 4 * count:
        raise BadRequest(f"input `{name}` has {size} bytes, too few for {count} strings")
    array = np.empty(count, np.object_)
    for index in range(count):
        start = position + 4
        if start > end:
            raise BadRequest(f"input `{name}` ends before its {count} strings do")
        position = start + int.from_bytes(raw[position:start], "little")
        if position > end:
            raise BadRequest(f"input `{name}` has a string longer than the tensor")
        array[index] = raw[start:position]
    if position != end:
        raise BadRequest(f"input `{name}` has {end - position} bytes after its {count} strings")
    return array


def _from_json(name: str, datatype: str, shape: Any, count: int, data: Any) -> Array:
    if not isinstance(data, list):
        raise BadRequest(f"input `{name}` has neither `data` nor `binary_data_size`")
    if datatype in ("FP16", "BF16"):
        raise BadRequest(f"input `{name}`: {datatype} cannot be sent as JSON; use the binary data extension")
    array = from_values(name, datatype, data)
    if array.size != count:
        raise BadRequest(f"input `{name}` has {array.size} values; shape {shape} has {count}")
    return array.reshape(shape)


def from_values(name: str, datatype: str, data: list[Any]) -> Array:
    """An array of JSON values, nested or flat. Raises BadRequest where one would be changed by the datatype."""
    if datatype == "BYTES":
        return _from_texts(name, data)
    try:
        raw = np.array(data)
    except (ValueError, OverflowError):
        raise BadRequest(f"input `{name}` has lists of different lengths") from None
    dtype = DTYPES[datatype]
    if raw.dtype == dtype:
        return raw
    if raw.size and raw.dtype.kind not in _KINDS[dtype.kind]:
        raise BadRequest(f"input `{name}` holds values that are not {datatype}")
    with np.errstate(over="ignore"):
        array = raw.astype(dtype)
    if dtype.kind in "iub" and raw.size and not np.array_equal(array, raw):
        raise BadRequest(f"input `{name}` holds values outside {datatype}")
    return array


def _from_texts(name: str, data: list[Any]) -> Array:
    try:
        array = np.array(data, np.object_)
    except ValueError:
        raise BadRequest(f"input `{name}` has lists of different lengths") from None
    flat = array.ravel()
    for index, item in enumerate(flat):
        if not isinstance(item, str):
            raise BadRequest(f"input `{name}` holds values that are not strings")
        flat[index] = item.encode()
    return flat.reshape(array.shape)


def _asked(outputs: Any, binary: bool) -> tuple[Asked, ...] | None:
    if outputs is None or outputs == []:
        return None
    try:
        return tuple(
            Asked(str(output["name"]), bool((output.get("parameters") or {}).get("binary_data", binary)))
            for output in outputs
        )
    except (KeyError, TypeError, AttributeError):
        raise BadRequest("`outputs` must be a list of objects with a `name`") from None


# --------------------------------------------------------------------------------------------------------- out


def encode_v2(call: Call, model: str, version: str, outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON part where bytes follow. Raises BadRequest for an unknown output."""
    parts: list[bytes] = []
    tensors = []
    for name, array, binary in wanted(call, outputs):
        datatype = answered_datatype(name, array)
        tensor: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": datatype}
        if binary:
            raw = to_raw(datatype, array)
            tensor["parameters"] = {"binary_data_size": len(raw)}
            parts.append(raw)
        else:
            tensor["data"] = _values(name, datatype, array)
        tensors.append(tensor)
    content = {"model_name": model, "model_version": version, "id": call.id, "outputs": tensors}
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((head, *parts)), len(head)) if parts else (head, None)


def answered_datatype(name: str, array: Array) -> str:
    """The datatype of an output. Raises ModelFailed for one that cannot travel."""
    try:
        return datatype_of(array.dtype)
    except ValueError as error:
        raise ModelFailed(f"the model answered `{name}`: {error}") from None


def wanted(call: Call, outputs: Mapping[str, Array]) -> list[tuple[str, Array, bool]]:
    """The outputs to send, and which of them as bytes. Raises BadRequest for one that the model lacks."""
    if call.outputs is None:
        return [(name, array, call.binary) for name, array in outputs.items()]
    chosen = []
    for asked in call.outputs:
        if asked.name not in outputs:
            raise BadRequest(f"the model has no output `{asked.name}`; it has {', '.join(outputs)}")
        chosen.append((asked.name, outputs[asked.name], asked.binary))
    return chosen


def to_raw(datatype: str, array: Array) -> bytes:
    """The array's bytes, little-endian."""
    if datatype == "BYTES":
        items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
        return b"".join(part for item in items for part in (len(item).to_bytes(4, "little"), item))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _values(name: str, datatype: str, array: Array) -> Any:
    """What orjson writes as a flat list."""
    if datatype == "BYTES":
        return _texts(name, array)
    if datatype == "FP16":
        raise BadRequest(f"output `{name}`: FP16 cannot be sent as JSON; ask for binary data")
    return np.ascontiguousarray(array.ravel(), array.dtype.newbyteorder("="))


def _texts(name: str, array: Array) -> list[str]:
    try:
        return [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise ModelFailed(f"output `{name}` is not UTF-8; ask for binary data") from None
