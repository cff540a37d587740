"""A scaler that knows the rate as far ahead as a replica takes to start, and sizes for it: what a perfect forecast is worth.

On the information ladder it stands between the oracle, which knows every request, and the reactive policies: what it
costs more than the oracle is randomness, what it costs less than they do is the worth of a forecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.scalers.bounds import DEFAULT_BOUNDS, Bounds

_SPAN_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfectRateScaler:
    """`needed[t]` replicas in second t, known `ahead_s` before."""

    needed: tuple[int, ...]
    ahead_s: float
    interval_s: float = 10.0

    def start(self, replicas: int) -> None:
        del replicas

    def step(self, state: None, tick: Tick) -> tuple[None, int]:
        """The most that is needed before a replica asked for at the next step could be ready."""
        del state
        first = min(int(tick.now_s), len(self.needed) - 1)
        end = math.ceil(tick.now_s + self.ahead_s + self.interval_s)
        return None, max(self.needed[first : max(end, first + 1)])


class Staffing(Protocol):
    """Knows how many replicas a steady rate needs."""

    def replicas(self, rate_rps: float) -> int: ...


def perfect_rate(
    counts: Sequence[int], staffing: Staffing, *, ahead_s: float, bounds: Bounds = DEFAULT_BOUNDS, span_s: int = _SPAN_S
) -> PerfectRateScaler:
    """From the requests of every second. The rate of a second is that of the busiest `span_s` seconds around it.

    A longer span asks for fewer replicas and misses short bursts, since staffing is for a rate that stays. With an SLO of
    0.72 s, 5 s kept 99.8 % in time on ramps, steady, bursty and measured rates; 10 s lost 1.4 % on bursts of 40 s, 60 s
    lost 31 %; 2 s cost 4 % more replicas.
    """
    sums = _busiest_around(np.asarray(counts, dtype=np.int64), min(span_s, len(counts))).tolist()
    sized = {count: bounds.within(staffing.replicas(count / span_s)) for count in set(sums)}
    return PerfectRateScaler(needed=tuple(sized[count] for count in sums), ahead_s=ahead_s)


def _busiest_around(counts: NDArray[np.int64], span_s: int) -> NDArray[np.int64]:
    """For every second, the most requests in any `span_s` seconds in a row that hold it."""
    edge = np.zeros(span_s - 1, dtype=np.int64)
    summed = np.concatenate(([0], np.cumsum(counts)))
    sums = np.concatenate((edge, summed[span_s:] - summed[:-span_s], edge))
    most: NDArray[np.int64] = np.lib.stride_tricks.sliding_window_view(sums, span_s).max(axis=1)
    return most
