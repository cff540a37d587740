"""The replicas of one service that serve one request at a time, second by second: add, remove, advance.

Requests wait in one first-come queue for the next free replica, as behind an activator with a limit of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.arrivals import Times
from kserve_ext.simulate.service_time import ServiceTime
from kserve_ext.simulate.slots import Serve, serve_reference

RING_S = 4096  # longest service time that is accounted for, in seconds


class Advance(NamedTuple):
    """What one second brought: latencies of the requests begun, requests dropped, time waited and served in it."""

    latencies_s: Times
    dropped: int
    waiting: float
    busy: float


class SlotPool:
    """State of one service's ready replicas and its queue. Replicas are alike; the one free first serves next."""

    def __init__(self, service: ServiceTime, *, timeout_s: float, seed: int, serve: Serve = serve_reference) -> None:
        self._service = service
        self._rng = np.random.default_rng((seed, 21))
        self._timeout_s = timeout_s
        self._serve = serve
        self._compiled = serve is not serve_reference
        self._free: list[float] = []  # when each ready replica is free, as a heap
        self._queue: Times = np.empty(0)
        self._services: Times = np.empty(0)
        self._busy: NDArray[np.float64] | list[float] = np.zeros(RING_S) if self._compiled else [0.0] * RING_S

    @property
    def ready(self) -> int:
        return len(self._free)

    @property
    def slots(self) -> float:
        return 1.0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, ready_s: float) -> None:
        """A replica takes requests from `ready_s` on."""
        self._free = sorted([*self._free, ready_s])

    def remove(self, now_s: float) -> float:
        """Take the replica away that is free first; the time at which it has finished what it was serving."""
        self._free.sort()
        return max(now_s, self._free.pop(0))

    def advance(self, arrivals_s: Times, second: int) -> Advance:
        """Let the requests that arrive in [second, second + 1) and those that wait be served."""
        queued = len(self._queue)
        drawn = self._service.draw_s(self._rng, len(arrivals_s))
        if drawn.size and drawn.max() >= RING_S - 1:
            raise ValueError(f"a service time of {drawn.max():.0f} s; at most {RING_S - 1} s can be simulated")
        arrivals = np.concatenate((self._queue, arrivals_s)) if queued else arrivals_s
        services = np.concatenate((self._services, drawn)) if queued else drawn
        served, latencies_s, dropped, waiting = self._call(arrivals, services, queued, second)
        self._queue, self._services = arrivals[served:], services[served:]
        place = second % RING_S
        busy, self._busy[place] = float(self._busy[place]), 0.0
        return Advance(latencies_s, dropped, waiting, busy)

    def _call(self, arrivals: Times, services: Times, queued: int, second: int) -> tuple[int, Times, int, float]:
        count, start_s, end_s = len(arrivals), float(second), second + 1.0
        if self._compiled:
            free, latencies, waiting = np.array(self._free), np.empty(count), np.zeros(1)
            served, written, dropped = self._serve(
                arrivals, services, queued, count, free, len(free), start_s, end_s,
                self._timeout_s, latencies, waiting, self._busy,
            )  # fmt: skip
            self._free = free.tolist()
            return served, latencies[:written], dropped, float(waiting[0])
        plain, waited = [0.0] * count, [0.0]
        served, written, dropped = self._serve(
            arrivals.tolist(), services.tolist(), queued, count, self._free, len(self._free), start_s, end_s,
            self._timeout_s, plain, waited, self._busy,
        )  # fmt: skip
        return served, np.array(plain[:written]), dropped, waited[0]
