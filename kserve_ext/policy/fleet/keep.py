"""What runs already: which of its places a service keeps, and whether they are still enough."""

from __future__ import annotations

from kserve_ext.policy.fleet.board import Board, Place
from kserve_ext.policy.fleet.demand import Demand


def adopt(board: Board, demand: Demand, places: set[Place]) -> bool:
    """Leave a service where it runs if that suffices, without the replicas it no longer needs."""
    if not places or not suffices(demand, places):
        return False
    kept = _needed(demand, places)
    done: list[Place] = []
    for place in kept:
        if not board.put_at(place, demand.offers[place.kind]):
            for each in done:
                board.remove(each, demand)
            board.places.pop(demand.service, None)
            return False
        done.append(place)
    return _enough_on_demand(board, demand) or not board.clear(demand)


def _needed(demand: Demand, places: set[Place]) -> list[Place]:
    """The fewest of the places that still match an option, the first by name."""
    best: list[Place] = []
    for option in demand.options:
        left, kept = dict(option.counts), []
        for place in sorted(places):
            if left.get(place.kind, 0):
                left[place.kind] -= 1
                kept.append(place)
        if not any(left.values()) and (not best or len(kept) < len(best)):
            best = kept
    return best


def suffices(demand: Demand, places: set[Place]) -> bool:
    """Whether these places carry a service, as one of its options does."""
    return all(place.kind in demand.offers for place in places) and bool(_needed(demand, places))


def _enough_on_demand(board: Board, demand: Demand) -> bool:
    steady_rps = sum(
        demand.offers[place.kind].capacity_rps
        for place in board.places[demand.service]
        if not (board.gpus[place.gpu].spot if place.gpu else board.nodes[place.node].spot)
    )
    return steady_rps >= demand.on_demand_share * demand.rate_rps * (1 - 1e-9)
