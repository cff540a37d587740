"""A fixed number of replicas, and the smallest one that would have done for a given history."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.errors import InfeasibleError
from kserve_ext.simulate.arrivals import Arrivals, per_second
from kserve_ext.simulate.engine import Workload, simulate_fleet
from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.scalers.bounds import DEFAULT_BOUNDS, Bounds
from kserve_ext.simulate.scalers.sizing import staffing_for
from kserve_ext.simulate.slots import Serve, serve_reference

_BUSIEST_S = 60  # the search starts at what this many seconds of the highest rate need


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticScaler:
    """Always the same number."""

    replicas: int
    interval_s: float = 10.0

    def start(self, replicas: int) -> None:
        del replicas

    def step(self, state: None, tick: Tick) -> tuple[None, int]:
        del state, tick
        return None, self.replicas


def static_peak(
    workload: Workload, history: Arrivals, *, attainment: float, bounds: Bounds = DEFAULT_BOUNDS, seed: int = 0,
    serve: Serve = serve_reference,
) -> StaticScaler:  # fmt: skip
    """The smallest fixed count whose simulated attainment over the whole history is enough, within the bounds.

    Every candidate meets the same arrivals and the same service times, so one more replica never makes a request later,
    and the search may go by halves. It starts at the staffing formula's count for the busiest minute: about five runs.
    Raises InfeasibleError when no count is enough.
    """
    staffing = staffing_for(workload.service_time, workload.slo_s, attainment)
    counts = per_second(history, seed)

    def is_enough(replicas: int) -> bool:
        ready = dataclasses.replace(workload, arrivals=history, initial_replicas=replicas)
        (outcome,) = simulate_fleet([ready], [StaticScaler(replicas=replicas)], seed=seed, serve=serve)
        return outcome.attainment >= attainment

    guess = staffing.replicas(_busiest(counts, _BUSIEST_S) / _BUSIEST_S)
    most = _busiest(counts, math.ceil(float(staffing.service_s[-1])) + 2)  # with so many nobody waits
    found = _smallest(is_enough, min(guess, most), most)
    if found is None:
        raise InfeasibleError(
            f"no fixed count reaches {attainment:.4g} on this history: without any waiting too many requests are late",
            binding="service-time", nearest="a longer SLO, or a lower attainment",
        )  # fmt: skip
    return StaticScaler(replicas=bounds.within(found))


def _busiest(counts: NDArray[np.int64], span_s: int) -> int:
    """Most requests in any `span_s` seconds in a row."""
    summed = np.concatenate(([0], np.cumsum(counts)))
    span_s = min(span_s, len(counts))
    return int((summed[span_s:] - summed[:-span_s]).max()) if span_s else 0


def _smallest(is_enough: Callable[[int], bool], guess: int, most: int) -> int | None:
    """Smallest of 0..most that is enough, if each larger one is too: in growing steps from the guess, then by halves."""
    step, low, high = 1, -1, guess
    if is_enough(guess):
        while high > 0 and low < 0:
            trial = max(0, high - step)
            if is_enough(trial):
                high, step = trial, step * 2
            else:
                low = trial
    else:
        while True:
            if high >= most:
                return None
            low, high, step = high, min(most, high + step), step * 2
            if is_enough(high):
                break
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
