"""How fast the machine runs a loaded model: beside the same look just after profiling, it tells drift from error.

Shared hosts change by a fifth within minutes. A short closed loop keeps the model's batches full, and Triton's own times
of these executions are taken. Nothing of the run that is to be predicted is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kserve_ext.bench.codec import encode
from kserve_ext.bench.points import mean_compute_s, run_without_failures
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import parse_target
from kserve_ext.domain import Profile, Protocol, StagePlan
from kserve_ext.hosting import Hosted
from kserve_ext.policy.replica import Replica

PROBE_S = 1.5


def row_s(host: Hosted, profile: Profile, stages: Sequence[StagePlan]) -> float:
    """Time of a row when batches are full, in the stage that takes longest; `stages` must be loaded."""
    longest = max(profile.stages, key=lambda stage: stage.points[0].server_compute_s)
    planned = next(stage for stage in stages if stage.model == longest.model)
    target = parse_target(host.url(Protocol.REST), model=host.model)
    requests = [encode(sample, target) for sample in read_samples(host.repository, host.model)]
    before = host.control.statistics(longest.model)
    run_without_failures(target, requests, 2 * max(1, planned.max_batch_size) * planned.instances, PROBE_S)
    seen = host.control.statistics(longest.model) - before
    spent_s = sum(counted.executions * mean_compute_s(seen, size) for size, counted in seen.batches.items())
    return spent_s / seen.inference_count


def slowed(replica: Replica, factor: float) -> Replica:
    """The replica with every service time `factor` times as long."""
    laws = tuple(
        replace(
            law,
            values_s=tuple(
                tuple(tuple(factor * value for value in levels) for levels in of_count) for of_count in law.values_s
            ),
        )
        for law in replica.laws
    )
    return replace(replica, laws=laws)
