"""A plan, and what went wrong, as the lines that `kubectl` shows after `Warning:`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kserve_ext.domain import Plan, Reason
from kserve_ext.errors import KserveExtError
from kserve_ext.lint.finding import Finding
from kserve_ext.units import format_duration

_LONGEST = 250  # the API server cuts off what is longer than 256 characters
_HEAD = "kserve-ext: "
_TOLD = ("concurrency_limit", "scaling.min_replicas", "replicas_at_high_rate")  # the reasons that are shown at once


def plan_lines(plan: Plan) -> list[str]:
    """The plan's numbers, and the reasons that people ask for first."""
    seen, scaling = plan.prediction, plan.scaling
    stages = ", ".join(
        f"{stage.model} {stage.instances} x batch {max(1, stage.max_batch_size)}" for stage in plan.stages
    )
    lines = [
        (
            f"{_HEAD}planned for {plan.hardware}: {stages}; {plan.concurrency_limit} requests at once in a replica, "
            f"{scaling.min_replicas} to {scaling.max_replicas} replicas"
        ),
        (
            f"{_HEAD}p99 {format_duration(seen.p99_s)} of {format_duration(plan.slo.p99_s)} at {seen.rate_rps:.4g} rps in a "
            f"replica, which carries {plan.capacity_rps:.4g}; every reason: kubectl get configmap {plan.service}-plan"
        ),
    ]
    return lines + [f"{_HEAD}{_of(reason)}" for reason in plan.reasons if reason.field in _TOLD]


def contradiction_lines(plan: Plan) -> list[str]:
    """What the person set by hand that works against the SLO."""
    return [f"{_HEAD}contradiction: {_of(warning)}" for warning in plan.warnings]


def admitted_lines(error: KserveExtError) -> list[str]:
    """That it was let through as it was written, and why it was not planned."""
    lines = [f"{_HEAD}admitted as written, not planned: {line}" for line in error.message.splitlines()[:4]]
    return lines + ([f"{_HEAD}{error.remedy}"] if error.remedy else [])


def finding_line(found: Finding) -> str:
    """One finding of the linter."""
    remedy = f"; {found.remedy}" if found.remedy else ""
    return f"{found.rule} {found.field}: {found.message}{remedy}"


def one_line(text: str) -> str:
    """Text without line breaks, cut where the API server would cut it."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 1] + "…"


def _of(reason: Reason) -> str:
    return f"{reason.field}: {reason.text}"


def findings_lines(findings: Sequence[Finding]) -> list[str]:
    """Findings with the head that warnings have."""
    return [_HEAD + finding_line(found) for found in findings]
