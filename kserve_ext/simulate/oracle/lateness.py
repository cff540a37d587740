"""How many requests of one epoch come late with a given number of replicas: the loop over every request.

One source, two speeds, as in `simulate.slots`: plain Python over lists is the reference, numba compiles the same
function, and the results are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kserve_ext.simulate.arrivals import Times
from kserve_ext.simulate.slots import replace_least

Count = Callable[..., int]


def build_count(replace_least: Callable[[Any, int, float], None]) -> Count:
    """The loop around a heap operation, so that the compiled build can bring its own."""

    def count_late(arrivals: Any, services: Any, count: int, free: Any, replicas: int, slo_s: float) -> int:
        """Requests 0..count-1 that are late when served first come, first served, one at a time per replica.

        `free` is a heap of the times at which the replicas become free. A request that cannot finish in time is
        dropped when its turn comes and takes no replica's time: for equal service times nothing does better.
        """
        late = 0
        for index in range(count):
            arrival = arrivals[index]
            begin = free[0]
            if begin < arrival:
                begin = arrival
            done = begin + services[index]
            if done - arrival > slo_s:
                late += 1
            else:
                replace_least(free, replicas, done)
        return late

    return count_late


count_reference = build_count(replace_least)


def serve_all(count: Count, arrivals_s: Times, services_s: Times, free_s: Times, slo_s: float) -> tuple[int, Times]:
    """Late requests among these with replicas that are free at `free_s`, ascending, and when each is free afterwards."""
    requests, replicas = len(arrivals_s), len(free_s)
    if not replicas:
        return requests, free_s
    if count is not count_reference:
        heap = free_s.copy()
        return count(arrivals_s, services_s, requests, heap, replicas, slo_s), heap
    plain = free_s.tolist()
    late = count(arrivals_s.tolist(), services_s.tolist(), requests, plain, replicas, slo_s)
    return late, np.array(plain)
