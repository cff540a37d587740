"""One measurement: requests in closed loop, and the CPU the server's processes used for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.serving.running import Serving
from kserve_ext.bench.loop import run_closed_loop
from kserve_ext.bench.measure import latencies_s

CONCURRENCY = 32
WARM_UP_S = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A server, asked one way, in one round."""

    cpu_ms: float  # of all its processes, for one request
    rps: float
    p50_ms: float
    p99_ms: float
    generator_cores: float


def drive(serving: Serving, way: str, seconds: float, concurrency: int = CONCURRENCY) -> Point:
    """Raises UnreachableError where the server does nothing but fail."""
    asked = serving.ways[way]
    run_closed_loop(asked.target, asked.requests, concurrency, WARM_UP_S)
    before_s = serving.cpu_s()
    result = run_closed_loop(asked.target, asked.requests, concurrency, seconds)
    cpu_s = serving.cpu_s() - before_s
    good = int(result.ok.sum())
    if good < result.ok.size:
        raise RuntimeError(f"{serving.name} over {way}: {dict(result.errors)} of {result.ok.size} requests")
    p50_s, p99_s = np.quantile(latencies_s(result), (0.5, 0.99))
    return Point(
        cpu_ms=cpu_s / good * 1e3,
        rps=good / result.elapsed_s,
        p50_ms=float(p50_s) * 1e3,
        p99_ms=float(p99_s) * 1e3,
        generator_cores=result.cpu_s / result.elapsed_s,
    )
