"""Where everything lies while it is being packed: the one mutable thing here, used inside one call and never shared.

GPUs that look the same to a packer (shape, weight, spot, what is taken) form a group, so that a place is looked for
among tens of groups and not hundreds of GPUs. A place costs what the GPU's free part loses in worth; an empty GPU
that is opened costs its whole weight, less what its free part is then worth.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kserve_ext.policy.fleet.demand import Demand, Offer, Option
from kserve_ext.policy.fleet.shapes import CPU, Shape, Slot, Worth

_SAME = 1e-9
_TRIED = 60  # options of one service, the cheapest by price: more only where all of them were refused
_Group = tuple[int, float, bool, int]  # shape, weight, spot, taken bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU of the fleet. `weight` is what it counts, or costs an hour, as soon as anything is on it."""

    name: str  # node/index
    node: str
    shape: Shape
    weight: float = 1.0
    spot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Room for the CPU and memory of replicas; infinite where the fleet does not tell."""

    name: str
    cpu_cores: float = float("inf")
    memory_bytes: float = float("inf")
    serves_cpu: bool = True  # whether replicas that need no GPU may run here
    core_weight: float = 0.0  # what one core costs an hour where a replica runs on CPU alone
    spot: bool = False


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Place:
    """One replica: on a slot of a GPU, or on a node's CPU (gpu empty)."""

    service: str
    kind: str
    node: str
    gpu: str = ""
    start: int = 0


