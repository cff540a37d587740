"""Sudden loads: how large, how often, and how many seconds from the first sign to the peak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kserve_ext.traffic.measures import DAY_S, Counts, Values, coarse
from kserve_ext.traffic.types import Spike, Spikes

_GRAIN_S = 10  # finer steps are joined to this
_BEFORE_S = 900  # the level before is the median of so long
_RISE_S = 900  # what is higher still in the next so long is a swing, not a spike
_STILL_RISING = 1.1
_NEAR = 0.9  # of the peak is the peak: which of its steps is the highest is chance
_LONGEST_S = 3600  # what is still up after so long is the new level
_FIRST_SIGN = (0.1, 2.0)  # above the level before: share of it, and standard deviations of Poisson
_SPIKE = (1.0, 5.0)
COARSEST_S = 300  # three steps in which to rise


def spikes(counts: Counts, step_s: int) -> Spikes:
    """All spikes of a trace. A spike lasts as long as the load stays above the level before it, at most an hour.

    What peaks below the mean of the trace is left out: so much is served most of the time. Steps of more than five
    minutes show no spikes.
    """
    grain_s = max(step_s, _GRAIN_S // step_s * step_s)
    found = tuple(_spikes(coarse(counts, step_s, grain_s), grain_s)) if grain_s <= COARSEST_S else ()
    sizes = [spike.size for spike in found] or [0.0]
    leads_s = [spike.peak_s - spike.start_s for spike in found] or [0]
    return Spikes(
        found=found, per_day=len(found) * DAY_S / (len(counts) * step_s), median_size=float(np.median(sizes)),
        largest_size=max(sizes), median_lead_s=float(np.median(leads_s)), shortest_lead_s=float(min(leads_s)),
        step_s=grain_s,
    )  # fmt: skip


def _spikes(values: Values, grain_s: int) -> Iterator[Spike]:
    before, rise, longest = (part_s // grain_s for part_s in (_BEFORE_S, _RISE_S, _LONGEST_S))
    mean = float(values.mean()) if len(values) else 0.0
    place = before
    while place < len(values):
        base = float(np.median(values[place - before : place]))
        if values[place] <= _above(base, _FIRST_SIGN):
            place += 1
            continue
        run = values[place : place + longest]
        below = np.flatnonzero(run <= _above(base, _FIRST_SIGN))
        run = run[: below[0]] if len(below) else run
        top, later = float(run[:rise].max()), run[rise : 2 * rise]
        if top >= max(mean, _above(base, _SPIKE)) and later.max(initial=0.0) <= _STILL_RISING * top:
            peak = int(np.argmax(run >= _NEAR * top))
            yield Spike(start_s=place * grain_s, peak_s=(place + peak) * grain_s, peak_rps=top / grain_s,
                        size=top / max(base, 1.0))  # fmt: skip
        place += len(run)


def _above(base: float, by: Sequence[float]) -> float:
    share, deviations = by
    return base + max(share * base, deviations * float(np.sqrt(max(base, 1.0))))
