"""Lists of plain facts: what was asked for, what was planned, and what the profile rests on.

Domain types in, pairs of label and value out, in reading order; what is not known is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from kserve_ext.domain import Intent, Pins, Plan, Profile, Quantiles, RateRange
from kserve_ext.report import wording
from kserve_ext.report.compare import protocol_name

Facts = tuple[tuple[str, str], ...]


def asked(intent: Intent) -> Facts:
    """What the annotations ask for, and what the user set by hand."""
    found = [
        ("p99 within", wording.duration(intent.slo.p99_s)),
        ("Answered", f"≥ {wording.percent(intent.slo.availability)}"),
        ("Load", _range(intent.rate)),
        ("Protocol", protocol_name(intent.protocol)),
        ("Hardware", ", ".join(intent.hardware)),
    ]
    if intent.max_replicas is not None:
        found.append(("Replicas", f"at most {intent.max_replicas}"))
    if intent.cold_start_budget_s is not None:
        found.append(("Cold start", f"at most {wording.duration(intent.cold_start_budget_s)}"))
    if intent.policy != "default":
        found.append(("Policy", intent.policy))
    return (*found, *_pinned(intent.pins))


def _range(rate: RateRange) -> str:
    high = wording.rate(rate.high_rps)
    return high if rate.low_rps == rate.high_rps else f"{wording.number(rate.low_rps)} to {high}"


def _pinned(pins: Pins) -> Facts:
    found: list[tuple[str, str]] = []
    for field in fields(pins):
        value = getattr(pins, field.name)
        if isinstance(value, Mapping):
            found += [(f"Set by hand: {key}", str(item)) for key, item in sorted(value.items())]
        elif value is not None:
            text = value if isinstance(value, str) else wording.quantity(field.name, value)
            found.append((f"Set by hand: {wording.label(field.name)}", text))
    return tuple(found)


def planned(plan: Plan) -> Facts:
    """The plan in a dozen lines."""
    scaling, resources = plan.scaling, plan.resources
    by, target = (
        (plan.horizontal.scaler, plan.horizontal.target) if plan.horizontal else (scaling.metric, scaling.target)
    )
    found: list[tuple[str, str]] = []
    for stage in plan.stages:
        of_stage = f", {stage.model}" if len(plan.stages) > 1 else ""
        delay_s = stage.max_queue_delay_s
        wait = f"waiting at most {wording.duration(delay_s)}" if delay_s > 0 else "no added wait"
        threads = wording.plural(stage.threads, "thread")
        found.append(
            (f"Batch{of_stage}", f"up to {stage.max_batch_size}, {wait}" if stage.max_batch_size > 1 else "off")
        )
        found.append((f"Instances{of_stage}", f"{stage.instances} with {threads}" + (" each" * (stage.instances > 1))))
    replicas = {f"{scaling.min_replicas}", f"{scaling.max_replicas}"}
    span = f"{scaling.min_replicas} to {scaling.max_replicas}" if len(replicas) > 1 else str(scaling.min_replicas)
    return (
        *found,
        ("Concurrency limit", str(plan.concurrency_limit)),
        ("Autoscaler target", f"{by} {wording.number(target)}"),
        ("Replicas", f"{span}, {plan.replicas_at_high_rate} at the busy rate"),
        ("Timeout", wording.duration(plan.timeout_s)),
        (
            "CPU",
            wording.plural(1, "core") if resources.cpu_cores == 1 else f"{wording.number(resources.cpu_cores)} cores",
        ),
        ("Memory", wording.memory(resources.memory_bytes)),
        *((name, str(count)) for name, count in sorted(resources.accelerators.items())),
    )


def profiled(profile: Profile) -> Facts:
    """What was measured, how much of it, and when."""
    points = [point for stage in profile.stages for point in stage.points]
    executions = wording.number(sum(point.count for point in points))
    overhead = _median_s(profile.overhead_s)
    return (
        ("Model", profile.model),
        ("Model files, sha256", profile.model_digest.removeprefix("sha256:")[:12]),
        ("Hardware", profile.hardware),
        ("Measured", profile.measured_at),
        ("Points", f"{len(points)} from {executions} executions"),
        *((("Time outside the instances, p50", wording.duration(overhead)),) if overhead is not None else ()),
        ("Load to ready", wording.duration(profile.load_s)),
        ("Server CPU per request", wording.duration(profile.cpu_per_request_s)),
        ("Memory of the empty server", wording.memory(profile.memory_server_bytes)),
    )


def _median_s(quantiles: Quantiles) -> float | None:
    return dict(zip(quantiles.probabilities, quantiles.values, strict=False)).get(0.5)


def named(values: Mapping[str, str]) -> Facts:
    """A mapping of host facts or versions, by name."""
    return tuple((wording.label(name), value) for name, value in sorted(values.items()))
