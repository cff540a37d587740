"""The autoscaler tried out on a rise of the load before it is written down: how late it would be, at what price.

Its own decision runs second by second over replicas that take their time to start. Requests flow; what one
replica does at a rate is known, so no single request is simulated, and a rise of half an hour takes some 30 ms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kserve_ext.domain import Scaling
from kserve_ext.policy.load import Values
from kserve_ext.simulate.scaler import Scaler, Second, Tick
from kserve_ext.simulate.scalers.bounds import Bounds
from kserve_ext.simulate.scalers.kpa import from_plan

_SETTLING_S = 120  # at the first rate, before anything counts
_LATE_AT_CAPACITY = 0.01  # capacity is where p99 is reached
_TENFOLD = 0.1  # of the capacity more: ten times as many are late, as near saturation in the simulator
_SAME_PRICE = 1.02
LATE_ALLOWED = 0.01  # the SLO is for 99 % of the requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What one replica does: up to its capacity within the SLO, up to saturation at all."""

    capacity_rps: float
    saturated_rps: float
    concurrency: tuple[float, ...]  # requests in flight at 0, ..., all of the capacity, in equal steps
    slo_s: float
    start_s: float

    def late_share(self, rate_rps: float) -> float:
        """Share of the requests that miss the SLO at a rate of one replica."""
        beyond = rate_rps / self.capacity_rps - 1.0
        return min(1.0, _LATE_AT_CAPACITY * math.pow(10.0, min(2.0, beyond / _TENFOLD)))

    def in_flight(self, rate_rps: float) -> float:
        """Requests in flight at a rate of one replica; beyond the capacity they grow as they did last."""
        place = rate_rps / self.capacity_rps * (len(self.concurrency) - 1)
        low = min(int(place), len(self.concurrency) - 2)
        below, above = self.concurrency[low], self.concurrency[low + 1]
        return below + (place - low) * (above - below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What came of it with one setting."""

    scaling: Scaling
    late: float  # share of the requests
    billed: float  # replicas on average, starting ones included

    @property
    def holds(self) -> bool:
        return self.late <= LATE_ALLOWED


def rehearse_all(
    scalings: Sequence[Scaling], concurrency_limit: int, carried: Carried, rates_rps: Values, *,
    utilizations: Sequence[float], windows_s: Sequence[float], seed: int,
) -> tuple[Rehearsal, ...]:  # fmt: skip
    """Each setting with each window and utilization, the highest first, up to one that holds; the best one first.

    A lower utilization runs more replicas, so no later one is cheaper. Where none holds, the least late comes first.
    """
    counts = settled(rates_rps, np.random.default_rng((seed, 3 << 20)))
    found: list[Rehearsal] = []
    for utilization in utilizations:
        for scaling, window_s in itertools.product(scalings, windows_s):
            tried = replace(scaling, target_utilization_percent=utilization, window_s=window_s)
            scaler = from_plan(tried, concurrency_limit)
            late, billed = rehearse(scaler, scaler.bounds, carried, rates_rps, counts)
            found.append(Rehearsal(scaling=tried, late=late, billed=billed))
        if any(each.holds for each in found):
            break
    return tuple(sorted(found, key=_rank(found)))


def _rank(found: Sequence[Rehearsal]) -> Callable[[Rehearsal], tuple[bool, float, float]]:
    """Those that hold by price, prices that are practically the same by lateness; then the others by lateness."""
    cheapest = min((each.billed for each in found if each.holds), default=0.0)

    def rank(each: Rehearsal) -> tuple[bool, float, float]:
        dearer = each.holds and each.billed > _SAME_PRICE * cheapest
        return not each.holds, each.billed if dearer else 0.0, each.late

    return rank


def settled(rates_rps: Values, random: np.random.Generator) -> NDArray[np.int64]:
    """Requests in each second of the rates, after some at the first one."""
    return random.poisson(np.concatenate((_settling(rates_rps), rates_rps)))


def rehearse(
    scaler: Scaler[Any], bounds: Bounds, carried: Carried, rates_rps: Values, counts: NDArray[np.int64]
) -> tuple[float, float]:
    """Share of the requests that are late, and replicas billed on average. `counts` begin with the settling time."""
    rates = np.concatenate((_settling(rates_rps), rates_rps)).tolist()
    fewest = max(1, bounds.min_replicas)
    ready = bounds.within(max(fewest, math.ceil(rates[0] / carried.capacity_rps)))
    state, starting, seen = scaler.start(ready), list[float](), list[Second]()
    backlog = late = sent = billed = 0.0
    for second, (rate_rps, arrived) in enumerate(zip(rates, counts.tolist(), strict=True)):
        while starting and starting[0] <= second:
            starting.pop(0)
            ready += 1
        most = ready * carried.saturated_rps
        served = min(arrived + backlog, most)
        backlog += arrived - served
        if second >= _SETTLING_S:
            share = 1.0 if backlog > carried.slo_s * most else carried.late_share(rate_rps / ready)
            late, sent, billed = late + share * arrived, sent + arrived, billed + ready + len(starting)
        in_flight = ready * carried.in_flight(served / ready) + backlog
        seen.append(Second(t_s=second, arrivals=arrived, concurrency=in_flight, busy=served / carried.saturated_rps))
        if (second + 1) % scaler.interval_s == 0:
            tick = Tick(
                now_s=second + 1.0, ready=ready, starting=len(starting), seconds=tuple(seen), slots_per_replica=1
            )
            state, wanted = scaler.step(state, tick)
            seen.clear()
            ready, starting = _scaled(ready, starting, max(fewest, wanted), second + 1 + carried.start_s)
    return late / sent if sent else 0.0, billed / len(rates_rps)


def _scaled(ready: int, starting: list[float], wanted: int, ready_s: float) -> tuple[int, list[float]]:
    """More replicas start; of too many those go first that have not started, the latest first."""
    more = wanted - ready - len(starting)
    if more >= 0:
        return ready, [*starting, *(ready_s,) * more]
    kept = starting[: max(0, len(starting) + more)]
    return min(ready, wanted), kept


def _settling(rates_rps: Values) -> Values:
    return np.full(_SETTLING_S, rates_rps[0])
