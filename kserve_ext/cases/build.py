"""One service's traffic, its replicas and what is asked of them, put together as a case to simulate, or refused.

A trace and a service-time law or a profile in, a case out. Where replicas batch, the case carries the plan they run.
Nothing is simulated here but what planning needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kserve_ext.domain import Intent, Plan, Profile, RateRange, Slo
from kserve_ext.errors import InputError, Problem
from kserve_ext.policy import PlanRequest, plan
from kserve_ext.policy.contenders import Sized
from kserve_ext.policy.replica import build_replica
from kserve_ext.policy.simulated import planned_service, service_time
from kserve_ext.profile.service_law import OneAtATime
from kserve_ext.simulate.arrivals import Counts
from kserve_ext.simulate.batch_pool import BatchService
from kserve_ext.simulate.engine import ColdStart, Workload
from kserve_ext.simulate.scalers.bounds import DEFAULT_BOUNDS, Bounds
from kserve_ext.simulate.scalers.sizing import staffing_for
from kserve_ext.simulate.service_time import ServiceTime
from kserve_ext.traffic import Trace
from kserve_ext.units import format_duration

_BUSY = 0.999  # a plan for a trace holds its busiest minutes but one in a thousand
_LEAST_RPS = 0.01  # a plan needs a rate, also for a trace without requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One service whose policies are compared."""

    workload: Workload
    trace: Trace
    history: Trace | None  # from before the trace, to learn from
    attainment: float
    bounds: Bounds = DEFAULT_BOUNDS
    seed: int = 0
    sized: Sized | None = None  # of replicas that batch, with their plan
    floor_interval_s: int = 10  # between two decisions of the predictive floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is given and asked, before it is known whether it makes a case."""

    trace: Trace
    law: OneAtATime | Profile
    slo_s: float
    cold_start_s: float
    attainment: float = 0.99
    history: Trace | None = None
    bounds: Bounds = DEFAULT_BOUNDS
    seed: int = 0
    decided: Plan | None = None  # of replicas that batch; None: a plan is made for the traffic


def build_case(asked: Question) -> Case:
    """The case that a question makes. It begins with the replicas that its first rate needs.

    Raises InputError for what makes no case, InfeasibleError when the service times alone miss the SLO.
    """
    trace, law, slo_s = asked.trace, asked.law, asked.slo_s
    _check(asked)
    first_rps = trace.counts[0] / trace.step_s
    service: ServiceTime | BatchService
    if isinstance(law, Profile):
        decided = asked.decided or plan_for(trace, law, slo_s=slo_s, history=asked.history)
        service = planned_service(law, decided)
        sized = Sized(plan=decided, saturated_rps=build_replica(law).saturated_rps(decided.stages))
        needed = sized.replicas(first_rps)
    else:
        service, sized = service_time(law), None
        needed = staffing_for(service, slo_s, asked.attainment).replicas(first_rps)
    workload = Workload(
        name=trace.service, arrivals=arrivals(trace), service=service, slo_s=slo_s,
        cold_start=ColdStart(load_s=asked.cold_start_s), initial_replicas=asked.bounds.within(needed),
    )  # fmt: skip
    return Case(
        workload=workload, trace=trace, history=asked.history, attainment=asked.attainment, bounds=asked.bounds,
        seed=asked.seed, sized=sized,
    )  # fmt: skip


def arrivals(trace: Trace) -> Counts:
    """The trace as the engine takes it."""
    return Counts(counts=trace.counts, step_s=trace.step_s)


def split(trace: Trace, at_s: float, field: str) -> tuple[Trace, Trace]:
    """What lies before `at_s` seconds from the beginning, and the rest. Raises InputError where one of them is empty."""
    rows = round(at_s / trace.step_s)
    if not 0 < rows < len(trace.counts):
        raise InputError(
            Problem(field=field, what="nothing to learn from, or nothing left to simulate", found=format_duration(at_s),
                    allowed=f"from {trace.step_s}s to less than the trace's {trace.duration_s}s")
        )  # fmt: skip
    later = replace(trace, start_s=trace.start_s + rows * trace.step_s, counts=trace.counts[rows:])
    return replace(trace, counts=trace.counts[:rows]), later


def plan_for(trace: Trace, profile: Profile, *, slo_s: float, history: Trace | None = None) -> Plan:
    """A plan for the rates of the history, or of the trace itself where there is none. Raises InfeasibleError."""
    known = history or trace
    rates = sorted(count / known.step_s for count in known.counts)
    busy_rps = max(rates[round(_BUSY * (len(rates) - 1))], _LEAST_RPS)
    intent = Intent(
        name=trace.service, namespace="default", model=profile.model, slo=Slo(p99_s=slo_s), hardware=(profile.hardware,),
        rate=RateRange(low_rps=min(rates[0], busy_rps), high_rps=busy_rps),
    )  # fmt: skip
    return plan(PlanRequest(intent=intent, profiles={profile.hardware: profile}))


def _check(asked: Question) -> None:
    problems = []
    if not 0 < asked.attainment < 1:
        problems.append(
            Problem(field="attainment", what="no policy can promise that", found=f"{100 * asked.attainment:g}%",
                    allowed="above 0 and below 100%, e.g. 99.9%")
        )  # fmt: skip
    if asked.trace.duration_s <= asked.cold_start_s:
        problems.append(
            Problem(field=asked.trace.service, what="the trace is over before a replica that is asked for is ready",
                    found=f"{asked.trace.duration_s} s of traffic",
                    allowed=f"more than the start-up of {format_duration(asked.cold_start_s)}")
        )  # fmt: skip
    if problems:
        raise InputError(*problems)
