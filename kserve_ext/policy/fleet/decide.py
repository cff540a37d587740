"""The plan of a fleet: services with their profiles and a fleet in; who runs where, on how many GPUs, and why, out.

Offers for each service → packing → what each node is cut into and what each service asks for. Raises InfeasibleError
naming the services that cannot be carried, each with the reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kserve_ext.domain import Intent, Profile, Reason
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy.fleet.board import Place
from kserve_ext.policy.fleet.mig_layout import NodeLayout, layouts
from kserve_ext.policy.fleet.offers import Capacities, Offered, Planner, offer
from kserve_ext.policy.fleet.pack import Packed, pack
from kserve_ext.policy.fleet.scheduling import Placement
from kserve_ext.policy.fleet.shapes import CPU
from kserve_ext.policy.fleet.types import Fleet, Objective, Pool
from kserve_ext.policy.gpu.names import resource_name
from kserve_ext.policy.request import Settings

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One service of the fleet: what is asked for and what was measured."""

    intent: Intent
    profiles: Mapping[str, Profile]

    @property
    def name(self) -> str:
        return f"{self.intent.namespace}/{self.intent.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePlan:
    """What one service gets."""

    service: str  # namespace/name
    hardware: str  # the annotation's kind
    kind: str  # the fleet's: a100-80gb/1g.10gb
    resource: str  # nvidia.com/mig-1g.10gb; empty on CPU
    replicas: int
    on_spot: int
    instances_allowed: int  # as far as the memory of the part goes
    rate_rps: float
    capacity_rps: float  # of all replicas
    pools: Mapping[str, int]
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """Everything decided. Bounds are proven: no plan whatever uses fewer GPUs, or costs less, than they say."""

    objective: Objective
    gpus: int
    gpus_lower_bound: int
    gpus_in_fleet: int
    cost_per_hour: float | None
    cost_per_hour_lower_bound: float | None
    optimal: bool
    services: tuple[ServicePlan, ...]
    nodes: tuple[NodeLayout, ...]
    places: tuple[Place, ...]
    moved: tuple[str, ...] = ()
    warnings: tuple[Reason, ...] = field(default=())

    def placement(self, service: str, fleet: Fleet) -> Placement:
        """What scheduling one service needs to know."""
        (found,) = (each for each in self.services if each.service == service)
        return Placement(
            service=found.service.partition("/")[2], kind=found.kind, replicas=found.pools,
            spare=_spare(found.kind, set(found.pools), fleet, self.places),
        )  # fmt: skip


def plan_fleet(
    wanted: Iterable[Wanted], fleet: Fleet, planner: Planner, *, settings: Settings | None = None,
    objective: Objective | None = None, current: Sequence[Place] = (), progress: Progress | None = None,
) -> FleetPlan:  # fmt: skip
    """Where every service runs. With `current` places, what runs stays as far as it can."""
    services = sorted(wanted, key=lambda each: each.name)
    capacities = Capacities(planner, settings or Settings())
    offered: list[Offered] = []
    for index, each in enumerate(services):
        offered.append(offer(each.intent, each.profiles, fleet, capacities))
        if progress is not None:
            progress(index + 1, len(services))
    _check(offered)
    aim = fleet.objective(objective)
    packed = pack([each.demand for each in offered], fleet.gpus(aim), fleet.nodes(aim), current=current)
    by_service = packed.by_service()
    return FleetPlan(
        objective=aim,
        gpus=packed.gpus,
        gpus_lower_bound=packed.gpus_bound,
        gpus_in_fleet=sum(len(pool.node_names) * pool.gpus_per_node for pool in fleet.pools),
        cost_per_hour=_cost(packed, fleet, offered),
        cost_per_hour_lower_bound=packed.cost_bound if aim is Objective.COST else None,
        optimal=packed.proven or (aim is Objective.COST and packed.cost <= packed.cost_bound * (1 + 1e-9)),
        services=tuple(_service(each, by_service[each.demand.service], fleet) for each in offered),
        nodes=layouts(fleet, packed.places),
        places=packed.places,
        moved=packed.moved,
    )


