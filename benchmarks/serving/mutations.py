"""Requests that were once right: changed in their bytes and in their meaning, the same ones for the same count."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

_SEED = 7
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 1e308, -0.0, "", "x", "\u0000", "é", [], {}, [[]], [None],
    [1, "a"], {"a": 1}, [[1], [2, 3]], ["1"], [True], "FP32", "BYTES", "BF16", [0], [-1], [1] * 40, [2**40], [2**20, 2**20],
)  # fmt: skip
_KEYS = (
    "inputs", "outputs", "id", "parameters", "name", "shape", "datatype", "data", "binary_data_size", "instances",
    "binary_data_output", "binary_data",
)  # fmt: skip
_TYPES = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT64", "FP16", "FP32", "FP64", "BF16", "BYTES")


def rest_bodies(count: int) -> Iterator[bytes]:
    """Two bytes (which way, and the length of the JSON part), then the body."""
    rng = random.Random(_SEED)
    for _ in range(count):
        content, raw = _request(rng)
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            content = _changed(rng, content)
        head = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
        length = (len(head) + rng.choice((0, 0, 0, 0, 1, -1, 7))) % 2**15
        body = (length << 1 | int(rng.random() < 0.6)).to_bytes(2, "little") + head + raw
        yield _spoiled(rng, body) if rng.random() < 0.4 else body


def grpc_bodies(count: int) -> Iterator[bytes]:
    """A body of HTTP/2 data: prefix and message, sometimes several, sometimes compressed."""
    import zlib

    rng = random.Random(_SEED + 1)
    for _ in range(count):
        message = _message(rng)
        if rng.random() < 0.3:
            message = _spoiled(rng, message)
        packed = rng.random() < 0.2
        content = zlib.compress(message) if packed else message
        body = bytes([packed]) + len(content).to_bytes(4, "big") + content
        yield _spoiled(rng, body) if rng.random() < 0.3 else body * rng.choice((1, 1, 1, 2))


def _request(rng: random.Random) -> tuple[Any, bytes]:
    inputs, raw = [], b""
    for place in range(rng.choice((1, 1, 2))):
        datatype, shape = rng.choice(_TYPES), [rng.randrange(4) for _ in range(rng.randrange(4))]
        size = int(np.prod(shape)) if shape else 1
        tensor: dict[str, Any] = {"name": f"x{place}", "shape": shape, "datatype": datatype}
        if rng.random() < 0.5:
            part = _raw(rng, datatype, size)
            raw += part
            tensor["parameters"] = {"binary_data_size": len(part)}
        else:
            tensor["data"] = [_value(rng, datatype) for _ in range(size)]
        inputs.append(tensor)
    content: dict[str, Any] = {"id": "1", "inputs": inputs}
    if rng.random() < 0.2:
        content["outputs"] = [{"name": "y", "parameters": {"binary_data": True}}]
    if rng.random() < 0.1:
        content = {"instances": [[_value(rng, "FP32") for _ in range(3)] for _ in range(rng.randrange(3))]}
    return content, raw


def _raw(rng: random.Random, datatype: str, size: int) -> bytes:
    if datatype == "BYTES":
        texts = [rng.randbytes(rng.randrange(5)) for _ in range(size)]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    digits = "".join(letter for letter in datatype if letter.isdigit())
    return rng.randbytes(size * (int(digits) // 8 if digits else 1))


def _value(rng: random.Random, datatype: str) -> Any:
    if datatype == "BYTES":
        return rng.choice(("", "a", "é", "\u0000"))
    if datatype == "BOOL":
        return rng.random() < 0.5
    return rng.choice((0, 1, -1, 127, 255, 2**31, 2**53, 0.5)) if rng.random() < 0.5 else rng.randrange(100)


def _changed(rng: random.Random, content: Any) -> Any:
    """One value somewhere replaced, removed or added."""
    if isinstance(content, dict) and content:
        key = rng.choice(list(content))
        if rng.random() < 0.3:
            return {**content, rng.choice(_KEYS): rng.choice(_ODD)}
        if rng.random() < 0.2:
            return {name: value for name, value in content.items() if name != key}
        return {**content, key: _changed(rng, content[key])}
    if isinstance(content, list) and content and rng.random() < 0.8:
        place = rng.randrange(len(content))
        return [*content[:place], _changed(rng, content[place]), *content[place + 1 :]]
    return rng.choice(_ODD)


def _spoiled(rng: random.Random, body: bytes) -> bytes:
    """A few bytes flipped, cut out, doubled or added."""
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 5)):
        place = rng.randrange(len(changed) + 1)
        how = rng.randrange(4)
        if how == 0:
            changed[place : place + 1] = rng.randbytes(1)
        elif how == 1:
            del changed[place : place + rng.randrange(1, 9)]
        elif how == 2:
            changed[place:place] = changed[place : place + 8]
        else:
            changed[place:place] = rng.randbytes(rng.randrange(1, 5))
    return bytes(changed)


def _message(rng: random.Random) -> bytes:
    from tritonclient.grpc import service_pb2 as pb

    request = pb.ModelInferRequest(model_name="m", id="1")
    for place in range(rng.choice((0, 1, 1, 1, 2))):
        datatype = rng.choice((*_TYPES, "", "FP7"))
        shape = [rng.choice((0, 1, 2, 3, -1, 2**40, 2**62)) if rng.random() < 0.2 else rng.randrange(4)
                 for _ in range(rng.choice((0, 1, 2, 3, 40)))]  # fmt: skip
        tensor = request.inputs.add(name=f"x{place}", datatype=datatype, shape=shape)
        size = abs(int(np.prod([float(dim) for dim in shape]))) if len(shape) < 5 else 1
        if rng.random() < 0.4:
            tensor.contents.fp32_contents.extend([0.5] * min(size, 99))
            tensor.contents.int_contents.extend([rng.choice((1, -1, 2**31 - 1))] * min(size, rng.randrange(99)))
        if rng.random() < 0.7:
            request.raw_input_contents.append(_raw(rng, datatype, min(size, 99)) if datatype in _TYPES else b"12")
    content: bytes = request.SerializeToString()
    return content
