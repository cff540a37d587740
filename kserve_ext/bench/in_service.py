"""How long executions take in service, beside how long they take in a closed loop: by batch size, and as a whole.

A closed loop holds one batch size for a second or two; in service batches of all sizes form by themselves, beside the
front end and the load. Under Poisson arrivals at loads at which small, middling and large batches form, Triton's counters
tell the time of each size, and the latencies tell what an execution takes an instance beside that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from kserve_ext.bench.arrivals import Times, poisson
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import run_open_loop
from kserve_ext.bench.message import Request
from kserve_ext.bench.points import MOST_OVER_HTTP, Bench, mean_compute_s
from kserve_ext.domain import ServicePoint
from kserve_ext.profile.points import in_service_ratios
from kserve_ext.simulate.level import PROBABILITIES, Served

LOADS = (0.30, 0.60, 0.85)  # of saturation
SECONDS = 3.5  # at each load
_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """One open loop: its rate, Triton's time of executions by batch size, and what requests took inside the server."""

    rate_rps: float
    compute_s: dict[int, float]
    executions: dict[int, int]
    quantiles_s: tuple[float, ...]  # at PROBABILITIES

    def served(self) -> Served:
        """The run as the simulator takes it."""
        rows = sum(size * count for size, count in self.executions.items())
        mean_batch = rows / max(sum(self.executions.values()), 1)
        return Served(arrivals_s=_arrivals(self.rate_rps), quantiles_s=self.quantiles_s, mean_batch=mean_batch)


def observe(bench: Bench, points: Sequence[ServicePoint]) -> tuple[SeenRun, ...]:
    """A run at each of LOADS; `points` are client batches of one instance count.

    The model must be loaded with the dynamic batcher on, no delay, and that many instances.
    """
    largest = max(point.instances * point.batch / point.mean_s for point in points)
    requests = [encode(sample, bench.target) for sample in bench.samples]
    return tuple(bench.quiet.least_disturbed(partial(_run, bench, requests, load * largest)) for load in LOADS)


def _arrivals(rate_rps: float) -> Times:
    return poisson(rate_rps, SECONDS, _SEED)


def _run(bench: Bench, requests: Sequence[Request], rate_rps: float) -> SeenRun:
    """Latencies inside the server are those of the client less what these are longer than Triton's own, on average."""
    before = bench.control.statistics(bench.target.model)
    result = run_open_loop(bench.target, requests, _arrivals(rate_rps), connections=MOST_OVER_HTTP)
    seen = bench.control.statistics(bench.target.model) - before
    latency_s = (result.done_s - result.due_s)[result.ok]
    outside_s = float(latency_s.mean()) - seen.request_s / max(seen.request_count, 1)
    inside_s = np.quantile(latency_s, PROBABILITIES) - outside_s
    return SeenRun(
        rate_rps=rate_rps,
        compute_s={size: mean_compute_s(seen, size) for size in seen.batches},
        executions={size: counted.executions for size, counted in seen.batches.items()},
        quantiles_s=tuple(np.maximum(inside_s, 0.0).tolist()),
    )


def ratios(points: Sequence[ServicePoint], runs: Sequence[SeenRun]) -> dict[int, float]:
    """Triton's time of an execution in service over that in a closed loop, for the batch sizes of `points`.

    Single rows can only tell that one takes less: many of them end an idle time, and how much longer those take is
    measured apart. Several rows only come together while an instance is busy.
    """
    closed_loop = {point.batch: point.server_compute_s for point in points}
    executions: dict[int, int] = {}
    spent_s: dict[int, float] = {}
    for run in runs:
        for size, count in run.executions.items():
            executions[size] = executions.get(size, 0) + count
            spent_s[size] = spent_s.get(size, 0.0) + count * run.compute_s[size]
    in_service = {size: spent_s[size] / count for size, count in executions.items() if count}
    if in_service.get(1, 0.0) > closed_loop.get(1, 0.0):
        del in_service[1]
    return in_service_ratios(closed_loop, in_service, executions)
