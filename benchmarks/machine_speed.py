"""How fast the machine runs a loaded model, by batch size: beside the same look just after profiling, it tells drift from error.

Shared hosts change by a fifth within minutes, and not all batch sizes alike: a batch of one row waits for memory, a full
one for arithmetic. Short closed loops make batches of one row, of a few and full ones, and Triton's own times of these
executions are taken. Nothing of the run that is to be predicted is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kserve_ext.bench.codec import encode
from kserve_ext.bench.points import MOST_OVER_HTTP, mean_compute_s, run_without_failures
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import parse_target
from kserve_ext.domain import Profile, Protocol, StagePlan
from kserve_ext.hosting import Hosted
from kserve_ext.policy.replica import Replica
from kserve_ext.profile.points import in_service_ratios

LOOK_S = 0.7  # at each number in flight
SHARES_IN_FLIGHT = (0.0, 0.125, 0.5, 2.0)  # of a full batch on every instance; 0: a single request


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Time of an execution by batch size, and how many executions tell it."""

    seconds: Mapping[int, float]
    executions: Mapping[int, int]


def look(host: Hosted, profile: Profile, stages: Sequence[StagePlan]) -> Look:
    """The stage that takes longest, as it runs now; `stages` must be loaded."""
    longest = max(profile.stages, key=lambda stage: stage.points[0].server_compute_s)
    planned = next(stage for stage in stages if stage.model == longest.model)
    target = parse_target(host.url(Protocol.REST), model=host.model)
    requests = [encode(sample, target) for sample in read_samples(host.repository, host.model)]
    full = max(1, planned.max_batch_size) * planned.instances
    before = host.control.statistics(longest.model)
    for in_flight in sorted({min(max(1, round(share * full)), MOST_OVER_HTTP) for share in SHARES_IN_FLIGHT}):
        run_without_failures(target, requests, in_flight, LOOK_S)
    seen = host.control.statistics(longest.model) - before
    sizes = sorted(size for size, counted in seen.batches.items() if counted.executions)
    return Look(
        seconds={size: mean_compute_s(seen, size) for size in sizes},
        executions={size: seen.batches[size].executions for size in sizes},
    )


def slowness(profiled: Look, *now: Look) -> Mapping[int, float]:
    """Time of an execution over that just after profiling, by batch size, the mean of the looks."""
    ratios = [in_service_ratios(profiled.seconds, each.seconds, each.executions) for each in now]
    return {size: sum(each[size] for each in ratios) / len(ratios) for size in profiled.seconds}


def slowed(replica: Replica, factors: Mapping[int, float]) -> Replica:
    """The replica with every service time as many times as long as `factors` tells for its batch size."""
    sizes, times = list(factors), list(factors.values())
    return replace(
        replica, laws=tuple(law.slowed(np.interp(law.batches, sizes, times).tolist()) for law in replica.laws)
    )
