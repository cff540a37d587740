"""Latencies in open loop at three quarters of what the server can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.serving.drive import CONCURRENCY
from benchmarks.serving.running import Serving
from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.loop import run_closed_loop, run_open_loop
from kserve_ext.bench.measure import latencies_s

SHARE = 0.75
_CAPACITY_S = 5.0
_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What was offered, and how long it took."""

    capacity_rps: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]


def tail(serving: Serving, *, seed: int, way: str = "rest_binary") -> Tail:
    """Capacity in closed loop first, then Poisson arrivals at SHARE of it."""
    asked = serving.ways[way]
    closed = run_closed_loop(asked.target, asked.requests, CONCURRENCY, _CAPACITY_S, 1.0)
    capacity_rps = float(closed.ok.sum()) / closed.elapsed_s
    seen = run_open_loop(asked.target, asked.requests, poisson(SHARE * capacity_rps, _SECONDS, seed))
    p50_s, p99_s = np.quantile(latencies_s(seen), (0.5, 0.99))
    return Tail(
        capacity_rps=capacity_rps, p50_ms=float(p50_s) * 1e3, p99_ms=float(p99_s) * 1e3, errors=dict(seen.errors)
    )