class Board:
    """GPUs and nodes with what lies on them."""

    def __init__(
        self, gpus: Sequence[Gpu], nodes: Sequence[Node], prices: Mapping[str, float],
        beside: Mapping[str, frozenset[str]] | None = None,
    ) -> None:  # fmt: skip
        self.beside = beside or {}  # by service: those it was profiled beside on a share
        self.gpus = {gpu.name: gpu for gpu in gpus}
        self.nodes = {node.name: node for node in nodes}
        self.order = {gpu.name: index for index, gpu in enumerate(gpus)}
        self.names = [gpu.name for gpu in gpus]
        self.taken = dict.fromkeys(self.gpus, 0)
        self.tenants: dict[str, dict[Place, Slot]] = {gpu.name: {} for gpu in gpus}
        self.free_cores = {node.name: node.cpu_cores for node in nodes}
        self.free_bytes = {node.name: node.memory_bytes for node in nodes}
        self.places: dict[str, list[Place]] = {}
        self.closed: set[str] = set()  # GPUs on which nothing may be put for now
        self.may_open = True
        self.cost = 0.0
        self._shapes = list(dict.fromkeys(gpu.shape for gpu in gpus))
        self._shape_of = {gpu.name: self._shapes.index(gpu.shape) for gpu in gpus}
        self._worth = [Worth(shape, prices) for shape in self._shapes]
        self._full = [shape.full for shape in self._shapes]
        self._whole = [max(worth(full), _SAME) for worth, full in zip(self._worth, self._full, strict=True)]
        self._slots: dict[tuple[int, str], list[Slot]] = {}
        for index, shape in enumerate(self._shapes):
            for slot in shape.slots:
                self._slots.setdefault((index, slot.kind), []).append(slot)
        self._floors = self._least_costs(gpus, prices)
        self._core_floor = min((node.core_weight for node in nodes if node.serves_cpu), default=0.0)
        self._groups: dict[_Group, list[int]] = {}
        for gpu in gpus:
            insort(self._groups.setdefault(self._group(gpu), []), self.order[gpu.name])

    @property
    def opened(self) -> int:
        """GPUs with anything on them."""
        return sum(1 for taken in self.taken.values() if taken)

    def put(self, demand: Demand, option: Option, *, most: float = float("inf")) -> float | None:
        """Place every replica of an option where it costs least; what that costs, or None and nothing is changed.

        None also where it would cost more than `most`.
        """
        least, total, begun = demand.on_demand_least(option), 0.0, len(self.places.get(demand.service, ()))
        replicas = sorted(
            (kind for kind, count in option.counts for _ in range(count)),
            key=lambda kind: (-demand.offers[kind].capacity_rps, kind),
        )
        for index, kind in enumerate(replicas):
            offer = demand.offers[kind]
            cost = self._put_one(demand.service, offer, may_spot=offer.spot and index >= least)
            if cost is None or total + cost > most + _SAME:
                for place in self.places.get(demand.service, [])[begun:]:
                    self.remove(place, demand)
                if not self.places.get(demand.service, True):
                    del self.places[demand.service]
                return None
            total += cost
        return total

    def put_best(self, demand: Demand, *, may_open: bool = True) -> bool:
        """Place a service with the option that costs least; whether any fits. Without `may_open` no GPU is opened.

        A slice never costs less than its price, so the options are tried by the sum of their prices and not further
        than the best one found.
        """
        self.may_open = may_open
        best: tuple[float, int, Option] | None = None
        priced = ((self._floor(demand, option), option) for option in demand.options)
        ordered = sorted(priced, key=lambda one: (one[0], one[1].replicas, one[1].counts))
        for number, (floor, option) in enumerate(ordered):
            if best is not None and (floor > best[0] + _SAME or number >= _TRIED):
                break
            cost = self.put(demand, option, most=best[0] if best else float("inf"))
            if cost is not None:
                self.clear(demand)
                if best is None or (round(cost, 9), option.replicas) < best[:2]:
                    best = (round(cost, 9), option.replicas, option)
        done = best is not None and self.put(demand, best[2]) is not None
        self.may_open = True
        return done

    def put_at(self, place: Place, offer: Offer) -> bool:
        """Place one replica exactly there, if that is free."""
        if place.kind == CPU:
            if place.node not in self.nodes or not self._room(place.node, offer):
                return False
            self._book(place, offer, 1)
            return True
        gpu = self.gpus.get(place.gpu)
        slot = gpu.shape.at(place.kind, place.start) if gpu else None
        if gpu is None or slot is None or gpu.node != place.node or slot.mask & self.taken[gpu.name]:
            return False
        if not self._room(gpu.node, offer) or not self._together(gpu.name, place.service, offer):
            return False
        self._take(gpu, slot, place, offer)
        return True

    def remove(self, place: Place, demand: Demand) -> None:
        """Take one replica away."""
        offer = demand.offers[place.kind]
        if place.kind == CPU:
            self._book(place, offer, -1)
            return
        gpu = self.gpus[place.gpu]
        slot = self.tenants[gpu.name].pop(place)
        self._regroup(gpu, self.taken[gpu.name] & ~slot.mask)
        self._book(place, offer, -1)

    def clear(self, demand: Demand) -> list[Place]:
        """Take a whole service away; where it was."""
        places = self.places.pop(demand.service, [])
        self.places[demand.service] = list(places)
        for place in places:
            self.remove(place, demand)
        del self.places[demand.service]
        return places

    def restore(self, places: Iterable[Place], demand: Demand) -> None:
        """Put a service back where it was."""
        for place in places:
            if not self.put_at(place, demand.offers[place.kind]):
                raise AssertionError(f"{place} was free a moment ago")

    def all_places(self) -> tuple[Place, ...]:
        """Every replica, in a fixed order."""
        return tuple(sorted(place for places in self.places.values() for place in places))

    def worth_taken(self, name: str) -> float:
        """What lies on a GPU, as a share of what it can hold."""
        index = self._shape_of[name]
        return 1 - self._worth[index](self._full[index] & ~self.taken[name]) / self._whole[index]

    # ------------------------------------------------------------------------------------------------------- inside

    def _least_costs(self, gpus: Sequence[Gpu], prices: Mapping[str, float]) -> Mapping[str, float]:
        """By kind, the least that a slot of it can cost on any of the GPUs."""
        found: dict[str, float] = {}
        for index, weight in {(self._shape_of[gpu.name], gpu.weight) for gpu in gpus}:
            for kind in self._shapes[index].kinds:
                cost = weight * prices.get(kind, 0.0) / self._whole[index]
                found[kind] = min(found.get(kind, cost), cost)
        return found

    def _floor(self, demand: Demand, option: Option) -> float:
        return sum(
            count * (self._core_floor * demand.offers[CPU].cpu_cores if kind == CPU else self._floors.get(kind, 0.0))
            for kind, count in option.counts
        )

    def _put_one(self, service: str, offer: Offer, *, may_spot: bool) -> float | None:
        if offer.kind == CPU:
            return self._put_on_cpu(service, offer, may_spot=may_spot)
        best: tuple[float, bool, float, float, int, int] | None = None
        found: tuple[Gpu, Slot] | None = None
        for (index, weight, spot, taken), members in self._groups.items():
            slots = self._slots.get((index, offer.kind))
            if not slots or not members or (spot and not may_spot) or (not taken and not self.may_open):
                continue
            gpu: Gpu | None = None
            worth, free = self._worth[index], self._full[index] & ~taken
            before = weight * (worth(free) / self._whole[index] if taken else 1.0)
            for slot in slots:
                if slot.mask & taken:
                    continue
                after = weight * worth(free & ~slot.mask) / self._whole[index]
                key = (round(before - after, 9), not taken, before, weight, members[0], -slot.start)
                if best is not None and key >= best:
                    continue
                gpu = gpu or self._first(members, service, offer)
                if gpu is None:
                    break
                best, found = key, (gpu, slot)
        if found is None or best is None:
            return None
        gpu, slot = found
        self._take(
            gpu, slot, Place(service=service, kind=offer.kind, node=gpu.node, gpu=gpu.name, start=slot.start), offer
        )
        return best[0]

    def _put_on_cpu(self, service: str, offer: Offer, *, may_spot: bool) -> float | None:
        fit = [
            node
            for node in self.nodes.values()
            if node.serves_cpu and (may_spot or not node.spot) and self._room(node.name, offer)
        ]
        if not fit:
            return None
        node = min(fit, key=lambda node: (node.core_weight, self.free_cores[node.name], node.name))
        cost = node.core_weight * offer.cpu_cores
        self._book(Place(service=service, kind=CPU, node=node.name, start=self._next(service, node.name)), offer, 1)
        return cost

    def _next(self, service: str, node: str) -> int:
        """A number that tells replicas of one service on one node's CPU apart."""
        used = {place.start for place in self.places.get(service, ()) if place.kind == CPU and place.node == node}
        return next(number for number in range(len(used) + 1) if number not in used)

    def _first(self, members: Sequence[int], service: str, offer: Offer) -> Gpu | None:
        for index in members:
            name = self.names[index]
            gpu = self.gpus[name]
            if name not in self.closed and self._room(gpu.node, offer) and self._together(name, service, offer):
                return gpu
        return None

    def _together(self, name: str, service: str, offer: Offer) -> bool:
        """Whether a share may be beside what lies there: each was profiled under the other's load."""
        if offer.neighbours is None:
            return True
        others = {place.service for place in self.tenants[name]} - {service}
        return others <= offer.neighbours and all(service in self.beside.get(other, frozenset()) for other in others)

    def _room(self, node: str, offer: Offer) -> bool:
        return self.free_cores[node] + _SAME >= offer.cpu_cores and self.free_bytes[node] + _SAME >= offer.memory_bytes

    def _take(self, gpu: Gpu, slot: Slot, place: Place, offer: Offer) -> None:
        self.tenants[gpu.name][place] = slot
        self._regroup(gpu, self.taken[gpu.name] | slot.mask)
        self._book(place, offer, 1)

    def _book(self, place: Place, offer: Offer, sign: int) -> None:
        if place.kind == CPU:
            self.cost += sign * self.nodes[place.node].core_weight * offer.cpu_cores
        self.free_cores[place.node] -= sign * offer.cpu_cores
        self.free_bytes[place.node] -= sign * offer.memory_bytes
        if sign > 0:
            self.places.setdefault(place.service, []).append(place)
        else:
            self.places[place.service].remove(place)

    def _group(self, gpu: Gpu) -> _Group:
        return (self._shape_of[gpu.name], gpu.weight, gpu.spot, self.taken[gpu.name])

    def _regroup(self, gpu: Gpu, taken: int) -> None:
        members = self._groups[self._group(gpu)]
        members.remove(self.order[gpu.name])
        if not members:
            del self._groups[self._group(gpu)]
        self.cost += gpu.weight * (bool(taken) - bool(self.taken[gpu.name]))
        self.taken[gpu.name] = taken
        insort(self._groups.setdefault(self._group(gpu), []), self.order[gpu.name])
