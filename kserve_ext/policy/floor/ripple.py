"""How much the rate swings inside a bin beyond chance: what a sizing for a steady rate leaves out.

Counts of a few seconds in, a factor on the rate out: 1 for Poisson arrivals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

GRAIN_S = 5  # swings shorter than this are ridden out by the queue
_FORGET = 0.5 ** (1 / 60)  # half in an hour of minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ripple:
    """Excess variance of grains within a bin, relative to the square of their mean."""

    excess: float = 0.0
    known: float = 0.0  # discounted weight behind it
    open: float = 0.0  # requests in the grain under way
    grains: tuple[float, ...] = ()  # whole ones of the bin under way
    seconds: float = 0.0  # in the grain under way

    @property
    def deviation(self) -> float:
        """Standard deviation of the rate within a bin over its mean."""
        return math.sqrt(max(0.0, self.excess / self.known)) if self.known > 0 else 0.0


def swing(ripple: Ripple, counts: Sequence[int], step_s: float, bin_s: int) -> Ripple:
    """The ripple after `counts`, one for each `step_s`. Steps longer than a grain say nothing."""
    if step_s > GRAIN_S or bin_s < 4 * GRAIN_S:
        return ripple
    grains, current, seconds = list(ripple.grains), ripple.open, ripple.seconds
    for count in counts:
        current += count
        seconds += step_s
        if seconds >= GRAIN_S - 1e-9:
            grains.append(current)
            current = seconds = 0.0
    ripple = replace(ripple, open=current, seconds=seconds)
    size = bin_s // GRAIN_S
    while len(grains) >= size:
        ripple, grains = _close(ripple, grains[:size]), grains[size:]
    return replace(ripple, grains=tuple(grains))


def _close(ripple: Ripple, grains: Sequence[float]) -> Ripple:
    """One bin: variance less that of Poisson, each weighed by the mean, so that a few requests say little."""
    mean = sum(grains) / len(grains)
    if mean <= 0:
        return ripple
    variance = sum((grain - mean) ** 2 for grain in grains) / (len(grains) - 1)
    excess = (variance - mean) / mean**2
    return replace(
        ripple,
        excess=_FORGET * ripple.excess + (1 - _FORGET) * mean * excess,
        known=_FORGET * ripple.known + (1 - _FORGET) * mean,
    )
