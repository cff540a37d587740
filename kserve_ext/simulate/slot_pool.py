"""The replicas of one service that serve one request at a time, second by second: load a block, then advance, add, remove.

Requests wait in one first-come queue for the next free replica, as behind an activator with a limit of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kserve_ext.simulate.arrivals import Times
from kserve_ext.simulate.service_time import ServiceTime
from kserve_ext.simulate.slots import Serve, serve_reference

RING_S = 4096  # longest service time that is accounted for, in seconds; a power of two


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
        self._timeout_s = float(timeout_s)  # of one type: another would be compiled for anew
        self._serve = serve
        self._compiled = serve is not serve_reference
        self._free: Times | list[float] = []  # when each ready replica is free, as a heap
        self._busy: Times | list[float] = np.zeros(RING_S) if self._compiled else [0.0] * RING_S
        self._arrivals: Times = np.empty(0)  # of the block, after those that waited when it was loaded
        self._services: Times = np.empty(0)
        self._latencies: Times = np.empty(0)
        self._first = 0  # the first arrival that has not begun
        self._arrived = 0  # how many of the arrivals have come
        self._set_free([])

    def _set_free(self, times_s: list[float]) -> None:
        """The compiled loop takes arrays, the reference lists: each is the faster one there."""
        self._free = np.array(times_s) if self._compiled else times_s

    @property
    def ready(self) -> int:
        return len(self._free)

    @property
    def slots(self) -> float:
        return 1.0

    @property
    def waiting(self) -> int:
        return self._arrived - self._first

    def add(self, ready_s: float) -> None:
        """A replica takes requests from `ready_s` on."""
        self._set_free(sorted([*self._free, ready_s]))

    def remove(self, now_s: float) -> float:
        """Take the replica away that is free first; the time at which it has finished what it was serving."""
        first, *others = sorted(self._free)
        self._set_free(others)
        return max(now_s, float(first))

    def load(self, arrivals_s: Times) -> None:
        """The arrivals of the seconds to come, ascending: `advance` says how many of them have arrived."""
        drawn = self._service.draw_s(self._rng, len(arrivals_s))
        if drawn.size and drawn.max() >= RING_S - 1:
            raise ValueError(f"a service time of {drawn.max():.0f} s; at most {RING_S - 1} s can be simulated")
        self._arrivals = np.concatenate((self._arrivals[self._first :], arrivals_s))
        self._services = np.concatenate((self._services[self._first :], drawn))
        self._latencies = np.empty(len(self._arrivals))
        self._arrived -= self._first
        self._first = 0

    def advance(self, new: int, second: int) -> Advance:
        """Let those that wait and the next `new` requests, which arrive in [second, second + 1), be served."""
        fresh = self._arrived
        self._arrived += new
        latencies_s, dropped, waiting = self._call(fresh, second)
        place = second % RING_S
        busy, self._busy[place] = float(self._busy[place]), 0.0
        return Advance(latencies_s, dropped, waiting, busy)

    def _call(self, fresh: int, second: int) -> tuple[Times, int, float]:
        first, end = self._first, self._arrived
        if self._compiled:
            self._first, written, dropped, waiting = self._serve(
                self._arrivals, self._services, first, fresh, end, self._free, len(self._free), second,
                self._timeout_s, self._latencies, self._busy,
            )  # fmt: skip
            return self._latencies[first : first + written], dropped, waiting
        latencies_s = [0.0] * (end - first)
        served, written, dropped, waiting = self._serve(
            self._arrivals[first:end].tolist(), self._services[first:end].tolist(), 0, fresh - first, end - first,
            self._free, len(self._free), second, self._timeout_s, latencies_s, self._busy,
        )  # fmt: skip
        self._first += served
        return np.array(latencies_s[:written]), dropped, waiting
