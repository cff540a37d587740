"""uvicorn's HTTP protocol with a way around ASGI for inference whose body came whole: no task, no messages, no waiting.

What needs to wait (a body in pieces, a pipelined request, `Expect: 100-continue`) and what is no inference goes uvicorn's
way. A uvicorn that starts its tasks elsewhere never calls `_start_asgi_task`, and then everything goes its way.
Headers are bounded in size and in time, which uvicorn leaves open.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kserve_ext.serving.fast_lane import FastLane

HEAD_BYTES = 2**16  # the same as over gRPC
_HEAD_S = 60.0
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class DirectProtocol(HttpToolsProtocol):  # type: ignore[misc]
    """One connection."""

    _held: Any = None  # a request that may go straight through, until its body is there
    _in_head = True  # also before the first request
    _head_bytes = _heads = _heads_seen = 0
    _timer: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(_HEAD_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        held = self._held
        if held is not None:  # its body comes in pieces
            self._held = None
            super()._start_asgi_task(held, self.app)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._heads += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        held = self._held
        if held is not None:
            self._held = None
            self.app.answer(held)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if (
            isinstance(app, FastLane)
            and cycle.more_body
            and not cycle.waiting_for_100_continue
            and app.takes(cycle.scope)
        ):
            self._held = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def _look(self) -> None:
        """Close a connection whose head does not end."""
        if self._in_head and self._heads == self._heads_seen:
            self.transport.close()
            return
        self._heads_seen = self._heads
        self._timer = self.loop.call_later(_HEAD_S, self._look)
