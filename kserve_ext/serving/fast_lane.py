"""An ASGI layer in front of KServe's FastAPI app: answers inference for our predictors itself, passes all else on.

V2 `infer` with versions, JSON and binary, and V1 `:predict`, without FastAPI's routing, pydantic and lists of numbers.
CloudEvents, models that are plain kserve.Model, explain, load and unload go to KServe's own routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from time import monotonic
from typing import Any

import orjson

from kserve_ext.serving.admission import Admission
from kserve_ext.serving.execution import Tensors
from kserve_ext.serving.faults import ClientGone, Fault, ModelFailed, TooLarge, TooSlow
from kserve_ext.serving.inference import Encode, read_head, submitted, with_id
from kserve_ext.serving.request_log import log_request
from kserve_ext.serving.routes import Kind, Route, route
from kserve_ext.serving.served import Find, Served, new_id
from kserve_ext.serving.settings import Settings
from kserve_ext.serving.status_pages import StatusPages
from kserve_ext.serving.tracing import exemplar, record
from kserve_ext.serving.uvicorn_cycle import cycle_of, write_answer

log = logging.getLogger("kserve_ext.serving")

_BODY_S = 60.0  # a body or an answer larger than the socket's buffers must be through by then
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_CLOSING = (TooLarge, TooSlow)  # the rest of the body is not read

Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


class FastLane:
    """The ASGI app. While the server ends every answer asks the client to connect elsewhere."""

    def __init__(self, app: Any, find: Find, admission: Admission, settings: Settings, pages: StatusPages) -> None:
        self._app, self._find, self._admission, self._settings, self._pages = app, find, admission, settings, pages
        self._tasks: set[asyncio.Task[None]] = set()

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
            head = read_head(scope["headers"], self._settings.timeout_s)
            request_id, trace = head.request_id, head.trace
            if fault is not None:
                served.engine.tally.rejected += 1
                raise fault
            cycle = cycle_of(receive)
            body = await self._body(head.content_bytes, receive, cycle)
            outputs, encode = submitted(served, found, body, head, started_s, cycle)
            answer, lines = encode(await outputs)
            served.observe(monotonic() - started_s, exemplar(trace))
            await self._succeed(cycle, send, answer, with_id(lines, request_id))
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
            self._tell(served, status, request_id, trace, monotonic() - started_s)

    # -------------------------------------------------------------------------- past ASGI, for a body that is there

    def takes(self, scope: dict[str, Any]) -> bool:
        """Whether `answer` may be given this request once its body is there."""
        found = route(scope["method"], scope["path"])
        return found is not None and found.kind is Kind.INFER and self._find(found.model) is not None

    def answer(self, cycle: Any) -> None:
        """Begin the inference; the answer is written when it is done."""
        started_s = monotonic()
        found = route("POST", cycle.scope["path"])
        served = self._find(found.model) if found is not None else None
        assert found is not None  # as `takes` has seen
        if served is None:
            self._later(self._app(cycle.scope, cycle.receive, cycle.send))
            return
        fault = self._admission.enter()
        done = _Done(served, started_s, fault is None)
        try:
            head = read_head(cycle.scope["headers"], self._settings.timeout_s)
            done.request_id, done.trace = head.request_id, head.trace
            if fault is not None:
                served.engine.tally.rejected += 1
                raise fault
            body = bytes(cycle.body)
            if len(body) > self._settings.max_request_bytes:
                raise TooLarge(
                    f"the request has {len(body)} bytes; at most {self._settings.max_request_bytes} are taken"
                )
            outputs, done.encode = submitted(served, found, body, head, started_s, cycle)
        except Exception as error:  # noqa: BLE001 - the top of a request: `_failed` tells a fault from a failure
            self._failed(cycle, done, error)
            return
        outputs.add_done_callback(partial(self._answered, cycle, done))

    def _answered(self, cycle: Any, done: _Done, outputs: asyncio.Future[Tensors]) -> None:
        try:
            answer, lines = done.encode(outputs.result())
        except Exception as error:  # noqa: BLE001
            self._failed(cycle, done, error)
            return
        done.served.observe(monotonic() - done.started_s, exemplar(done.trace))
        if self._admission.ending:
            cycle.keep_alive = False
        waiting = write_answer(cycle, with_id(lines, done.request_id), answer)
        if waiting is None:
            self._leave(done, 200)
        else:
            self._later(self._flush(waiting, done))

    async def _flush(self, waiting: Awaitable[None], done: _Done) -> None:
        """The place is kept until a slow reader has read."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiting, _BODY_S)
        self._leave(done, 200)

    def _failed(self, cycle: Any, done: _Done, error: Exception) -> None:
        if not isinstance(error, Fault):
            log.error("%s: request %s failed in the server", done.served.name, done.request_id, exc_info=error)
            error = ModelFailed("internal server error")
        self._leave(done, error.status)
        if self._admission.ending or isinstance(error, _CLOSING):
            cycle.keep_alive = False
        lines = b"".join(b"%b: %b\r\n" % pair for pair in _refusal_headers(error, done.request_id))
        write_answer(cycle, lines, _refusal_body(error), _status_line(error.status))

    def _leave(self, done: _Done, status: int) -> None:
        if done.inside:
            self._admission.leave()
        self._tell(done.served, status, done.request_id, done.trace, monotonic() - done.started_s)

    def _tell(self, served: Served, status: int, request_id: str, trace: str, took_s: float) -> None:
        if trace:
            record(served.name, trace, took_s, status)
        if self._settings.request_log:
            log_request(served.name, status, request_id, trace, took_s)

    def _later(self, rest: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(rest)
        self._tasks.add(task)  # a loop keeps no task alive
        task.add_done_callback(self._tasks.discard)

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
        headers = _refusal_headers(fault, request_id)
        if isinstance(fault, _CLOSING):
            headers.append(_CLOSE)
        await self._send(send, fault.status, _refusal_body(fault), headers)

    async def _send(self, send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        headers.append((b"content-length", b"%d" % len(body)))
        if self._admission.ending:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass(slots=True)
class _Done:
    """What is to be known of a request when it is answered."""

    served: Served
    started_s: float
    inside: bool
    request_id: str = ""
    trace: str = ""
    encode: Encode = lambda _: (b"", b"")


def _refusal_headers(fault: Fault, request_id: str) -> list[tuple[bytes, bytes]]:
    headers = [_JSON, (b"x-request-id", (request_id or new_id()).encode("latin-1"))]
    if fault.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % fault.retry_after_s))
    return headers


def _refusal_body(fault: Fault) -> bytes:
    body: bytes = orjson.dumps({"error": fault.message})
    return body


@cache
def _status_line(status: int) -> bytes:
    reason = HTTPStatus(status).phrase if status != ClientGone.status else "Client Closed Request"
    return f"HTTP/1.1 {status} {reason}\r\n".encode()


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


def _is_cloud_event(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name.startswith(b"ce-") or (name == b"content-type" and b"cloudevents" in value) for name, value in headers
    )
