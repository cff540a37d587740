"""A scaler that knows the rate as far ahead as a replica takes to start, and sizes for it: the best any forecast can do.

On the information ladder it stands between the oracle, which knows every request, and the reactive policies: what it
costs more than the oracle is randomness, what it costs less than they do is the worth of a forecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kserve_ext.queueing.staffing import Staffing
from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.scalers.bounds import DEFAULT_BOUNDS, Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfectRateScaler:
    """`needed[i]` replicas from second i x `epoch_s` on, known `ahead_s` before."""

    needed: tuple[int, ...]
    epoch_s: int
    ahead_s: float
    interval_s: float = 10.0

    def start(self, replicas: int) -> None:
        del replicas

    def step(self, state: None, tick: Tick) -> tuple[None, int]:
        """The most that is needed until a replica started at the next step would be ready."""
        del state
        first = min(int(tick.now_s) // self.epoch_s, len(self.needed) - 1)
        end = math.ceil((tick.now_s + self.ahead_s + self.interval_s) / self.epoch_s)
        return None, max(self.needed[first : max(end, first + 1)])


def perfect_rate(
    counts: Sequence[int], staffing: Staffing, *, ahead_s: float, epoch_s: int = 10, bounds: Bounds = DEFAULT_BOUNDS
) -> PerfectRateScaler:
    """From the requests of every second. A rate is the mean over an epoch; each distinct one is sized once."""
    sums = np.add.reduceat(np.asarray(counts, dtype=np.int64), np.arange(0, len(counts), epoch_s))
    sized = {count: bounds.within(staffing.replicas(count / epoch_s)) for count in set(sums.tolist())}
    return PerfectRateScaler(needed=tuple(sized[count] for count in sums.tolist()), epoch_s=epoch_s, ahead_s=ahead_s)
