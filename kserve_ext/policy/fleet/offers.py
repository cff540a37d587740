"""What a service may run on in a fleet: each hardware kind it allows, planned alone, as an offer to the packer.

A share without isolation is no offer unless its profile says beside which services it was measured. Instances are
limited to what the memory of the slice provably holds. What is not offered is told with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kserve_ext.domain import Intent, Pins, Plan, Profile, RateRange, Reason
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy.fleet.demand import Demand, Offer, Option, uniform
from kserve_ext.policy.fleet.shapes import CPU
from kserve_ext.policy.fleet.spot import strictest
from kserve_ext.policy.fleet.types import Fleet, Pool
from kserve_ext.policy.gpu.kinds import HardwareKind, Part, parse_kind
from kserve_ext.policy.gpu.memory import fit_memory, with_instances
from kserve_ext.policy.request import PlanRequest, Settings

NEIGHBOURS = "neighbours"  # key of a profile's `host`: services under whose load it was measured, separated by commas
_SLO_STEPS = (  # SLOs that are planned for, in each decade: round ones, and no two further apart than a tenth
    1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0, 2.2, 2.4, 2.5, 2.7, 3.0, 3.3, 3.5, 3.8, 4.0, 4.4, 4.5, 5.0, 5.5, 6.0, 6.5,
    7.0, 7.5, 8.0, 8.5, 9.0, 9.5,
)  # fmt: skip
_MANY_RPS = 1e6

Planner = Callable[[PlanRequest], Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A demand for the packer; which plan stands behind each of its kinds, and why others are not offered."""

    demand: Demand
    hardware: Mapping[str, str]  # hardware kind by fleet kind: a100-80gb/1g.10gb -> a100-1g.10gb
    instances: Mapping[str, int]  # most instances by fleet kind, as far as memory goes
    reasons: tuple[Reason, ...] = ()