def _service(offered: Offered, places: Sequence[Place], fleet: Fleet) -> ServicePlan:
    kind = places[0].kind
    pools = Counter(fleet.pool_of(place.node).name for place in places)
    first = next(pool for pool in fleet.pools if pool.name in pools)
    spot = {pool.name for pool in fleet.pools if pool.spot}
    return ServicePlan(
        service=offered.demand.service,
        hardware=offered.hardware[kind],
        kind=kind,
        resource="" if kind == CPU else resource_name(kind.partition("/")[2], first.naming),
        replicas=len(places),
        on_spot=sum(count for name, count in pools.items() if name in spot),
        instances_allowed=offered.instances[kind],
        rate_rps=offered.demand.rate_rps,
        capacity_rps=sum(offered.demand.offers[place.kind].capacity_rps for place in places),
        pools=dict(sorted(pools.items())),
        reasons=offered.reasons,
    )


def _check(offered: Sequence[Offered]) -> None:
    """Every service has at least one option. Raises InfeasibleError with the reasons of those that have none."""
    without = [each for each in offered if not each.demand.options]
    if not without:
        return
    lines = [f"{each.demand.service}: nothing in the fleet carries it ({_why_not(each)})" for each in without]
    raise InfeasibleError(
        "\n".join(lines),
        binding="hardware",
        nearest="profile it on a kind that the fleet has, allow more replicas, more kinds with kserve-ext.dev/hardware, "
        "or a longer slo-p99",
    )


def _why_not(offered: Offered) -> str:
    """What stands in the way of a service without an option: too few replicas allowed, or what is said of each kind."""
    demand = offered.demand
    if demand.offers:
        most = max(demand.offers.values(), key=lambda offer: offer.capacity_rps)
        each = f"a replica on {most.kind} carries {most.capacity_rps:.4g} rps"
        return f"{each}, so {demand.rate_rps:g} rps take more replicas than max-replicas allows"
    told = (reason for reason in offered.reasons if not reason.code.startswith("spot"))
    return "; ".join(f"{reason.field}: {reason.text}" for reason in told)


def _cost(packed: Packed, fleet: Fleet, offered: Sequence[Offered]) -> float | None:
    """What the GPUs in use cost an hour, and the cores of what runs on CPU; None where a price is missing."""
    by_name = {each.demand.service: each.demand for each in offered}
    used = {place.gpu: fleet.pool_of(place.node) for place in packed.places if place.gpu}
    cores: list[tuple[Pool, float]] = [
        (fleet.pool_of(place.node), by_name[place.service].offers[CPU].cpu_cores)
        for place in packed.places
        if place.kind == CPU
    ]
    total = 0.0
    for pool in used.values():
        if pool.price_per_hour is None:
            return None
        total += pool.price_per_hour / pool.gpus_per_node
    for pool, count in cores:
        if pool.price_per_hour is None or pool.cpu_cores == float("inf"):
            return None
        total += pool.price_per_hour * count / pool.cpu_cores
    return total


def _spare(kind: str, pools: set[str], fleet: Fleet, places: Sequence[Place]) -> int:
    """Parts of a kind that are free in some pools, on GPUs as they are then cut."""
    taken: dict[str, int] = {}
    for place in places:
        pool = fleet.pool_of(place.node)
        slot = pool.shape.at(place.kind, place.start) if place.gpu and pool.shape else None
        taken[place.gpu] = taken.get(place.gpu, 0) | (slot.mask if slot else 0)
    spare = 0
    for pool in fleet.pools:
        if pool.name not in pools or pool.shape is None:
            continue
        slots = sorted((slot for slot in pool.shape.slots if slot.kind == kind), key=lambda slot: slot.start)
        for node in pool.node_names:
            for index in range(pool.gpus_per_node):
                used = taken.get(f"{node}/{index}", 0)
                for slot in slots:
                    if not slot.mask & used:
                        used, spare = used | slot.mask, spare + 1
    return spare
