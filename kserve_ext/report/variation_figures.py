"""A knob that was turned, as figures: a record for programs, rows and sentences for people."""

from __future__ import annotations

from typing import Any

from kserve_ext.cases.varying import Try, Variation
from kserve_ext.report import wording
from kserve_ext.report.comparison_figures import in_time, span, trace_facts


def figures(variation: Variation, source: str) -> dict[str, Any]:
    """Everything a program may want."""
    asked, lost = variation.question, variation.lost
    return {
        "service": asked.trace.service,
        "trace": trace_facts(asked.trace, source),
        "policy": variation.policy,
        "knob": variation.knob.name,
        "slo_p99_s": asked.slo_s,
        "attainment_asked": asked.attainment,
        "cold_start_s": asked.cold_start_s,
        "values": [_try(each) for each in variation.tries],
        "first_lost": lost.value if lost else None,
        "verdict": verdict(variation),
    }


def _try(each: Try) -> dict[str, Any]:
    record: dict[str, Any] = {
        "value": each.value,
        "number": each.number,
        "holds": each.holds,
        "cause": each.cause or None,
    }
    if each.outcome is None:
        return record | {"infeasible": each.why}
    seen, missed = each.outcome, each.first_missed
    return record | {
        "attainment": seen.attainment,
        "billed": seen.billed,
        "active": seen.active,
        "starts": seen.starts,
        "p50_s": seen.p50_s,
        "p95_s": seen.p95_s,
        "p99_s": seen.p99_s,
        "worst_minute": seen.worst_minute,
        "violation_share": seen.violation_share,
        "late": dict(each.late),
        "first_missed_s": missed.t_s if missed else None,
    }


def facts_line(variation: Variation) -> str:
    """`dense_b: ours, …`."""
    asked = variation.question
    return (
        f"{asked.trace.service}: {variation.policy} over {span(asked.trace.duration_s)}, SLO "
        f"{wording.duration(asked.slo_s)} for {wording.percent(asked.attainment)}, start-up "
        f"{wording.duration(asked.cold_start_s)}"
    )


def columns(variation: Variation) -> tuple[str, ...]:
    """Heads of the rows."""
    return (variation.knob.name, "in time", "billed", "p99", "worst minute", "first missed", "mostly late")


def rows(variation: Variation) -> list[tuple[str, ...]]:
    """One row for each value."""
    return [_row(each) for each in variation.tries]


def _row(each: Try) -> tuple[str, ...]:
    if each.outcome is None:
        return (each.value, "infeasible", *[wording.NONE] * 4, each.why)
    seen, missed = each.outcome, each.first_missed
    return (
        each.value, in_time(seen.attainment), f"{seen.billed:.2f}", wording.duration(seen.p99_s),
        in_time(seen.worst_minute), clock(missed.t_s) if missed else wording.NONE, each.cause or "nothing",
    )  # fmt: skip


def verdict(variation: Variation) -> str:
    """Where the SLO is first lost."""
    name, lost = variation.knob.name, variation.lost
    if lost is None:
        return f"the SLO holds at every value of {name}: {', '.join(variation.knob.values)}"
    before = variation.tries[: variation.tries.index(lost)]
    kept = f"{name} {before[-1].value} still holds; " if before else ""
    if lost.outcome is None:
        return f"{kept}{name} {lost.value} is infeasible: {lost.why}"
    when = f", first at {clock(lost.first_missed.t_s)}" if lost.first_missed else ""
    return (
        f"{kept}the SLO is lost at {name} {lost.value}: {in_time(lost.outcome.attainment)} in time{when}, "
        f"mostly {lost.cause}"
    )


def clock(t_s: int) -> str:
    """Hours and minutes from the beginning: 3 h 05 min."""
    hours, minutes = divmod(t_s // 60, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
