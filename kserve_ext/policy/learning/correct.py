"""The correction that the evidence asks for, within bounds, and the profile with it. Pure.

A correction rests until reality is noticeably elsewhere: the same evidence twice gives the same correction. It corrects
what was measured, never what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kserve_ext.domain import Profile, Quantiles, ServicePoint, StagePlan, StageProfile
from kserve_ext.policy.learning.evidence import Evidence
from kserve_ext.policy.learning.levels import Level, level, start_up
from kserve_ext.policy.learning.types import (
    LEAST,
    LEAST_START_UP,
    MOST,
    MOST_START_UP,
    NOTICED,
    STEP,
    Correction,
)
from kserve_ext.policy.replicas import cold_start_s
from kserve_ext.policy.request import Settings


def correct(now: Correction, profile: Profile, stages: Sequence[StagePlan], evidence: Evidence) -> Correction:
    """The correction of a profile, from the one that holds now."""
    instances = {stage.model: stage.instances for stage in stages}
    held = now.hardware in ("", profile.hardware)
    levels = {
        stage.model: _moved(
            now.level_of(stage.model) if held else 1.0,
            level(stage, instances.get(stage.model, 1), evidence), LEAST, MOST,
        )
        for stage in profile.stages
    }  # fmt: skip
    began = _moved(now.start_up if held else 1.0, start_up(profile, evidence), LEAST_START_UP, MOST_START_UP)
    return Correction.of(profile.hardware, levels, began)


def corrected(profile: Profile, correction: Correction) -> Profile:
    """The profile with a correction; as it is where that is of other hardware."""
    if correction.hardware != profile.hardware:
        return profile
    whole_s = cold_start_s((profile,), Settings())
    return replace(
        profile,
        stages=tuple(_stage(stage, correction.level_of(stage.model)) for stage in profile.stages),
        load_s=max(0.0, profile.load_s + (correction.start_up - 1.0) * whole_s),
    )


def _moved(now: float, found: Level | None, least: float, most: float) -> float:
    """The level to hold: that of now while reality is near it."""
    if found is None or abs(found.times / now - 1.0) <= NOTICED:
        return now
    return round(min(most, max(least, round(found.times / STEP) * STEP)), 6)


def _stage(stage: StageProfile, times: float) -> StageProfile:
    return replace(stage, points=tuple(_point(point, times) for point in stage.points)) if times != 1.0 else stage


def _point(point: ServicePoint, times: float) -> ServicePoint:
    quantiles_s = Quantiles(
        probabilities=point.quantiles_s.probabilities,
        values=tuple(times * value for value in point.quantiles_s.values),
    )
    return replace(
        point, mean_s=times * point.mean_s, quantiles_s=quantiles_s, server_compute_s=times * point.server_compute_s,
        after_idle_extra_s=times * point.after_idle_extra_s,
    )  # fmt: skip
