"""Replicas that serve one request at a time from one first-come queue: the loop that handles every request.

One source, two speeds: plain Python over lists is the reference; with numba installed (extra `fast`) the same function
is compiled. Both do the same floating-point operations in the same order, so their results are equal to the bit.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

Serve = Callable[..., tuple[int, int, int, float]]


def build_serve(replace_least: Callable[[Any, int, float], None]) -> Serve:
    """The request loop around a heap operation, so that the compiled build can bring its own."""

    def serve(
        arrivals: Any, services: Any, first: int, fresh: int, count: int, free: Any, replicas: int, second: int,
        timeout_s: float, latencies: Any, busy: Any,
    ) -> tuple[int, int, int, float]:  # fmt: skip
        """Serve requests first..count-1 in order while they can begin in `second`; those before `fresh` waited already.

        `free` is a heap of the times at which replicas become free. Serving time is added to `busy`, a ring of seconds
        whose length is a power of two. Latencies are written one after another from `first` on. A request that has
        waited `timeout_s` is dropped. Returns the next request, latencies written, drops, and the time that requests
        waited in this second.
        """
        mask = len(busy) - 1
        start_s, end_s = float(second), second + 1.0
        index = written = first
        dropped = 0
        waited = 0.0
        while index < count and replicas > 0:
            arrival = arrivals[index]
            begin = free[0]
            if begin < arrival:
                begin = arrival
            if begin >= end_s:
                break
            since = arrival if arrival > start_s else start_s
            if begin - arrival >= timeout_s:
                gone = arrival + timeout_s
                if gone > since:
                    waited += gone - since
                dropped += 1
                index += 1
                continue
            done = begin + services[index]
            replace_least(free, replicas, done)
            latencies[written] = done - arrival
            written += 1
            index += 1
            waited += begin - since
            place = int(begin)
            last = int(done)
            while place < last:
                busy[place & mask] += place + 1.0 - begin
                place += 1
                begin = float(place)
            busy[place & mask] += done - begin
        while index < count and end_s - arrivals[index] >= timeout_s:
            since = arrivals[index] if arrivals[index] > start_s else start_s
            gone = arrivals[index] + timeout_s
            if gone > since:
                waited += gone - since
            dropped += 1
            index += 1
        if fresh > index:
            waited += (fresh - index) * (end_s - start_s)
        for late in range(max(fresh, index), count):
            waited += end_s - arrivals[late]
        return index, written - first, dropped, waited

    return serve


def replace_least(heap: list[float], size: int, value: float) -> None:
    """Replace the least of the heap's `size` values."""
    heapq.heapreplace(heap, value)


serve_reference = build_serve(replace_least)
