"""Whether a plan, also one from a user's own policy, is one that can be rendered and explained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields

from kserve_ext.domain import HorizontalScaling, Plan, Resources, Scaling, StagePlan
from kserve_ext.errors import PolicyError, Problem

_STAGE_FIELDS = tuple(field.name for field in fields(StagePlan) if field.name != "model")
_PLAN_FIELDS = ("hardware", "concurrency_limit", "timeout_s", "capacity_rps", "replicas_at_high_rate")
_OPTIONAL = ("resources.accelerators",)  # nothing to explain on CPU


def decided_fields(plan: Plan) -> tuple[str, ...]:
    """Paths of all fields that a plan decides, each of which must have a reason."""
    return (
        *(f"{path}.{name}" for path, _ in _stages(plan) for name in _STAGE_FIELDS),
        *(f"neighbours[{index}].capacity_rps" for index in range(len(plan.neighbours))),
        *_scaling_fields(plan),
        *(f"resources.{field.name}" for field in fields(Resources)),
        *_PLAN_FIELDS,
    )


def _scaling_fields(plan: Plan) -> Iterator[str]:
    if plan.horizontal is None:
        yield from (f"scaling.{field.name}" for field in fields(Scaling))
    else:
        yield from ("scaling.min_replicas", "scaling.max_replicas")
        yield from (f"horizontal.{field.name}" for field in fields(HorizontalScaling))
    if plan.placeholders is not None:
        yield "placeholders"


def _stages(plan: Plan) -> Iterator[tuple[str, StagePlan]]:
    """Every stage with its path."""
    yield from ((f"stages[{index}]", stage) for index, stage in enumerate(plan.stages))
    for place, neighbour in enumerate(plan.neighbours):
        yield from ((f"neighbours[{place}].stages[{index}]", stage) for index, stage in enumerate(neighbour.stages))


def check(plan: object, policy: str) -> Plan:
    """The plan itself. Raises PolicyError with everything that is wrong with it."""
    if not isinstance(plan, Plan):
        raise PolicyError(
            Problem(
                field=policy, what="the policy did not answer with a plan", found=type(plan).__name__, allowed="Plan"
            )
        )
    problems = tuple(_problems(plan, policy))
    if problems:
        raise PolicyError(*problems)
    return plan


def _problems(plan: Plan, policy: str) -> Iterator[Problem]:
    scaler = plan.scaling
    for name, value, low, high in (
        ("concurrency_limit", plan.concurrency_limit, 0, 1000),
        ("scaling.min_replicas", scaler.min_replicas, 0, scaler.max_replicas),
        ("scaling.max_replicas", scaler.max_replicas, 1, math.inf),
        ("scaling.target", scaler.target, 0.01, math.inf),
        ("scaling.target_utilization_percent", scaler.target_utilization_percent, 1, 100),
        ("scaling.panic_threshold_percent", scaler.panic_threshold_percent, 110, 1000),
        ("scaling.panic_window_percent", scaler.panic_window_percent, 1, 100),
        ("scaling.window_s", scaler.window_s, 6, 3600),
        ("scaling.scale_down_delay_s", scaler.scale_down_delay_s, 0, 3600),
        ("scaling.target_burst_capacity", scaler.target_burst_capacity, -1, math.inf),
        ("scaling.activation_scale", scaler.activation_scale, 1, max(1, scaler.max_replicas)),
        ("scaling.scale_to_zero_retention_s", scaler.scale_to_zero_retention_s, 0, 3600),
        ("timeout_s", plan.timeout_s, 1, math.inf),
        ("resources.cpu_cores", plan.resources.cpu_cores, 0.001, math.inf),
    ):
        if not low <= value <= high:
            yield Problem(
                field=f"{policy}: {name}", what="out of range", found=f"{value:g}", allowed=f"{low:g} to {high:g}"
            )
    for path, stage in _stages(plan):
        if stage.instances < 1 or stage.max_batch_size < 0 or stage.max_queue_delay_s < 0:
            yield Problem(field=f"{policy}: {path}", what="out of range", found=str(stage))
    explained = {reason.field for reason in plan.reasons}
    for path in decided_fields(plan):
        if path not in explained and path not in _OPTIONAL:
            yield Problem(
                field=f"{policy}: {path}", what="has no reason", allowed="a Reason for every field of the plan"
            )
