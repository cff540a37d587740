"""Requests counted so far, in equal bins, as running totals: bounded memory, and any sum is one subtraction.

Counts of any step in, whole bins out. Bins start at whole multiples of their length, so that minute 540 of a day is
the same bin every day. A gap is filled with the level before it; a gap of a day or more starts the history anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400
_LEVEL_BINS = 5  # the level before a gap
_SAME_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """`totals[i]` requests came before the i-th bin; the last entry is the total of all whole bins."""

    bin_s: int
    keep_bins: int
    first_s: int = 0  # start of the first bin
    end_s: float | None = None  # counted up to here; None: nothing yet
    counted: float = 0.0  # requests counted up to `end_s`, the bin under way included
    totals: NDArray[np.int64]

    @property
    def bins(self) -> int:
        """Whole bins kept."""
        return max(0, len(self.totals) - 1)

    @property
    def last_s(self) -> int:
        """End of the last whole bin."""
        return self.first_s + self.bins * self.bin_s

    def last(self, count: int) -> NDArray[np.int64]:
        """Requests in each of the last `count` bins, or fewer where there are no more."""
        return np.diff(self.totals[-count - 1 :])


def empty(bin_s: int, keep_bins: int) -> History:
    """A history without a bin."""
    return History(bin_s=bin_s, keep_bins=keep_bins, totals=np.zeros(0, dtype=np.int64))


def append(history: History, start_s: float, counts: Sequence[int], step_s: float) -> tuple[History, int]:
    """The history with `counts`, one for each step from `start_s` on, and how many bins became whole by it.

    Raises ValueError when a count is negative or the counts begin before the end of what is known.
    """
    if not len(counts):
        return history, 0
    if min(counts) < 0:
        raise ValueError(f"counts must not be negative: {min(counts)}")
    if history.end_s is None:
        return _add(_begin(history, start_s), start_s, counts, step_s)
    if start_s < history.end_s - _SAME_S:
        raise ValueError(f"counts from {start_s:g} s on, but all up to {history.end_s:g} s is known already")
    filled, missing = _fill(history, history.end_s, start_s) if start_s > history.end_s + _SAME_S else (history, 0)
    grown, bins = _add(filled, start_s, counts, step_s)
    return grown, missing + bins


def _begin(history: History, start_s: float) -> History:
    """A history that starts with the first bin to begin at or after `start_s`; what comes before it is not counted."""
    first_s = math.ceil(start_s / history.bin_s) * history.bin_s
    none = np.zeros(0, dtype=np.int64)
    return replace(history, first_s=first_s, end_s=start_s, counted=0.0, totals=none)


def _fill(history: History, end_s: float, until_s: float) -> tuple[History, int]:
    recent = history.last(_LEVEL_BINS)
    level = float(recent.mean()) if len(recent) else 0.0
    return _add(history, end_s, (round(level * (until_s - end_s) / history.bin_s),), until_s - end_s)


def _add(history: History, start_s: float, counts: Sequence[int], step_s: float) -> tuple[History, int]:
    end_s, counted = start_s + len(counts) * step_s, history.counted + sum(counts)
    edge_s = history.last_s + (history.bin_s if len(history.totals) else 0)
    if end_s < edge_s:
        return replace(history, end_s=end_s, counted=counted), 0
    edges = np.arange(edge_s, end_s + 1e-6, history.bin_s)
    known = history.counted + np.concatenate(([0.0], np.cumsum(np.asarray(counts, dtype=np.float64))))
    times = start_s + step_s * np.arange(len(counts) + 1)
    at_edges = np.floor(np.interp(edges, times, known) + 1e-6).astype(np.int64)
    totals = np.concatenate((history.totals, at_edges))
    grown = len(edges) - (0 if len(history.totals) else 1)
    spare = max(0, len(totals) - 1 - history.keep_bins)
    first_s = history.first_s + spare * history.bin_s
    return replace(history, end_s=end_s, counted=counted, first_s=first_s, totals=totals[spare:].copy()), grown
