"""How fast the machine is now, beside the time its profile was measured: shared hosts change by a fifth within minutes.

A short closed loop keeps the loaded model's batches full; Triton's own times of these executions are compared with
the profile's. Nothing of the run that is to be predicted is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kserve_ext.bench.codec import encode
from kserve_ext.bench.points import mean_compute_s, run_without_failures
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import parse_target
from kserve_ext.domain import Profile, Protocol, StagePlan, StageProfile
from kserve_ext.hosting import Hosted
from kserve_ext.policy.replica import Replica

PROBE_S = 1.0


def slowness(host: Hosted, profile: Profile, stages: Sequence[StagePlan]) -> float:
    """Time of an execution now over that in the profile, of the stage that takes longest; `stages` must be loaded."""
    longest = max(profile.stages, key=lambda stage: stage.points[0].server_compute_s)
    planned = next(stage for stage in stages if stage.model == longest.model)
    target = parse_target(host.url(Protocol.REST), model=host.model)
    requests = [encode(sample, target) for sample in read_samples(host.repository, host.model)]
    before = host.control.statistics(longest.model)
    run_without_failures(target, requests, 2 * max(1, planned.max_batch_size) * planned.instances, PROBE_S)
    seen = host.control.statistics(longest.model) - before
    spent_s = {size: each.executions * mean_compute_s(seen, size) for size, each in seen.batches.items()}
    expected_s = sum(
        each.executions * _profiled_s(longest, size, planned.instances) for size, each in seen.batches.items()
    )
    return sum(spent_s.values()) / expected_s


def _profiled_s(stage: StageProfile, batch: int, instances: int) -> float:
    points = {p.batch: p.server_compute_s for p in stage.points if p.instances == instances and p.requests == p.batch}
    return float(np.interp(batch, list(points), list(points.values())))


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
