"""uvicorn's HTTP protocol with a way around ASGI for inference whose body came whole: no task, no messages, no waiting.

What needs to wait (a body in pieces, a pipelined request, `Expect: 100-continue`) and what is no inference goes uvicorn's
way. A uvicorn that starts its tasks elsewhere never calls `_start_asgi_task`, and then everything goes its way.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kserve_ext.serving.fast_lane import FastLane


class DirectProtocol(HttpToolsProtocol):  # type: ignore[misc]
    """One connection."""

    _held: Any = None  # a request that may go straight through, until its body is there

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        held = self._held
        if held is not None:  # its body comes in pieces
            self._held = None
            super()._start_asgi_task(held, self.app)

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
