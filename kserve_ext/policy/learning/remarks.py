"""What differs from the profile and from the promise, in words with numbers, for Events, status and metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_ext.domain import Plan, Profile, RateRange, Reason
from kserve_ext.policy.learning.evidence import Evidence
from kserve_ext.policy.learning.levels import Level, level, start_up
from kserve_ext.policy.learning.types import LEAST, MOST, NOTICED
from kserve_ext.units import format_duration

_PROMISED_LATE = 0.01  # p99
_NEEDED_REQUESTS = 500.0  # five of them may be late


def remarks(
    plan: Plan, profile: Profile, asked: RateRange, evidence: Evidence, busiest_rps: float
) -> tuple[Reason, ...]:
    """Everything that is noticeably other than profiled or promised; nothing where all is as planned."""
    return (
        *_executions(plan, profile, evidence),
        *_start_up(profile, evidence),
        *_late(plan, evidence),
        *_rate(asked, busiest_rps),
    )


def _executions(plan: Plan, profile: Profile, evidence: Evidence) -> Iterator[Reason]:
    instances = {stage.model: stage.instances for stage in plan.stages}
    for stage in profile.stages:
        found = level(stage, instances.get(stage.model, 1), evidence)
        if found is None or abs(found.times - 1.0) <= NOTICED:
            continue
        text = f"{stage.model}: executions take {_beside(found)}"
        if not LEAST <= found.times <= MOST:
            text += (
                f", beyond the {LEAST:g} to {MOST:g} times that are corrected: `kserve-ext profile {stage.model}` again"
            )
        yield _reason(f"profile.{stage.model}", "service-differs", text, found)


def _start_up(profile: Profile, evidence: Evidence) -> Iterator[Reason]:
    found = start_up(profile, evidence)
    if found is not None and abs(found.times - 1.0) > NOTICED:
        yield _reason("profile.load_s", "start-up-differs", f"replicas are ready after {_beside(found)}", found)


def _late(plan: Plan, evidence: Evidence) -> Iterator[Reason]:
    if evidence.requests >= _NEEDED_REQUESTS and evidence.late_share > _PROMISED_LATE:
        text = (
            f"{evidence.late_share:.2%} of the requests took longer than {format_duration(plan.slo.p99_s)}, "
            f"{_PROMISED_LATE:.0%} are promised"
        )
        numbers = {"late_share": evidence.late_share, "promised": _PROMISED_LATE}
        yield Reason(field="slo.p99_s", code="promise-not-held", text=text, numbers=numbers)


def _rate(asked: RateRange, busiest_rps: float) -> Iterator[Reason]:
    if busiest_rps > (1.0 + NOTICED) * asked.high_rps:
        text = (
            f"{busiest_rps:.4g} rps in the busiest minute, kserve-ext.dev/rate says {asked.high_rps:.4g} at most: "
            f"give the annotation what is seen, and it is planned for"
        )
        yield Reason(field="rate", code="busier-than-told", text=text, numbers={"busiest_rps": busiest_rps})


def _beside(found: Level) -> str:
    return f"{format_duration(found.seen_s)}, {found.times:.2f} times the {format_duration(found.profiled_s)} profiled"


def _reason(field: str, code: str, text: str, found: Level) -> Reason:
    numbers = {"times": found.times, "seen_s": found.seen_s, "profiled_s": found.profiled_s}
    return Reason(field=field, code=code, text=text, numbers=numbers)
