"""What else a service could run on: each hardware kind it allows, planned at several SLOs, with what a request costs.

Of all alternatives those that no other beats in both p99 and cost make the Pareto front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kserve_ext.domain import Intent, Plan, Profile, Reason
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy.fleet.offers import Planner, offer_kinds
from kserve_ext.policy.fleet.shapes import CPU
from kserve_ext.policy.fleet.spot import spot_share
from kserve_ext.policy.fleet.types import Fleet, Pool
from kserve_ext.policy.gpu.kinds import Part, parse_kind
from kserve_ext.policy.gpu.memory import fit_memory, with_instances
from kserve_ext.policy.request import PlanRequest, Settings

SLO_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
_SECONDS, _MILLION = 3600.0, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One way to run a service at its busy rate. Costs are None where the pool has no price."""

    hardware: str  # as the annotation has it
    kind: str  # as the fleet has it
    pool: str
    spot_replicas: int
    slo_p99_s: float
    p99_s: float  # predicted at the busy rate
    replicas: int
    capacity_rps: float  # of one replica
    cost_per_hour: float | None
    cost_per_million: float | None
    as_asked: bool  # for the SLO that was asked for
    best: bool = False  # on the Pareto front
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """All that were planned, cheapest first, and the kinds that hold nothing, with the reason."""

    service: str
    rate_rps: float
    found: tuple[Alternative, ...]
    refused: tuple[Reason, ...]


def alternatives(
    intent: Intent, profiles: Mapping[str, Profile], fleet: Fleet, planner: Planner,
    *, settings: Settings | None = None, factors: Sequence[float] = SLO_FACTORS,
) -> Alternatives:  # fmt: skip
    """Every allowed and profiled kind in every pool that has it, at the SLO asked for and at multiples of it."""
    used = settings or Settings()
    found: list[Alternative] = []
    refused: list[Reason] = []
    for name in intent.hardware:
        kind, profile = parse_kind(name), profiles.get(name)
        pools = offer_kinds(kind, fleet)
        if profile is None or not pools or kind.part is Part.SHARE:
            text = "not profiled" if profile is None else "a share certifies no SLO" if pools else "not in the fleet"
            refused.append(Reason(field=f"hardware[{name}]", code="no-alternative", text=text))
            continue
        plans: dict[int, list[tuple[float, Plan]]] = {}
        for fleet_kind, pool in pools:
            most = max(point.instances for stage in profile.stages for point in stage.points)
            if kind.part is not Part.CPU:
                most = fit_memory(profile, pool.usable_bytes(fleet_kind.partition("/")[2]), kind=fleet_kind).instances
            if most < 1:
                refused.append(
                    Reason(field=f"hardware[{name}]", code="memory-too-small", text=f"too large for {fleet_kind}")
                )
                continue
            if most not in plans:
                plans[most] = list(_plans(intent, with_instances(profile, most), planner, used, factors, refused))
            start_s = profile.load_s + used.pod_start_s
            made = [
                _alternative(intent, name, fleet_kind, pool, plan, factor, start_s, fleet)
                for factor, plan in plans[most]
            ]
            found += [one for one in made if one is not None and (one.spot_replicas or not pool.spot)]
    return Alternatives(
        service=f"{intent.namespace}/{intent.name}",
        rate_rps=intent.rate.high_rps,
        found=tuple(sorted(mark_front(found), key=_order)),
        refused=tuple({(reason.field, reason.text): reason for reason in refused}.values()),
    )


def _order(one: Alternative) -> tuple[bool, float, float, str, str]:
    return not one.as_asked, one.cost_per_million or 0.0, one.p99_s, one.kind, one.pool


def _plans(
    intent: Intent, profile: Profile, planner: Planner, settings: Settings, factors: Sequence[float],
    refused: list[Reason],
) -> list[tuple[float, Plan]]:  # fmt: skip
    plans = []
    for factor in factors:
        slo = replace(intent.slo, p99_s=intent.slo.p99_s * factor)
        steady = replace(
            intent.rate, low_rps=intent.rate.high_rps
        )  # at the busy rate: no autoscaler has to be tried out
        wanted = replace(intent, slo=slo, rate=steady, hardware=(profile.hardware,))
        request = PlanRequest(intent=wanted, profiles={profile.hardware: profile}, settings=settings)
        try:
            plans.append((factor, planner(request)))
        except InfeasibleError as error:
            if factor == 1.0:
                refused.append(Reason(field=f"hardware[{profile.hardware}]", code="slo-not-held", text=error.message))
    return plans


def _alternative(
    intent: Intent, name: str, kind: str, pool: Pool, plan: Plan, factor: float, start_s: float, fleet: Fleet
) -> Alternative | None:
    """One alternative; what may not be on a spot pool is on the cheapest pool of that kind that stays, if there is one."""
    replicas = plan.replicas_at_high_rate
    hourly = _hourly(kind, pool, plan)
    name_of_pool, reason, steady = pool.name, "", 0
    cost = None if hourly is None else hourly * replicas
    if pool.spot:
        share = spot_share(intent, pool, start_s)
        steady, reason = math.ceil(share.on_demand * replicas - 1e-9), share.reason.text
        other = _steady(kind, fleet, plan)
        if steady and other is None:
            return None
        if steady and other is not None:
            name_of_pool, beside = f"{pool.name} + {other.name}", _hourly(kind, other, plan)
            cost = None if hourly is None or beside is None else hourly * (replicas - steady) + beside * steady
    return Alternative(
        hardware=name,
        kind=kind,
        pool=name_of_pool,
        spot_replicas=replicas - steady if pool.spot else 0,
        slo_p99_s=plan.slo.p99_s,
        p99_s=plan.prediction.p99_s,
        replicas=replicas,
        capacity_rps=plan.capacity_rps,
        cost_per_hour=cost,
        cost_per_million=None if cost is None else cost / (intent.rate.high_rps * _SECONDS) * _MILLION,
        as_asked=factor == 1.0,
        reason=reason,
    )


def _steady(kind: str, fleet: Fleet, plan: Plan) -> Pool | None:
    """The cheapest pool of nodes that stay and have this kind."""
    pools = [
        pool
        for pool in fleet.pools
        if not pool.spot
        and (pool.shape is None if kind == CPU else pool.shape is not None and kind in pool.shape.kinds)
    ]
    return min(pools, key=lambda pool: (_hourly(kind, pool, plan) or 0.0, pool.name), default=None)


def _hourly(kind: str, pool: Pool, plan: Plan) -> float | None:
    """What one replica costs an hour: its part of a GPU, or its share of a node's cores."""
    if kind != CPU:
        return pool.hourly(kind)
    if pool.price_per_hour is None or pool.cpu_cores == float("inf"):
        return None
    return pool.price_per_hour * plan.resources.cpu_cores / pool.cpu_cores


def mark_front(found: Sequence[Alternative]) -> tuple[Alternative, ...]:
    """The alternatives, with those marked that none beats: no lower p99 at the same cost or less."""
    priced = [one for one in found if one.cost_per_million is not None]
    return tuple(replace(one, best=one in priced and not any(_beats(other, one) for other in priced)) for one in found)


def _beats(one: Alternative, other: Alternative) -> bool:
    first, second = one.cost_per_million or 0.0, other.cost_per_million or 0.0
    return first <= second and one.p99_s <= other.p99_s and (first < second or one.p99_s < other.p99_s)
