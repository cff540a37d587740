"""A comparison of policies as figures: a record for programs, rows and sentences for people.

A Comparison in, plain values and text out. Figures are those of the simulation; nothing is computed anew.
"""

from __future__ import annotations

import math
from typing import Any

from kserve_ext.cases.comparing import Comparison, Result
from kserve_ext.report import wording
from kserve_ext.traffic import Trace

COLUMNS = ("policy", "in time", "billed", "starts", "p50", "p99", "worst minute", "regret")  # fits 80 columns


def figures(comparison: Comparison, source: str) -> dict[str, Any]:
    """Everything a program may want; a regret without bound is null."""
    case = comparison.case
    return {
        "service": case.workload.name,
        "trace": trace_facts(case.trace, source) | {"learned_s": case.history.duration_s if case.history else 0},
        "slo_p99_s": case.workload.slo_s,
        "attainment_asked": case.attainment,
        "cold_start_s": case.workload.cold_start.on_node_s,
        "min_replicas": case.bounds.min_replicas,
        "max_replicas": case.bounds.max_replicas,
        "initial_replicas": case.workload.initial_replicas,
        "seed": case.seed,
        "plan": _plan(comparison),
        "policies": {result.policy: _figures(comparison, result) for result in comparison.results},
        "winner": comparison.winner.policy if comparison.winner else None,
        "ladder": {step.name.replace(", ", "_").replace(" ", "_"): {"billed": step.billed, "attainment": step.attainment}
                   for step in comparison.ladder},
    }  # fmt: skip


def trace_facts(trace: Trace, source: str) -> dict[str, Any]:
    """What was asked of the service."""
    return {
        "file": source,
        "start_s": trace.start_s,
        "step_s": trace.step_s,
        "duration_s": trace.duration_s,
        "requests": sum(trace.counts),
        "mean_rps": sum(trace.counts) / trace.duration_s,
        "peak_rps": max(trace.counts) / trace.step_s,
    }


def _plan(comparison: Comparison) -> dict[str, Any] | None:
    sized = comparison.case.sized
    if sized is None:
        return None
    return {
        "capacity_rps": sized.plan.capacity_rps,
        "concurrency_limit": sized.plan.concurrency_limit,
        "stages": list(sized.plan.stages),
        "scaling": sized.plan.scaling,
    }


def _figures(comparison: Comparison, result: Result) -> dict[str, Any]:
    outcome = result.outcome
    return {
        "attainment": outcome.attainment,
        "holds": comparison.holds(result),
        "billed": outcome.billed,
        "active": outcome.active,
        "starts": outcome.starts,
        "p50_s": outcome.p50_s,
        "p95_s": outcome.p95_s,
        "p99_s": outcome.p99_s,
        "worst_minute": outcome.worst_minute,
        "violation_share": outcome.violation_share,
        "regret": result.regret if math.isfinite(result.regret) else None,
        "dropped": outcome.dropped,
        "requests": outcome.requests,
        "run_s": result.run_s,
    }


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One row for each policy, the best first."""
    return [
        (
            result.policy, in_time(result.outcome.attainment), f"{result.outcome.billed:.2f}",
            wording.number(result.outcome.starts), wording.duration(result.outcome.p50_s),
            wording.duration(result.outcome.p99_s), in_time(result.outcome.worst_minute),
            f"{result.regret:.2f}" if math.isfinite(result.regret) else wording.NONE,
        )
        for result in ranked(comparison)
    ]  # fmt: skip


def ranked(comparison: Comparison) -> list[Result]:
    """Those that hold first, the cheapest before the others; then those that do not, the nearest to holding first."""
    held = sorted((r for r in comparison.results if comparison.holds(r)), key=lambda result: result.outcome.billed)
    missed = [result for result in comparison.results if not comparison.holds(result)]
    return [*held, *sorted(missed, key=lambda result: -result.outcome.attainment)]


def facts_line(comparison: Comparison) -> str:
    """`dense_b: 1,007,860 requests in 24 h …`."""
    case, trace = comparison.case, comparison.case.trace
    requests, mean_rps = sum(trace.counts), sum(trace.counts) / trace.duration_s
    learned = f", learned from {span(case.history.duration_s)} before" if case.history else ""
    return (
        f"{case.workload.name}: {requests:,} requests in {span(trace.duration_s)} ({wording.rate(mean_rps)}, at most "
        f"{wording.rate(max(trace.counts) / trace.step_s)}), SLO {wording.duration(case.workload.slo_s)} for "
        f"{wording.percent(case.attainment)}, start-up {wording.duration(case.workload.cold_start.on_node_s)}{learned}"
    )


def ladder_line(comparison: Comparison) -> str:
    """The rungs in one line; one that attains another level than asked for says so."""
    asked = comparison.case.attainment
    steps = [
        f"{step.name} {step.billed:.2f}" + ("" if step.attainment == asked else f" (at {in_time(step.attainment)})")
        for step in comparison.ladder
    ]
    return "replicas at least: " + " · ".join(steps)


def verdict(comparison: Comparison) -> str:
    """Who keeps the SLO with the fewest replicas."""
    case, winner = comparison.case, comparison.winner
    asked = f"{wording.percent(case.attainment)} within {wording.duration(case.workload.slo_s)}"
    if not sum(case.trace.counts):
        return "no traffic: nothing can be late, and the cheapest policy is the one that runs the fewest replicas"
    if winner is None:
        return f"no policy keeps {asked}"
    return f"{winner.policy} keeps {asked} with the fewest replicas: {winner.outcome.billed:.2f} on average"


def in_time(share: float) -> str:
    """A share as a percentage, rounded down: what falls short of 99 % never reads as 99 %."""
    digits = 2 if share > 0.9 else 1
    return (
        wording.percent(share)
        if share >= 1.0
        else f"{math.floor(share * 100 * 10**digits) / 10**digits:.{digits}f}{wording.NARROW_SPACE}%"
    )


def span(seconds: float) -> str:
    """A long time in the unit that people would use."""
    for unit_s, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= (2 if unit == "days" else 1) * unit_s:
            return f"{wording.number(seconds / unit_s)} {unit}"
    return wording.duration(seconds)
