"""What is known about a bin when it ends, as numbers a regression can weigh: level, rhythm, the same time of earlier days.

Running totals in, one row per bin asked for out. Columns come in blocks: `recent`, then `daily`, then `weekly`, so
that a model of fewer blocks takes a prefix. A row uses nothing after its own bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.policy.forecast.history import DAY_S

Values = NDArray[np.float64]
Indices = NDArray[np.intp]

_LAGS = 5
_MEANS = (5, 15, 30, 60)  # bins
LEVEL_BINS = 30  # what is now, as against the same time of other days
_RHYTHMS_S = (60, 300, 3600)  # cron's minute, five minutes, hour
_BEATS = 6  # how many of them are averaged
_DAYS = 7
_WEEKS = 2
_NEAR, _WIDE = 3, 15  # bins either side of the same time of another day


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is forecast: the most requests in one bin among those `first` to `last` bins ahead."""

    bin_s: int
    first: int
    last: int

    @property
    def day(self) -> int:
        """Bins in a day."""
        return DAY_S // self.bin_s

    @property
    def middle(self) -> int:
        return (self.first + self.last) // 2

    @property
    def rhythms(self) -> tuple[int, ...]:
        """Periods shorter than a day, in bins, that are long enough to show."""
        return tuple(period // self.bin_s for period in _RHYTHMS_S if period >= 5 * self.bin_s)

    @property
    def blocks(self) -> tuple[int, int, int]:
        """Columns up to and with `recent`, `daily` and `weekly`."""
        recent = _LAGS + len(_MEANS) + len(self.rhythms)
        return recent, recent + 6, recent + 8


def targets(totals: NDArray[np.int64], at: Indices, shape: Shape) -> Values:
    """The most requests in one bin, `first` to `last` bins after each bin of `at`."""
    most = _bin(totals, at + shape.first)
    for ahead in range(shape.first + 1, shape.last + 1):
        most = np.maximum(most, _bin(totals, at + ahead))
    return most


def levels(totals: NDArray[np.int64], at: Indices) -> Values:
    """Mean of the last half hour of bins, at least 1: what rows and targets are measured in."""
    return np.maximum(_mean(totals, at, LEVEL_BINS), 1.0)


def plain(totals: NDArray[np.int64], at: Indices, shape: Shape) -> Values:
    """Two forecasts that need no fit: the level stays, and it goes on as it went for half an hour of bins, or a window.

    A level that rises is at its highest at the window's end, one that falls at its beginning.
    """
    span = np.clip(at, 1, max(shape.last, LEVEL_BINS))
    level = _mean(totals, at, _MEANS[0])
    slope = (level - _mean(totals, np.maximum(at - span, 0), _MEANS[0])) / span
    return np.column_stack((level, level + np.where(slope > 0, shape.last, shape.first) * slope))


def rows(totals: NDArray[np.int64], at: Indices, shape: Shape, columns: int) -> Values:
    """One row of `columns` features for each bin of `at`, in requests per bin."""
    recent, daily, _ = shape.blocks
    found = [_bin(totals, np.maximum(at - lag, 0)) for lag in range(_LAGS)]
    found += [_mean(totals, at, width) for width in _MEANS]
    found += [_rhythm(totals, at, shape, period) for period in shape.rhythms]
    if columns > recent:
        found += _daily(totals, at, shape)
    if columns > daily:
        found += _weekly(totals, at, shape, instead=(found[recent + 1], found[recent + 2]))
    return np.column_stack(found)


def _daily(totals: NDArray[np.int64], at: Indices, shape: Shape) -> list[Values]:
    near = _earlier(totals, at + shape.middle, shape.day, _DAYS, _NEAR)
    now = _earlier(totals, at, shape.day, _DAYS, _NEAR)
    exact = _earlier(totals, at + shape.middle, shape.day, _DAYS, 0)
    wide = _earlier(totals, at + shape.middle, shape.day, _DAYS, _WIDE)
    half_hour = _ratio(totals, at, shape.day, _DAYS, LEVEL_BINS)
    hour = _ratio(totals, at, shape.day, _DAYS, 2 * LEVEL_BINS)
    peak = _earlier_peak(totals, at, shape)
    return [near, near * half_hour, near - now, (exact - near) * half_hour, wide * hour, peak * half_hour]


def _weekly(totals: NDArray[np.int64], at: Indices, shape: Shape, instead: tuple[Values, Values]) -> list[Values]:
    """As the day's, from the same weekday; the day's own in the first week, which has none."""
    week = 7 * shape.day
    near = _earlier(totals, at + shape.middle, week, _WEEKS, _NEAR)
    now = _earlier(totals, at, week, _WEEKS, _NEAR)
    found = (near * _ratio(totals, at, week, _WEEKS, LEVEL_BINS), near - now)
    return [np.where(at >= week + LEVEL_BINS, *pair) for pair in zip(found, instead, strict=True)]


def _bin(totals: NDArray[np.int64], at: Indices) -> Values:
    counted: Values = (totals[at + 1] - totals[at]).astype(np.float64)
    return counted


def _mean(totals: NDArray[np.int64], at: Indices, width: int) -> Values:
    """Mean of the last `width` bins, or of those there are."""
    begin = np.maximum(at + 1 - width, 0)
    mean: Values = (totals[at + 1] - totals[begin]) / (at + 1 - begin)
    return mean


def _rhythm(totals: NDArray[np.int64], at: Indices, shape: Shape, period: int) -> Values:
    """Mean of the last bins at the same place in the period as the middle of what is forecast."""
    first = at + shape.middle - period * -(-shape.middle // period)
    places = first[:, None] - period * np.arange(_BEATS)
    there = places >= 0
    found = np.where(there, _bin(totals, np.maximum(places, 0)), 0.0).sum(axis=1)
    beats = there.sum(axis=1)
    return np.where(beats > 0, found / np.maximum(beats, 1), _mean(totals, at, LEVEL_BINS))


def _earlier(totals: NDArray[np.int64], at: Indices, period: int, most: int, half: int) -> Values:
    """Mean of the bins within `half` of the same place one, two … periods earlier; 0 where there is none."""
    places = at[:, None] - period * np.arange(1, most + 1)
    return _windows(totals, places - half, places + half + 1)


def _ratio(totals: NDArray[np.int64], at: Indices, period: int, most: int, width: int) -> Values:
    """The level now over the level at the same time earlier, at most 3."""
    ends = at[:, None] + 1 - period * np.arange(1, most + 1)
    before = _windows(totals, ends - width, ends)
    ratio: Values = np.minimum(_mean(totals, at, width) / np.maximum(before, 1.0), 3.0)
    return ratio


def _earlier_peak(totals: NDArray[np.int64], at: Indices, shape: Shape) -> Values:
    """Mean over earlier days of what was the target at the same time."""
    places = at[:, None] - shape.day * np.arange(1, _DAYS + 1)
    there = places >= 0
    days = there.sum(axis=1)
    found = np.where(there, targets(totals, np.maximum(places, 0), shape), 0.0).sum(axis=1)
    return np.where(days > 0, found / np.maximum(days, 1), 0.0)


def _windows(totals: NDArray[np.int64], begin: NDArray[np.intp], end: NDArray[np.intp]) -> Values:
    """Mean per bin over the windows of each row that lie within the history; 0 where none does."""
    there = begin >= 0
    sums = np.where(there, totals[np.maximum(end, 0)] - totals[np.maximum(begin, 0)], 0).sum(axis=1)
    bins = (there * (end - begin)).sum(axis=1)
    mean: Values = np.where(bins > 0, sums / np.maximum(bins, 1), 0.0)
    return mean
