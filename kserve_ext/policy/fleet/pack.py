"""Services onto GPUs: as few as possible, with a proven bound beside, and with few moves where something runs already.

Order: adopt what runs → place the rest where it costs least → make room by moving one or two others before a GPU is
opened. From an empty fleet: several ways of pricing and ordering, then GPUs emptied one by one, then, where all GPUs
are alike and few, an exact search. Pure and deterministic: the order of services and of GPUs changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kserve_ext.errors import InfeasibleError
from kserve_ext.policy.fleet import exact
from kserve_ext.policy.fleet.board import Board, Gpu, Node, Place
from kserve_ext.policy.fleet.bounds import bounds, weights
from kserve_ext.policy.fleet.demand import Demand, Option
from kserve_ext.policy.fleet.keep import adopt, suffices
from kserve_ext.policy.fleet.prices import Priced, simple_prices
from kserve_ext.policy.fleet.repair import empty_gpus, insert_with_moves
from kserve_ext.policy.fleet.shapes import CPU, arrange

MOVES_FOR_ONE = 2  # others that may move for one service that comes or grows
_EXACT_GPUS = 8  # more are not searched through: the bound leaves little to find there
_EXACT_SERVICES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Where every replica goes. `cost` is the sum of weights; bounds are proven, whatever the packer."""

    places: tuple[Place, ...]
    gpus: int
    gpus_bound: int
    cost: float
    cost_bound: float
    moved: tuple[str, ...] = ()  # services that ran elsewhere and were not asked to change
    proven: bool = False  # nothing can take less

    def by_service(self) -> Mapping[str, tuple[Place, ...]]:
        found: dict[str, list[Place]] = {}
        for place in self.places:
            found.setdefault(place.service, []).append(place)
        return {service: tuple(places) for service, places in found.items()}


def pack(
    demands: Iterable[Demand], gpus: Iterable[Gpu], nodes: Iterable[Node], *, current: Iterable[Place] = ()
) -> Packed:
    """Place every service. With `current`, what runs stays where it is as far as it still fits and suffices.

    Raises InfeasibleError naming the services for which there is no room.
    """
    wanted = tuple(sorted(demands, key=lambda demand: demand.service))
    fleet = tuple(sorted(gpus, key=lambda gpu: (gpu.weight, gpu.spot, gpu.name)))
    room = tuple(sorted(nodes, key=lambda node: node.name))
    running = tuple(sorted(current))
    _check_offers(wanted)
    by_cost, by_count = bounds(wanted, fleet, room)
    try:
        board = _continue(wanted, fleet, room, running, by_cost) if running else _fresh(wanted, fleet, room, by_cost)
    except _NoRoomError as error:
        raise _infeasible(error.services, wanted, fleet) from error
    return _result(board, wanted, running, by_cost, by_count)


def _result(
    board: Board, wanted: Sequence[Demand], running: Sequence[Place], by_cost: Priced, by_count: Priced
) -> Packed:
    places = board.all_places()
    before, after = _grouped(running), _grouped(places)
    moved = tuple(
        demand.service
        for demand in wanted
        if demand.service in before
        and after[demand.service] - before[demand.service]
        and suffices(demand, before[demand.service])
    )
    return Packed(
        places=places,
        gpus=board.opened,
        gpus_bound=by_count.whole,
        cost=board.cost,
        cost_bound=by_cost.bound,
        moved=moved,
        proven=board.opened <= by_count.whole and all(gpu.weight == 1.0 for gpu in board.gpus.values()),
    )


# --------------------------------------------------------------------------------------------------- from nothing


def _fresh(wanted: Sequence[Demand], fleet: Sequence[Gpu], room: Sequence[Node], priced: Priced) -> Board:
    beside = _beside(wanted)
    best: Board | None = None
    failure: _NoRoomError | None = None
    for prices in (priced.prices, simple_prices(weights(fleet))):
        board = Board(fleet, room, prices, beside)
        try:
            for demand in _widest_first(wanted, prices):
                _place(board, demand)
        except _NoRoomError as error:
            failure = failure or error
            continue
        empty_gpus(board, wanted, bound=priced.bound)
        if best is None or board.cost < best.cost - 1e-9:
            best = board
        if board.cost <= priced.bound + 1e-6 or (_alike(fleet, wanted) and board.opened <= priced.whole):
            return best
    shorter = _exact(wanted, fleet, room, priced, best, beside)
    if shorter is not None:
        return shorter
    if best is None:
        raise failure or _NoRoomError([])
    return best


def _widest_first(wanted: Sequence[Demand], prices: Mapping[str, float]) -> list[Demand]:
    def key(demand: Demand) -> tuple[float, float, str]:
        cheapest = min(demand.options, key=lambda option: (_cost(option, prices), option.counts))
        return -max(prices.get(kind, 0.0) for kind, _ in cheapest.counts), -_cost(cheapest, prices), demand.service

    return sorted(wanted, key=key)


def _cost(option: Option, prices: Mapping[str, float]) -> float:
    return sum(prices.get(kind, 0.0) * count for kind, count in option.counts)


