"""What the user set by hand that works against the SLO: kept in the plan, and said with the number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kserve_ext.domain import HorizontalScaling, Intent, Plan, Reason
from kserve_ext.policy.replica import Replica, predict
from kserve_ext.policy.request import Settings
from kserve_ext.policy.scaling import PLANNED_METRICS
from kserve_ext.units import format_duration


def with_warnings(plan: Plan, intent: Intent, replica: Replica | None, wanted_minimum: int, settings: Settings) -> Plan:
    """The plan with a warning for every pinned value that contradicts the SLO or another value.

    Without a replica what a pinned concurrency limit does to the latency is not looked at.
    """
    found = (
        *_concurrency(plan, intent, replica, settings),
        *_replicas(plan, intent, wanted_minimum),
        *(_target(plan, intent) if plan.horizontal is None else _horizontal(plan, plan.horizontal)),
        *_timeout(plan, intent),
    )
    return replace(plan, warnings=found)


def _concurrency(plan: Plan, intent: Intent, replica: Replica | None, settings: Settings) -> Iterator[Reason]:
    pinned = intent.pins.container_concurrency
    if pinned is None:
        return
    if pinned == 0:
        text = "containerConcurrency 0 admits everything: under overload requests queue in the server without bound"
        yield Reason(field="concurrency_limit", code="concurrency-unlimited", text=text)
        return
    if replica is None:
        return
    load = plan.prediction.rate_rps
    seen = predict(replica, plan.stages, load, settings=settings, requests=settings.simulated_requests,
                   concurrency_limit=pinned)  # fmt: skip
    if seen.p99_s > plan.slo.p99_s:
        text = (
            f"containerConcurrency {pinned} is kept, but at {load:.4g} rps a replica p99 is then {format_duration(seen.p99_s)} "
            f"against {format_duration(plan.slo.p99_s)}: batches cannot fill"
        )
        numbers = {"pinned": float(pinned), "p99_s": seen.p99_s}
        yield Reason(field="concurrency_limit", code="concurrency-breaks-slo", text=text, numbers=numbers)


def _replicas(plan: Plan, intent: Intent, wanted_minimum: int) -> Iterator[Reason]:
    scaler, needed = plan.scaling, plan.replicas_at_high_rate
    if scaler.max_replicas < needed:
        text = (
            f"maxReplicas {scaler.max_replicas} is kept, but {intent.rate.high_rps:.4g} rps need {needed} "
            f"({plan.capacity_rps:.4g} rps each)"
        )
        numbers = {"max_replicas": float(scaler.max_replicas), "needed": float(needed)}
        yield Reason(field="scaling.max_replicas", code="max-replicas-below-need", text=text, numbers=numbers)
    if wanted_minimum > scaler.max_replicas:
        text = f"{wanted_minimum} replicas are wanted at all times, but at most {scaler.max_replicas} are allowed"
        numbers = {"wanted": float(wanted_minimum), "max_replicas": float(scaler.max_replicas)}
        yield Reason(field="scaling.min_replicas", code="min-replicas-above-max", text=text, numbers=numbers)
    if scaler.min_replicas * plan.capacity_rps < intent.rate.low_rps and intent.pins.min_replicas is not None:
        carried = scaler.min_replicas * plan.capacity_rps
        text = (
            f"minReplicas {scaler.min_replicas} is kept, but carries {carried:.4g} of the "
            f"{intent.rate.low_rps:.4g} rps expected at quiet times"
        )
        numbers = {"min_replicas": float(scaler.min_replicas), "carried_rps": carried, "low_rps": intent.rate.low_rps}
        yield Reason(field="scaling.min_replicas", code="min-replicas-below-need", text=text, numbers=numbers)


def _target(plan: Plan, intent: Intent) -> Iterator[Reason]:
    scaler, numbers = plan.scaling, {"target": plan.scaling.target}
    if scaler.metric == "concurrency" and plan.concurrency_limit and scaler.target > plan.concurrency_limit:
        text = f"a target of {scaler.target:g} is above the limit of {plan.concurrency_limit}: Knative takes the limit instead"
        yield Reason(field="scaling.target", code="target-above-limit", text=text,
                     numbers=numbers | {"limit": float(plan.concurrency_limit)})  # fmt: skip
    if scaler.metric == "rps" and scaler.target > plan.capacity_rps:
        text = f"a target of {scaler.target:g} rps is more than the {plan.capacity_rps:.4g} rps a replica holds within the SLO"
        yield Reason(field="scaling.target", code="target-above-capacity", text=text,
                     numbers=numbers | {"capacity_rps": plan.capacity_rps})  # fmt: skip
    if (
        scaler.metric not in PLANNED_METRICS
        and intent.pins.scale_target is None
        and "target" not in intent.pins.autoscaling
    ):
        text = f"scaling on {scaler.metric} is kept, but the target of {scaler.target:g} counts requests in flight: set one"
        yield Reason(field="scaling.target", code="target-of-other-metric", text=text, numbers=numbers)


def _horizontal(plan: Plan, scaler: HorizontalScaling) -> Iterator[Reason]:
    if scaler.scaler.by_keda and plan.scaling.min_replicas == 0:
        text = (
            "minReplicas 0 is kept, but nothing holds a request until a replica is ready: at zero replicas each one fails, and "
            "none of them is counted. Only a forecast of the operator wakes the service"
        )
        yield Reason(field="scaling.min_replicas", code="keda-zero-loses-requests", text=text)
    if scaler.target > scaler.at_capacity:
        text = (
            f"a target of {scaler.target:g} is kept, but a replica at its capacity shows {scaler.at_capacity:.4g}: the SLO is "
            f"lost before another one is asked for"
        )
        numbers = {"target": scaler.target, "at_capacity": scaler.at_capacity}
        yield Reason(field="horizontal.target", code="target-above-capacity", text=text, numbers=numbers)
    if scaler.scaler.on_cpu and plan.resources.accelerators:
        text = "the model runs on an accelerator: the CPU shows the server's front end, and follows the load only as that does"
        yield Reason(field="horizontal.target", code="cpu-beside-accelerator", text=text)


def _timeout(plan: Plan, intent: Intent) -> Iterator[Reason]:
    pinned = intent.pins.timeout_s
    if pinned is not None and pinned < plan.slo.p99_s:
        text = f"timeout {pinned:g} s ends requests before the SLO of {format_duration(plan.slo.p99_s)} does"
        numbers = {"timeout_s": pinned, "slo_p99_s": plan.slo.p99_s}
        yield Reason(field="timeout_s", code="timeout-below-slo", text=text, numbers=numbers)
