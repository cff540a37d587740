"""Measured and predicted figures as the cells of a table for people."""

from __future__ import annotations

from kserve_ext.domain import Measurement, Prediction
from kserve_ext.units import format_duration

COLUMNS = ("", "throughput", "p50", "p95", "p99", "mean batch")


def figures(seen: Measurement | Prediction) -> tuple[str, ...]:
    """The cells of one row, in the order of COLUMNS without the first."""
    batch = f"{seen.mean_batch:.2f}" if seen.mean_batch else "-"
    times = (format_duration(seconds) for seconds in (seen.p50_s, seen.p95_s, seen.p99_s))
    return (f"{seen.throughput_rps:.1f} rps", *times, batch)