class Capacities:
    """What one replica carries, planned once for each profile, memory limit and SLO: services of one model share it.

    Remembers plans while a fleet is planned. An SLO that is not round is rounded down by up to a tenth, so that a fleet
    of a thousand services takes tens of plans; that is safe, since what holds a shorter SLO holds a longer one. It
    depends on that SLO alone: a service that comes changes nothing for the others.
    """

    def __init__(self, planner: Planner, settings: Settings) -> None:
        self.planner = planner
        self.settings = replace(settings, confirmed_requests=settings.simulated_requests // 4)
        self.known: dict[tuple[int, str, int, str, float], Plan | InfeasibleError] = {}
        self.kept: list[Profile] = []  # keeps the ids above unique

    def plan(self, intent: Intent, profile: Profile, instances: int) -> Plan:
        """A plan for one replica. Raises InfeasibleError."""
        slo_s = round_down(intent.slo.p99_s)
        key = (id(profile), profile.hardware, instances, intent.policy, slo_s)
        if key not in self.known:
            self.kept.append(profile)
            self.known[key] = self._ask(intent, with_instances(profile, instances), slo_s)
        found = self.known[key]
        if isinstance(found, InfeasibleError):
            raise found
        return found

    def _ask(self, intent: Intent, profile: Profile, slo_s: float) -> Plan | InfeasibleError:
        """Planned for very many replicas all the time: the planner takes the choice that carries most, and scales nothing."""
        wanted = replace(
            intent, slo=replace(intent.slo, p99_s=slo_s), hardware=(profile.hardware,), max_replicas=None, pins=Pins(),
            rate=RateRange(low_rps=_MANY_RPS, high_rps=_MANY_RPS),
        )  # fmt: skip
        request = PlanRequest(intent=wanted, profiles={profile.hardware: profile}, settings=self.settings)
        try:
            return self.planner(request)
        except InfeasibleError as error:
            return error


def round_down(slo_s: float) -> float:
    """The longest SLO that is planned for and not longer than this one: 0.123 -> 0.12."""
    decade = 10.0 ** math.floor(math.log10(slo_s) + 1e-12)
    return round(max(step for step in _SLO_STEPS if step * decade <= slo_s * (1 + 1e-9)) * decade, 12)


def offer(intent: Intent, profiles: Mapping[str, Profile], fleet: Fleet, capacities: Capacities) -> Offered:
    """Everything the fleet has that this service may use and that carries it within its SLO."""
    offers: dict[str, Offer] = {}
    hardware: dict[str, str] = {}
    instances: dict[str, int] = {}
    reasons: list[Reason] = []
    starts_s = [0.0]
    for name in intent.hardware:
        kind = parse_kind(name)
        profile = profiles.get(name)
        found = False
        for fleet_kind, pool in offer_kinds(kind, fleet):
            found = True
            if fleet_kind in offers:
                continue
            made = None if profile is None else _offer(intent, profile, fleet_kind, kind, pool, capacities, reasons)
            if made is None or profile is None:
                continue
            offers[fleet_kind], instances[fleet_kind] = made
            hardware[fleet_kind] = name
            starts_s.append(profile.load_s + capacities.settings.pod_start_s)
        if profile is None:
            reasons.append(_refusal(name, "not-profiled", "no profile of the model on this kind"))
        elif not found:
            reasons.append(_refusal(name, "not-in-fleet", "the fleet has nothing of this kind"))
    share = strictest(intent, fleet.pools, max(starts_s))
    if share is not None:
        reasons.append(share.reason)
    return Offered(
        demand=Demand(
            service=f"{intent.namespace}/{intent.name}",
            rate_rps=intent.rate.high_rps,
            offers=offers,
            options=_options(intent, offers),
            on_demand_share=share.on_demand if share else 0.0,
        ),
        hardware=hardware,
        instances=instances,
        reasons=tuple(reasons),
    )


def _options(intent: Intent, offers: Mapping[str, Offer]) -> tuple[Option, ...]:
    """All replicas on one kind, at least as many as the manifest pins."""
    least = max(1, intent.pins.min_replicas or 1)
    return uniform(intent.rate.high_rps, offers.values(), least=least, most=intent.max_replicas)


def offer_kinds(kind: HardwareKind, fleet: Fleet) -> list[tuple[str, Pool]]:
    """Kinds of the fleet that a hardware kind stands for, each with a pool that has it."""
    if kind.part is Part.CPU:
        return [(CPU, pool) for pool in fleet.pools if pool.shape is None][:1]
    part = kind.profile if kind.part is Part.SLICE else kind.part.value
    return [
        (f"{pool.gpu.key}/{part}", pool)
        for pool in fleet.pools
        if pool.gpu is not None
        and pool.shape is not None
        and kind.is_on(pool.gpu)
        and f"{pool.gpu.key}/{part}" in pool.shape.kinds
    ]


def _offer(
    intent: Intent, profile: Profile, fleet_kind: str, kind: HardwareKind, pool: Pool, capacities: Capacities,
    reasons: list[Reason],
) -> tuple[Offer, int] | None:  # fmt: skip
    neighbours: frozenset[str] | None = None
    if kind.part is Part.SHARE:
        named = profile.host.get(NEIGHBOURS, "")
        neighbours = frozenset(name.strip() for name in named.split(",") if name.strip())
        if not neighbours:
            text = "a share is not isolated, so a profile taken alone says nothing of its p99 beside others"
            reasons.append(_refusal(kind.name, "share-not-certified", text))
            return None
    most = max(point.instances for stage in profile.stages for point in stage.points)
    if kind.part is not Part.CPU:
        fit = fit_memory(profile, pool.usable_bytes(fleet_kind.partition("/")[2]), kind=fleet_kind)
        reasons.append(fit.reason)
        most = fit.instances
    if most < 1:
        reasons.append(
            _refusal(kind.name, "memory-too-small", f"not even one instance fits the memory of {fleet_kind}")
        )
        return None
    try:
        decided = capacities.plan(intent, profile, most)
    except InfeasibleError as error:
        reasons.append(_refusal(kind.name, "slo-not-held", error.message))
        return None
    return (
        Offer(
            kind=fleet_kind,
            capacity_rps=decided.capacity_rps,
            cpu_cores=intent.pins.cpu_cores or decided.resources.cpu_cores,
            memory_bytes=intent.pins.memory_bytes or decided.resources.memory_bytes,
            neighbours=neighbours and _qualified(neighbours, intent.namespace),
        ),
        most,
    )


def _qualified(neighbours: frozenset[str], namespace: str) -> frozenset[str]:
    return frozenset(name if "/" in name else f"{namespace}/{name}" for name in neighbours)


def _refusal(kind: str, code: str, text: str) -> Reason:
    return Reason(field=f"hardware[{kind}]", code=code, text=text)
