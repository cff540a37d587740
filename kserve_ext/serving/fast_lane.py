"""An ASGI layer in front of KServe's FastAPI app: answers inference for our predictors itself, passes all else on.

V2 `infer` with versions, JSON and binary, and V1 `:predict`, without FastAPI's routing, pydantic and lists of numbers.
CloudEvents, models that are plain kserve.Model, explain, load and unload go to KServe's own routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, NamedTuple

import orjson

from kserve_ext.serving.admission import Admission
from kserve_ext.serving.codec import decode_v2, encode_v2, load_json
from kserve_ext.serving.codec_v1 import decode_v1, dump_json, encode_v1
from kserve_ext.serving.faults import BadRequest, ClientGone, Fault, ModelFailed, TooLarge, TooSlow
from kserve_ext.serving.request_log import log_request
from kserve_ext.serving.routes import Kind, Route, route
from kserve_ext.serving.served import Find, Served, new_id
from kserve_ext.serving.settings import Settings
from kserve_ext.serving.status_pages import StatusPages
from kserve_ext.serving.uvicorn_cycle import cycle_of, write_answer

log = logging.getLogger("kserve_ext.serving")

TIMEOUT_HEADER = b"x-request-timeout-ms"  # how long the client waits; Envoy's header of the same meaning counts too
_ENVOY_TIMEOUT_HEADER = b"x-envoy-expected-rq-timeout-ms"
_BODY_S = 60.0  # a body or an answer larger than the socket's buffers must be through by then
_JSON = (b"content-type", b"application/json")
_JSON_LINE = b"content-type: application/json\r\n"
_BINARY_LINES = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
_CLOSE = (b"connection", b"close")

Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]
Gone = Callable[[], bool] | None


class Head(NamedTuple):
    """What the headers say."""

    request_id: str
    header_bytes: int | None
    content_bytes: int
    timeout_s: float | None
    trace: str


class FastLane:
    """The ASGI app. While the server ends every answer asks the client to connect elsewhere."""

    def __init__(self, app: Any, find: Find, admission: Admission, settings: Settings, pages: StatusPages) -> None:
        self._app, self._find, self._admission, self._settings, self._pages = app, find, admission, settings, pages

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = route(scope["method"], scope["path"])
        if found is None:
            await self._app(scope, receive, send)
        elif found.kind is Kind.INFER or found.kind is Kind.PREDICT_V1:
            served = self._find(found.model)
            if served is None or (found.kind is Kind.PREDICT_V1 and _is_cloud_event(scope["headers"])):
                await self._app(scope, receive, send)
            else:
                await self._infer(served, found, scope, receive, send)
        else:
            answer = await self._pages.answer(found, scope, receive)
            if answer is None:
                await self._app(scope, receive, send)
            else:
                status, content_type, body = answer
                await self._send(send, status, body, [(b"content-type", content_type)])

    async def _infer(self, served: Served, found: Route, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        started_s = monotonic()
        status, request_id, trace = 200, "", ""
        fault = self._admission.enter()
        try:
            head = _read_head(scope["headers"], self._settings.timeout_s)
            request_id, trace = head.request_id, head.trace
            if fault is not None:
                served.engine.tally.rejected += 1
                raise fault
            served.check_version(found.version)
            cycle = cycle_of(receive)
            body = await self._body(head.content_bytes, receive, cycle)
            deadline_s = None if head.timeout_s is None else started_s + head.timeout_s
            exchange = self._v2 if found.kind is Kind.INFER else self._v1
            answer, lines = await exchange(served, body, head, deadline_s, _gone(cycle))
            served.observe(monotonic() - started_s)
            await self._succeed(cycle, send, answer, b"%bx-request-id: %b\r\n" % (lines, request_id.encode("latin-1")))
        except Fault as error:
            status = error.status
            await self._refuse(send, error, request_id)
        except Exception:  # the top of a request: it gets an answer, and the log gets the traceback
            log.exception("%s: request %s failed in the server", served.name, request_id)
            status = ModelFailed.status
            await self._refuse(send, ModelFailed("internal server error"), request_id)
        finally:
            if fault is None:
                self._admission.leave()
            if self._settings.request_log:
                log_request(served.name, status, request_id, trace, monotonic() - started_s)

    async def _v2(
        self, served: Served, body: bytes, head: Head, deadline_s: float | None, gone: Gone
    ) -> tuple[bytes, bytes]:
        call = decode_v2(body, head.header_bytes, head.request_id)
        outputs = await served.engine.submit(call.inputs, deadline_s=deadline_s, gone=gone)
        answer, json_bytes = encode_v2(call, served.name, served.version, outputs)
        if json_bytes is None:
            return answer, _JSON_LINE
        return answer, _BINARY_LINES % json_bytes

    async def _v1(
        self, served: Served, body: bytes, _: Head, deadline_s: float | None, gone: Gone
    ) -> tuple[bytes, bytes]:
        content = load_json(body)
        decode, encode = served.decode, served.encode
        tensors = _decoded(decode, content) if decode else decode_v1(content, served.engine.signature)
        outputs = await served.engine.submit(tensors, deadline_s=deadline_s, gone=gone)
        return (dump_json(encode(outputs)) if encode else encode_v1(outputs)), _JSON_LINE

    async def _body(self, content_bytes: int, receive: Receive, cycle: Any) -> bytes:
        """The whole body. Raises TooLarge before it is read where its length is said, else when it gets there."""
        most = self._settings.max_request_bytes
        if content_bytes > most:
            raise TooLarge(f"the request has {content_bytes} bytes; at most {most} are taken")
        if cycle is not None and not cycle.more_body:  # all of it is there, as is usual: nothing to wait for
            return await _read(receive, most)
        try:
            return await asyncio.wait_for(_read(receive, most), _BODY_S)
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {_BODY_S:.0f} s") from None

    async def _succeed(self, cycle: Any, send: Send, body: bytes, lines: bytes) -> None:
        """Answer 200; `lines` are header lines. The place is kept until a slow reader has read."""
        if cycle is None:
            pairs = [(name, value) for name, _, value in (line.partition(b": ") for line in lines.splitlines())]
            await self._send(send, 200, body, pairs)
            return
        if self._admission.ending:
            cycle.keep_alive = False
        waiting = write_answer(cycle, lines, body)
        if waiting is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiting, _BODY_S)

    async def _refuse(self, send: Send, fault: Fault, request_id: str) -> None:
        headers = [_JSON, (b"x-request-id", (request_id or new_id()).encode("latin-1"))]
        if fault.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % fault.retry_after_s))
        if isinstance(fault, TooLarge | TooSlow):
            headers.append(_CLOSE)  # the rest of the body is not read
        await self._send(send, fault.status, orjson.dumps({"error": fault.message}), headers)

    async def _send(self, send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        headers.append((b"content-length", b"%d" % len(body)))
        if self._admission.ending:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _read(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client has gone")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLarge(f"the request has more than {most} bytes")
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def _gone(cycle: Any) -> Gone:
    """Says whether the client has hung up."""
    return (lambda: cycle.disconnected) if cycle is not None else None


def _read_head(headers: Iterable[tuple[bytes, bytes]], timeout_s: float) -> Head:
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


def _is_cloud_event(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name.startswith(b"ce-") or (name == b"content-type" and b"cloudevents" in value) for name, value in headers
    )
