"""Changes to a board that already holds something: a GPU emptied, or room made by moving one or two services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, islice

from kserve_ext.policy.fleet.board import Board, Place
from kserve_ext.policy.fleet.demand import Demand

_ATTEMPTS = 150  # GPUs that are tried to be emptied, the emptiest first
_SINGLES, _PAIRS = 200, 300  # services, and pairs of them, that are tried to be moved for another one


def empty_gpus(board: Board, demands: Sequence[Demand], *, bound: float) -> None:
    """Empty GPUs for good, the emptiest first, where all that lies there finds room on others that are open.

    Stops where a whole GPU less would be below `bound`: nothing is left to find.
    """
    by_name = {demand.service: demand for demand in demands}
    tried: set[str] = set()
    while len(tried) < _ATTEMPTS:
        left = [name for name, taken in board.taken.items() if taken and name not in tried]
        if not left:
            return
        if board.cost - min(board.gpus[name].weight for name in left) < bound - 1e-6:
            return
        name = min(left, key=lambda name: (board.worth_taken(name), -board.order[name]))
        tried.add(name)
        _empty(board, name, by_name)


def _empty(board: Board, name: str, by_name: Mapping[str, Demand]) -> None:
    """Place what lies on a GPU anew without that GPU, and keep it so where all then costs less."""
    cost = board.cost
    services = sorted({place.service for place in board.tenants[name]}, key=lambda s: (-len(board.places[s]), s))
    there = {each for each, taken in board.taken.items() if taken}  # may be used again, if clearing leaves them empty
    before = {service: board.clear(by_name[service]) for service in services}
    board.closed = {each for each, taken in board.taken.items() if not taken and each not in there} | {name}
    placed = []
    for service in services:
        if not board.put_best(by_name[service]) or board.cost >= cost - 1e-9:
            if service in board.places:
                placed.append(service)
            break
        placed.append(service)
    board.closed = set()
    if len(placed) < len(services) or board.cost >= cost - 1e-9:
        _back(board, before, placed, by_name)


def insert_with_moves(board: Board, demand: Demand, others: Mapping[str, Demand], *, most: int) -> bool:
    """Place a service; before a GPU more is taken for it, up to `most` others may move. Whether it found a place."""
    return (
        board.put_best(demand, may_open=False)
        or _with_moves(board, demand, others, most=most, most_cost=board.cost)
        or board.put_best(demand)
        or _with_moves(board, demand, others, most=most, most_cost=float("inf"))
    )


def _with_moves(board: Board, demand: Demand, others: Mapping[str, Demand], *, most: int, most_cost: float) -> bool:
    """Whether the service fits once one, or two, others are elsewhere, and all is within `most_cost` then."""
    movable = _movable(board, others)[:_SINGLES]
    for count, tries in ((1, _SINGLES), (2, _PAIRS))[:most]:
        for group in islice(combinations(movable, count), tries):
            if _swap(board, demand, group, others, most_cost):
                return True
    return False


def _movable(board: Board, others: Mapping[str, Demand]) -> list[str]:
    """Services by how little there is to move."""
    return sorted((name for name in board.places if name in others), key=lambda name: (len(board.places[name]), name))


def _swap(board: Board, demand: Demand, group: tuple[str, ...], others: Mapping[str, Demand], most_cost: float) -> bool:
    """Place the service first and the group after it; nothing is changed where that does not fit or costs too much."""
    before = {service: board.clear(others[service]) for service in group}
    by_name = {**others, demand.service: demand}
    placed = []
    for service in (demand.service, *group):
        if not board.put_best(by_name[service]) or board.cost > most_cost + 1e-9:
            if service in board.places:
                placed.append(service)
            break
        placed.append(service)
    else:
        return True
    _back(board, before, placed, by_name)
    return False


def _back(
    board: Board, before: Mapping[str, list[Place]], placed: Sequence[str], by_name: Mapping[str, Demand]
) -> None:
    for service in placed:
        board.clear(by_name[service])
    for service, places in before.items():
        board.restore(places, by_name[service])
