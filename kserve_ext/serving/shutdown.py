"""The graceful end: unready, a delay while balancers forget this server, refusal, the rest answered, and out.

Nothing that was accepted is lost: the listeners stay open until nobody is inside. A second signal takes away the waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from kserve_ext.serving.admission import Admission
from kserve_ext.serving.settings import Settings

_LOOK_S = 0.02
_QUIET_S = 0.2  # without anybody inside before the doors close: bytes may still be on their way
_MARGIN_S = 1.0  # of the grace period, for closing


class Shutdown:
    """One server's end. `begin` is for signals; `finished` waits until the doors may close, and says what time is left."""

    def __init__(self, admission: Admission, settings: Settings) -> None:
        self._admission, self._settings = admission, settings
        self._begun, self._hurry = asyncio.Event(), asyncio.Event()
        self._told: list[Callable[[], None]] = []

    def on_begin(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the end begins; at once where it has begun."""
        self._told.append(tell)
        if self._begun.is_set():
            tell()

    def begin(self) -> None:
        """SIGTERM; a second one ends the waiting."""
        if self._begun.is_set():
            self._hurry.set()
        self._admission.ending = True
        if not self._begun.is_set():
            self._begun.set()
            for tell in self._told:
                tell()

    async def finished(self) -> float:
        """Seconds of the grace period that are left when everything is answered, or given up."""
        await self._begun.wait()
        end_s = monotonic() + self._settings.grace_period_s - _MARGIN_S
        await self._pause(min(self._settings.drain_delay_s, end_s - monotonic()))
        self._admission.closed = True
        quiet_since_s = monotonic()
        while not self._hurry.is_set() and (now_s := monotonic()) < end_s:
            if self._admission.in_flight:
                quiet_since_s = now_s
            elif now_s - quiet_since_s >= _QUIET_S:
                break
            await asyncio.sleep(_LOOK_S)
        return max(0.0, end_s - monotonic())

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._hurry.wait(), max(0.0, seconds))
        except TimeoutError:
            return
