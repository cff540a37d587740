"""A load over time, as numbers: what rates to plan for, how steep it rises, what replicas it takes over the day.

Requests per second, step by step, in; the quiet and the busy rate, a piece to rehearse, replicas by time of day out.
Reading a file is the caller's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.domain import RateRange
from kserve_ext.errors import InputError, Problem

Values = NDArray[np.float64]

PLANNED_SHARE = (
    0.999  # of the requests come at no more than the busy rate: the SLO allows ten times the rest to be late
)
_MINUTE_S = 60  # bursts within it are the queue's, and in the capacity of a replica already
_DAY_S = 86400
_PARTS = 6  # in which replicas over the day are told
_TOP = 1 / 3  # of a rise is what comes after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests per second in each step of `step_s` seconds from `start_s`, seconds from a midnight, on."""

    rates_rps: tuple[float, ...]
    step_s: int
    start_s: int = 0
    source: str = "the trace"  # its name in reasons

    def __post_init__(self) -> None:
        if self.step_s < 1 or not self.rates_rps or not all(0 <= rate < math.inf for rate in self.rates_rps):
            raise InputError(
                Problem(field=self.source, what="not a load", found=f"{len(self.rates_rps)} steps of {self.step_s} s",
                        allowed="at least one step, whole seconds, rates of 0 and more")
            )  # fmt: skip
        if not any(self.rates_rps):
            raise InputError(
                Problem(field=self.source, what="no requests at all: there is nothing to plan for"),
                remedy="plan with a rate range instead",
            )

    @property
    def duration_s(self) -> int:
        return len(self.rates_rps) * self.step_s

    def minutes_rps(self) -> tuple[Values, int]:
        """The rates over steps of a minute at least, and the seconds of one; a rest at the end counts by itself."""
        per_step = max(1, -(-_MINUTE_S // self.step_s))
        starts = np.arange(0, len(self.rates_rps), per_step)
        lengths = np.diff(np.append(starts, len(self.rates_rps)))
        return np.add.reduceat(np.array(self.rates_rps), starts) / lengths, per_step * self.step_s


def rate_range(load: Load, share: float = PLANNED_SHARE) -> RateRange:
    """The busy rate that `share` of all requests stay within, and the quiet one that it is that share of the time."""
    if not 0.5 <= share <= 1:
        raise InputError(Problem(what="not a share of the requests", found=f"{share:g}", allowed="50% to 100%"))
    rates = np.sort(load.minutes_rps()[0])
    requests = np.cumsum(rates)
    place = min(len(rates) - 1, int(np.searchsorted(requests, share * requests[-1] * (1 - 1e-12))))
    high_rps = float(rates[place])
    low_rps = float(np.quantile(rates, 1 - share, method="lower"))
    return RateRange(low_rps=min(low_rps, high_rps), high_rps=high_rps)


def steepest(load: Load, rise_s: int) -> Values:
    """Second by second the piece of the load that rises most within `rise_s`, and what comes after for a while."""
    rates, step_s = load.minutes_rps()
    ahead = min(len(rates) - 1, max(1, rise_s // step_s))
    begin = int(np.argmax(rates[ahead:] - rates[: len(rates) - ahead]))
    end = begin + 1 + ahead + math.ceil(_TOP * ahead)
    return np.repeat(rates[begin:end], step_s)


def rise(rates: RateRange, rise_s: int) -> Values:
    """Second by second a rise in a straight line from the quiet rate to the busy one, and a while there."""
    return np.concatenate(
        (np.linspace(rates.low_rps, rates.high_rps, rise_s), np.full(math.ceil(_TOP * rise_s), rates.high_rps))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Replicas that the load takes: over all its minutes, and the mean of each of six parts of the day."""

    least: int
    mean: float
    most: int
    parts: tuple[float, ...]
    by_day: bool  # parts are spans of four hours; otherwise sixths of the load


def course(load: Load, capacity_rps: float) -> Course:
    """How many replicas the load takes as it goes, at least one."""
    rates, step_s = load.minutes_rps()
    needed = np.maximum(1, np.ceil(rates / capacity_rps - 1e-9))
    by_day = load.duration_s >= _DAY_S
    at_s = load.start_s + np.arange(len(rates)) * step_s
    part = (at_s % _DAY_S) * _PARTS // _DAY_S if by_day else np.arange(len(rates)) * _PARTS // len(rates)
    parts = tuple(float(needed[part == each].mean()) for each in np.unique(part))
    return Course(
        least=int(needed.min()), mean=float(needed.mean()), most=int(needed.max()), parts=parts, by_day=by_day
    )
