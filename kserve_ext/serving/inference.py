"""One inference over HTTP between its bytes and the engine: headers, tensors, and what makes an answer of the outputs.

Knows no connection. Raises a Fault for what cannot be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from kserve_ext.serving.codec import decode_v2, encode_v2, load_json
from kserve_ext.serving.codec_v1 import decode_v1, dump_json, encode_v1
from kserve_ext.serving.execution import Tensors
from kserve_ext.serving.faults import BadRequest
from kserve_ext.serving.routes import Kind, Route
from kserve_ext.serving.served import Served, new_id

TIMEOUT_HEADER = b"x-request-timeout-ms"  # how long the client waits; Envoy's header of the same meaning counts too
_ENVOY_TIMEOUT_HEADER = b"x-envoy-expected-rq-timeout-ms"
_JSON_LINE = b"content-type: application/json\r\n"
_BINARY_LINES = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
Encode = Callable[[Tensors], tuple[bytes, bytes]]  # the answer's body, and its header lines


class Head(NamedTuple):
    """What the headers say."""

    request_id: str
    header_bytes: int | None
    content_bytes: int
    timeout_s: float | None
    trace: str


def submitted(
    served: Served, found: Route, body: bytes, head: Head, started_s: float, cycle: Any
) -> tuple[asyncio.Future[Tensors], Encode]:
    """The outputs to come, and what makes an answer of them. Raises a Fault."""
    served.check_version(found.version)
    tensors, encode = _of_v2(served, body, head) if found.kind is Kind.INFER else _of_v1(served, body)
    deadline_s = None if head.timeout_s is None else started_s + head.timeout_s
    gone = None if cycle is None else partial(getattr, cycle, "disconnected")
    return served.engine.submit(tensors, deadline_s=deadline_s, gone=gone), encode


def _of_v2(served: Served, body: bytes, head: Head) -> tuple[Tensors, Encode]:
    call = decode_v2(body, head.header_bytes, head.request_id)

    def encode(outputs: Tensors) -> tuple[bytes, bytes]:
        answer, json_bytes = encode_v2(call, served.name, served.version, outputs)
        return answer, _JSON_LINE if json_bytes is None else _BINARY_LINES % json_bytes

    return call.inputs, encode


def _of_v1(served: Served, body: bytes) -> tuple[Tensors, Encode]:
    content = load_json(body)
    decode, show = served.decode, served.encode
    tensors = _decoded(decode, content) if decode else decode_v1(content, served.engine.signature)
    return tensors, lambda outputs: ((dump_json(show(outputs)) if show else encode_v1(outputs)), _JSON_LINE)


def with_id(lines: bytes, request_id: str) -> bytes:
    return b"%bx-request-id: %b\r\n" % (lines, request_id.encode("latin-1"))


def read_head(headers: Iterable[tuple[bytes, bytes]], timeout_s: float) -> Head:
    request_id, trace = "", ""
    header_bytes: int | None = None
    content_bytes = 0
    for name, value in headers:
        if name == b"content-length":
            content_bytes = _number(name, value)
        elif name == b"inference-header-content-length":
            header_bytes = _number(name, value)
        elif name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name in (TIMEOUT_HEADER, _ENVOY_TIMEOUT_HEADER):
            timeout_s = _number(name, value) / 1000
        elif name == b"traceparent":
            trace = value.decode("latin-1")
    return Head(request_id or new_id(), header_bytes, content_bytes, timeout_s or None, trace)


def _number(name: bytes, value: bytes) -> int:
    if value.isdigit() and len(value) < 16:
        return int(value)
    raise BadRequest(f"{name.decode()} is not a whole number: {value[:40].decode('latin-1')}")


def _decoded(decode: Callable[[Any], Any], content: Any) -> Any:
    try:
        return decode(content)
    except (KeyError, TypeError, ValueError) as error:  # what a hook raises when the payload is not what it expects
        raise BadRequest(f"the payload cannot be read: {type(error).__name__}: {error}") from error
