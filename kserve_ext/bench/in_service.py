"""How long executions take in service, beside how long they take in a closed loop: a correction by batch size.

A closed loop holds one batch size for a second or two; in service batches of all sizes form by themselves, beside the
front end and the load. Triton's counters tell the time of each size that formed, under Poisson arrivals at loads at
which an instance is seldom idle; the ratio to the closed loop's times corrects the points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import run_open_loop
from kserve_ext.bench.points import MOST_OVER_HTTP, Bench, mean_compute_s
from kserve_ext.domain import ServicePoint
from kserve_ext.profile.points import in_service_ratios

LOADS = (0.60, 0.85)  # of saturation
SECONDS = 4.0  # at each load
_SEED = 7


def measure_ratios(bench: Bench, points: Sequence[ServicePoint]) -> Mapping[int, float]:
    """Time in service over time in a closed loop, for the batch sizes of `points`, which are of one instance count.

    The model must be loaded with the dynamic batcher on, no delay, and that many instances.
    """
    largest = max(point.instances * point.batch / point.mean_s for point in points)
    requests = [encode(sample, bench.target) for sample in bench.samples]
    executions: dict[int, int] = {}
    spent_s: dict[int, float] = {}
    for load in LOADS:
        due_s = poisson(load * largest, SECONDS, _SEED)
        before = bench.control.statistics(bench.target.model)
        bench.quiet.least_disturbed(partial(run_open_loop, bench.target, requests, due_s, connections=MOST_OVER_HTTP))
        seen = bench.control.statistics(bench.target.model) - before
        for size, counted in seen.batches.items():
            executions[size] = executions.get(size, 0) + counted.executions
            spent_s[size] = spent_s.get(size, 0.0) + counted.executions * mean_compute_s(seen, size)
    closed_loop = {point.batch: point.server_compute_s for point in points}
    in_service = {size: spent_s[size] / count for size, count in executions.items() if count}
    return in_service_ratios(closed_loop, in_service, executions)
