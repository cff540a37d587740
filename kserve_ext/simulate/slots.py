"""Replicas that serve one request at a time from one first-come queue: the loop that handles every request.

One source, two speeds: plain Python over lists is the reference; with numba installed (extra `fast`) the same function
is compiled. Both do the same floating-point operations in the same order, so their results are equal to the bit.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

Serve = Callable[..., tuple[int, int, int]]


def build_serve(replace_least: Callable[[Any, int, float], None]) -> Serve:
    """The request loop around a heap operation, so that the compiled build can bring its own."""

    def serve(
        arrivals: Any, services: Any, queued: int, count: int, free: Any, replicas: int, start_s: float, end_s: float,
        timeout_s: float, latencies: Any, waiting: Any, busy: Any,
    ) -> tuple[int, int, int]:  # fmt: skip
        """Serve requests 0..count-1 in order while they can begin before `end_s`; the first `queued` are from before.

        `free` is a heap of the times at which replicas become free. Waiting time inside [start_s, end_s) is added to
        waiting[0], serving time to busy[second], a ring. Latencies are written one after another. A request that has
        waited `timeout_s` is dropped. Returns the next request, latencies written, and drops.
        """
        written = dropped = index = 0
        ring = len(busy)
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
            second = int(begin)
            last = int(done)
            while second < last:
                busy[second % ring] += second + 1.0 - begin
                second += 1
                begin = float(second)
            busy[second % ring] += done - begin
        while index < count and end_s - arrivals[index] >= timeout_s:
            since = arrivals[index] if arrivals[index] > start_s else start_s
            gone = arrivals[index] + timeout_s
            if gone > since:
                waited += gone - since
            dropped += 1
            index += 1
        fresh = queued if queued > index else index
        if queued > index:
            waited += (queued - index) * (end_s - start_s)
        while fresh < count:
            waited += end_s - arrivals[fresh]
            fresh += 1
        waiting[0] += waited
        return index, written, dropped

    return serve


def replace_least(heap: list[float], size: int, value: float) -> None:
    """Replace the least of the heap's `size` values."""
    heapq.heapreplace(heap, value)


serve_reference = build_serve(replace_least)
