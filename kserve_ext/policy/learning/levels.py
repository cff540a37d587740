"""How many times as long as profiled executions and start-ups take. Evidence and profile in, levels out. Pure.

Each batch size is held against the profile's own points for it, in the server's own measure. What the profile leaves
open (how many instances were busy, whether one had been idle) makes a range, and within it nothing differs.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from kserve_ext.domain import Profile, ServicePoint, StageProfile
from kserve_ext.policy.learning.evidence import Batches, Evidence
from kserve_ext.policy.replicas import cold_start_s
from kserve_ext.policy.request import Settings

NEEDED_S, NEEDED_EXECUTIONS, NEEDED_STARTS = 600.0, 200.0, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Seen beside profiled, and their ratio: 1 within what was profiled. Seconds of one execution, or of a start-up."""

    times: float
    seen_s: float
    profiled_s: float


def level(stage: StageProfile, instances: int, evidence: Evidence) -> Level | None:
    """The level of one model; None while too little was seen."""
    batches = {
        rows: one for rows, one in evidence.batches.get(stage.model, {}).items() if rows <= max(1, stage.max_batch)
    }
    count, spent_s = (sum(getattr(one, name) for one in batches.values()) for name in ("count", "seconds"))
    if evidence.seconds < NEEDED_S or count < NEEDED_EXECUTIONS:
        return None
    least_s, most_s = _profiled_s(stage, 1, batches, idle=False), _profiled_s(stage, instances, batches, idle=True)
    near_s = min(max(spent_s, least_s), most_s)  # the end of the range that is nearest
    return Level(times=spent_s / near_s, seen_s=spent_s / count, profiled_s=near_s / count)


def start_up(profile: Profile, evidence: Evidence) -> Level | None:
    """The level of a start-up, by the median of the last ones; None while too few were seen."""
    if len(evidence.starts_s) < NEEDED_STARTS:
        return None
    seen_s = statistics.median(took for _, took in evidence.starts_s)
    profiled_s = cold_start_s((profile,), Settings())
    return Level(times=seen_s / profiled_s, seen_s=seen_s, profiled_s=profiled_s)


def _profiled_s(stage: StageProfile, instances: int, batches: Batches, *, idle: bool) -> float:
    """What the profile says that these executions take."""
    points = _points(stage, instances)
    known = [point.batch for point in points]
    times = [point.server_compute_s + (point.after_idle_extra_s if idle else 0.0) for point in points]
    return float(sum(one.count * np.interp(rows, known, times) for rows, one in batches.items()))


def _points(stage: StageProfile, instances: int) -> list[ServicePoint]:
    """One point for each batch size; requests that were merged go before a client's own batches."""
    measured = min(instances, max(point.instances for point in stage.points))
    chosen: dict[int, ServicePoint] = {}
    for point in stage.points:
        known = chosen.get(point.batch)
        if point.instances == measured and (known is None or point.requests > known.requests):
            chosen[point.batch] = point
    return [chosen[rows] for rows in sorted(chosen)]