def _place(board: Board, demand: Demand) -> None:
    if not board.put_best(demand):
        raise _NoRoomError([demand.service])


def _alike(fleet: Sequence[Gpu], wanted: Sequence[Demand]) -> bool:
    """Whether all GPUs are one shape and nothing else binds: then counting slices is all there is."""
    return (
        len({(gpu.shape, gpu.weight) for gpu in fleet}) == 1
        and not any(gpu.spot for gpu in fleet)
        and all(
            not offer.cpu_cores and not offer.memory_bytes and offer.neighbours is None and offer.kind != CPU
            for demand in wanted
            for offer in demand.offers.values()
        )
    )


def _exact(
    wanted: Sequence[Demand], fleet: Sequence[Gpu], room: Sequence[Node], priced: Priced, best: Board | None,
    beside: Mapping[str, frozenset[str]],
) -> Board | None:  # fmt: skip
    """A board with fewer GPUs than `best`, where the exact search can tell."""
    if not fleet or len(wanted) > _EXACT_SERVICES or not _alike(fleet, wanted):
        return None
    weight, shape = fleet[0].weight, fleet[0].shape
    normed = {kind: value / weight for kind, value in priced.prices.items()}
    fewest = max(1, -int(-(priced.bound / weight - 1e-6) // 1))
    for count in range(fewest, min(best.opened if best else len(fleet) + 1, _EXACT_GPUS + 1)):
        found = exact.within(wanted, shape, count, normed)
        if found is not None:
            board = Board(fleet, room, priced.prices, beside)
            _lay_out(board, wanted, found)
            return board
    return None


def _lay_out(board: Board, wanted: Sequence[Demand], found: exact.Exact) -> None:
    """The exact answer's slices at their places, services in order."""
    open_slots: dict[str, list[tuple[Gpu, int]]] = {kind: [] for kind in found.kinds}
    for gpu, counts in zip(board.gpus.values(), found.gpus, strict=False):
        kinds = [kind for kind, count in zip(found.kinds, counts, strict=True) for _ in range(count)]
        for slot in arrange(gpu.shape, kinds) or ():
            open_slots[slot.kind].append((gpu, slot.start))
    for demand in wanted:
        for kind, count in found.options[demand.service].counts:
            for _ in range(count):
                gpu, start = open_slots[kind].pop(0)
                place = Place(service=demand.service, kind=kind, node=gpu.node, gpu=gpu.name, start=start)
                if not board.put_at(place, demand.offers[kind]):
                    raise AssertionError(f"{place}: an arrangement that is not one")


# ------------------------------------------------------------------------------------------------- from what runs


def _continue(
    wanted: Sequence[Demand], fleet: Sequence[Gpu], room: Sequence[Node], running: Sequence[Place], priced: Priced
) -> Board:
    board = Board(fleet, room, priced.prices, _beside(wanted))
    before = _grouped(running)
    waiting = [demand for demand in wanted if not adopt(board, demand, before.get(demand.service, set()))]
    asked = {demand.service for demand in waiting}
    others = {demand.service: demand for demand in wanted if demand.service not in asked}
    for demand in _widest_first(waiting, priced.prices):
        if not insert_with_moves(board, demand, others, most=MOVES_FOR_ONE):
            raise _NoRoomError([demand.service])
    return board


# ----------------------------------------------------------------------------------------------------------- both


class _NoRoomError(Exception):
    def __init__(self, services: list[str]) -> None:
        super().__init__()
        self.services = services


def _grouped(places: Iterable[Place]) -> dict[str, set[Place]]:
    found: dict[str, set[Place]] = {}
    for place in places:
        found.setdefault(place.service, set()).add(place)
    return found


def _beside(wanted: Sequence[Demand]) -> Mapping[str, frozenset[str]]:
    return {
        demand.service: frozenset().union(*(offer.neighbours or () for offer in demand.offers.values()))
        for demand in wanted
    }


def _check_offers(wanted: Sequence[Demand]) -> None:
    without = [demand.service for demand in wanted if not demand.options]
    if without:
        raise InfeasibleError(
            f"{', '.join(without)}: no kind of slice in the fleet carries the rate within the SLO",
            binding="hardware",
            nearest="allow more kinds with kserve-ext.dev/hardware, a longer slo-p99, or more max-replicas",
        )


def _infeasible(services: list[str], wanted: Sequence[Demand], fleet: Sequence[Gpu]) -> InfeasibleError:
    kinds: dict[str, int] = {}
    for demand in wanted:
        if demand.service in services:
            for option in demand.options:
                kinds |= {kind: max(kinds.get(kind, 0), count) for kind, count in option.counts}
    asked = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
    return InfeasibleError(
        f"no room for {', '.join(services)} beside the other {len(wanted) - len(services)} services on "
        f"{len(fleet)} GPUs; any of these would do: {asked}",
        binding="fleet",
        nearest="add GPUs to the fleet, or let the service use kinds that are free (kserve-ext.dev/hardware)",
    )
