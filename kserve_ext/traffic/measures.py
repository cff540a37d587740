"""Level, trend, swing and idle time of a series of counts."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kserve_ext.traffic.types import Idle, Level, Swing, Trend

Counts = NDArray[np.int64]
Values = NDArray[np.float64]

DAY_S = 86_400
_LEAST_DAYS = 3
_PARTS = 12
_SMOOTH_S = 60
_RARE = 0.01  # of the time


def coarse(counts: Counts, step_s: int, scale_s: int) -> Values:
    """Counts in steps of `scale_s`, a multiple of `step_s`; what is left over at the end is dropped."""
    width = scale_s // step_s
    whole = len(counts) // width
    summed: Values = counts[: whole * width].reshape(whole, width).sum(axis=1).astype(np.float64)
    return summed


def level(counts: Counts, step_s: int) -> Level:
    """Mean and quantiles of the rate."""
    rates = counts / step_s
    p50, p95, p99 = np.quantile(rates, (0.5, 0.95, 0.99)).tolist()
    return Level(
        mean_rps=float(rates.mean()), p50_rps=p50, p95_rps=p95, p99_rps=p99, max_rps=float(rates.max())
    )  # fmt: skip


def trend(counts: Counts, step_s: int) -> Trend:
    """Least squares through sums of whole days, so that night and day are not taken for a trend."""
    duration_s = len(counts) * step_s
    by_days = duration_s >= _LEAST_DAYS * DAY_S and DAY_S % step_s == 0
    part_s = DAY_S if by_days else max(1, len(counts) // _PARTS) * step_s
    parts = coarse(counts, step_s, part_s)
    over_s = (len(parts) - 1) * part_s
    if len(parts) < 3 or np.ptp(parts) == 0:
        return Trend(change=0.0, error=0.0, over_s=over_s, significant=False)
    places = np.linspace(-0.5, 0.5, len(parts))
    spread = float((places**2).sum())
    change = float((places * parts).sum()) / spread
    left = parts - parts.mean() - change * places
    error = math.sqrt(float((left**2).sum()) / (len(parts) - 2) / spread)
    mean = float(parts.mean())
    return Trend(change=change / mean, error=error / mean, over_s=over_s,
                 significant=abs(change) > _t95(len(parts) - 2) * error)  # fmt: skip


def _t95(freedom: int) -> float:
    """97.5 % quantile of Student's t, by Cornish and Fisher to the fourth order; exact for 1 and 2, where that fails."""
    if freedom <= 2:
        return (12.706, 4.303)[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    return (
        z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )  # fmt: skip


def swing(counts: Counts, step_s: int, start_up_s: float) -> Swing:
    """The peak, and the growth within a start-up, each beside what Poisson arrivals at the mean rate would show."""
    width = min(max(1, _SMOOTH_S // step_s), len(counts))
    smooth = np.convolve(counts, np.full(width, 1.0 / width), mode="valid")
    ahead = math.ceil(start_up_s / step_s)
    mean = float(counts.mean())
    rise = 0.0
    if len(smooth) > ahead and mean > 0:
        rise = max(0.0, float(np.quantile(smooth[ahead:] - smooth[:-ahead], 1 - _RARE)) / mean)
    shared = max(0, width - ahead)  # steps that both means have in common
    noise = math.sqrt(2 * (width - shared) / mean) / width if mean > 0 else 0.0
    return Swing(
        smooth_s=width * step_s, peak=float(smooth.max()) / mean if mean > 0 else 0.0,
        peak_by_chance=_chance_peak(mean * width, len(counts) // width), ahead_s=ahead * step_s, rise=rise,
        rise_by_chance=NormalDist().inv_cdf(1 - _RARE) * noise,
    )  # fmt: skip


def _chance_peak(mean: float, steps: int) -> float:
    """What the largest of so many Poisson counts stays below in 95 of 100 cases, over their mean."""
    if mean <= 0:
        return 0.0
    z = NormalDist().inv_cdf(1 - 0.05 / max(1, steps))
    return 1 + z / math.sqrt(mean) + (z * z - 1) / (6 * mean)  # with the skewness of Poisson


def idle(counts: Counts, step_s: int, start_up_s: float, kept_s: float) -> Idle:
    """Spells without requests; where one is longer than a replica is kept, the next requests wait for another."""
    busy = np.flatnonzero(counts)
    edges = np.concatenate(([-1], busy, [len(counts)]))
    lengths_s = (np.diff(edges) - 1) * float(step_s)
    long = lengths_s > kept_s
    duration_s = len(counts) * step_s
    awake_s = edges[1:][long & (edges[1:] < len(counts))] * float(step_s)
    arrived = np.concatenate(([0.0], np.cumsum(counts, dtype=np.float64)))
    times_s = np.arange(len(arrived)) * float(step_s)
    waiting = np.interp(awake_s + start_up_s, times_s, arrived) - np.interp(awake_s, times_s, arrived)
    return Idle(
        share=float(np.mean(counts == 0)), longest_s=int(lengths_s.max()), kept_s=kept_s, spells=int(long.sum()),
        spared=float((lengths_s[long] - kept_s).sum()) / duration_s,
        late=float(np.maximum(waiting, 1.0).sum()) / float(arrived[-1]) if len(busy) else 0.0,
    )  # fmt: skip
