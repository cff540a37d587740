"""The rate of arrivals over the last seconds, as a query like `rate(...[1m])` gives it."""

from __future__ import annotations

from collections.abc import Sequence

from kserve_ext.simulate.scaler import Second

Counts = tuple[int, ...]  # arrivals in each of the last seconds, oldest first


def with_seconds(counts: Counts, seconds: Sequence[Second], window_s: int) -> Counts:
    """The counts of the last `window_s` seconds."""
    return (*counts, *(second.arrivals for second in seconds))[-window_s:]


def rate_rps(counts: Counts) -> float:
    """Mean over the seconds there are; 0 without any."""
    return sum(counts) / len(counts) if counts else 0.0
