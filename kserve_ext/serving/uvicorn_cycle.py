"""What the lane takes from uvicorn's request object behind ASGI: whether the client has hung up, and one write per answer.

ASGI's own way costs more than the rest of the lane: a task that waits for the disconnect message, two messages for an
answer, and a check of every header. Another server, or another uvicorn, gets plain ASGI instead; a test holds both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

_MODULE = "uvicorn.protocols.http.httptools_impl"
_USED = (
    "transport", "flow", "disconnected", "more_body", "keep_alive", "response_started", "response_complete", "message_event",
    "on_response",
)  # fmt: skip
OK = b"HTTP/1.1 200 OK\r\n"
_known: dict[type, bool] = {}


def cycle_of(receive: Callable[[], Any]) -> Any:
    """The object whose method `receive` is, where it is the one known here; else None."""
    cycle = getattr(receive, "__self__", None)
    kind = type(cycle)
    known = _known.get(kind)
    if known is None:
        known = _known[kind] = kind.__module__ == _MODULE and all(hasattr(cycle, name) for name in _USED)
    return cycle if known else None


def write_answer(cycle: Any, head: bytes, body: bytes, status: bytes = OK) -> Awaitable[None] | None:
    """A whole answer at once; `head` is header lines. What is given back waits for a slow reader, None: no need."""
    if cycle.disconnected:
        return None
    closing = b"" if cycle.keep_alive else b"connection: close\r\n"
    length = b"content-length: %d\r\n" % len(body)
    cycle.transport.write(b"".join((status, head, length, closing, b"\r\n", body)))
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    waiting: Awaitable[None] | None = cycle.flow.drain() if cycle.flow.write_paused else None
    return waiting
