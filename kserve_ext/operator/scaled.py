"""One service under the floor: its settings from the plan, its state, and what the last decision was. Pure.

Counts come with the operator's own clock, which never jumps; while the state is being learned they wait.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kserve_ext.domain import Plan, Profile
from kserve_ext.observe.readings import Counted
from kserve_ext.policy.floor import Decision, FloorSettings, Observation, ScalerState, sizing_from_capacity, start, step
from kserve_ext.policy.replica import build_replica
from kserve_ext.policy.replicas import cold_start_s
from kserve_ext.policy.request import Settings

TTL_S = 300.0
_LATE_AT_CAPACITY = 0.01  # the plan's capacity is where p99 reaches the SLO
_ATTAINMENT = 0.99
_ROOM = 8  # replicas beyond twice the busiest that was planned for: a forecast may say more than the plan was told
_MOST_WAITING = 720  # observations kept while the state is being learned: two hours of ten seconds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaled:
    """One service. `state` is None while it is being learned."""

    settings: FloorSettings
    slo_s: float
    state: ScalerState | None
    seen_s: float  # observed up to here
    waiting: tuple[Observation, ...] = ()
    decision: Decision | None = None
    raised_s: float | None = None  # since when there is a floor on the present Revision
    met_s: float = 0.0  # when it was seen for the first time


def floor_settings(plan: Plan, profile: Profile, ttl_s: float = TTL_S) -> FloorSettings:
    """The floor's settings for a plan; the table of a service may hold more replicas than the plan asked for."""
    most = plan.scaling.max_replicas or _ROOM + 2 * plan.replicas_at_high_rate
    return FloorSettings(
        sizing=sizing_from_capacity(
            plan.capacity_rps, build_replica(profile).saturated_rps(plan.stages), _LATE_AT_CAPACITY, max(1, most)
        ),
        start_up_s=max(1.0, cold_start_s((profile,), Settings())), attainment=_ATTAINMENT, ttl_s=ttl_s,
        least=plan.scaling.min_replicas,
    )  # fmt: skip


def fresh(settings: FloorSettings, slo_s: float, now_s: float, *, learning: bool) -> Scaled:
    """A service seen for the first time."""
    return Scaled(
        settings=settings, slo_s=slo_s, state=None if learning else start(settings), seen_s=now_s, met_s=now_s
    )


def observed(service: Scaled, counted: Counted, now_s: float, ready: int, starting: int) -> Scaled:
    """After one look: with a new decision, or with the look kept for later."""
    if now_s <= service.seen_s:
        return service
    requests = max(0, round(counted.requests))
    late = None if counted.late is None else min(float(requests), max(0.0, counted.late))
    look = Observation(
        start_s=service.seen_s, now_s=now_s, arrivals=(requests,), ready=ready, starting=starting, late=late,
        waiting=counted.waiting,
    )  # fmt: skip
    service = replace(service, seen_s=now_s)
    if service.state is None:
        return replace(service, waiting=(*service.waiting, look)[-_MOST_WAITING:])
    return _stepped(service, (look,))


def learned(service: Scaled, state: ScalerState) -> Scaled:
    """With the state that was learned from its history, and what came meanwhile."""
    end_s = state.forecasts.history.end_s
    later = tuple(look for look in service.waiting if end_s is None or look.start_s >= end_s)
    return _stepped(replace(service, state=state, waiting=()), later)


def resized(service: Scaled, settings: FloorSettings, slo_s: float) -> Scaled:
    """With the settings of a new plan. What is known of the traffic stays, where the bins are the same."""
    if service.settings == settings or service.state is None:
        return replace(service, settings=settings, slo_s=slo_s)
    if settings.forecast != service.settings.forecast:
        return replace(service, settings=settings, slo_s=slo_s, state=None, decision=None)
    state = replace(start(settings), forecasts=service.state.forecasts, ripple=service.state.ripple)
    return replace(service, settings=settings, slo_s=slo_s, state=state, decision=None)


def floor_now(service: Scaled, now_s: float) -> int:
    """The floor in force; none where the last decision has expired."""
    decision = service.decision
    return decision.replicas if decision is not None and now_s < decision.expires_s else 0


def is_undecided(service: Scaled, now_s: float) -> bool:
    """Whether nothing has been decided yet: a floor that an earlier leader left then stays, for as long as one lasts."""
    return service.decision is None and now_s - service.met_s < service.settings.ttl_s


def needs_learning(service: Scaled) -> bool:
    """Whether its state has to be learned from a history."""
    return service.state is None


def known_s(service: Scaled) -> float:
    """Seconds of traffic that it knows."""
    return 0.0 if service.state is None else float(service.state.forecasts.history.bins * service.settings.bin_s)


def _stepped(service: Scaled, looks: tuple[Observation, ...]) -> Scaled:
    state, decision = service.state, service.decision
    assert state is not None
    for look in looks:
        if not math.isfinite(look.start_s):
            continue
        state, decision = step(state, look, service.settings)
    return replace(service, state=state, decision=decision)
