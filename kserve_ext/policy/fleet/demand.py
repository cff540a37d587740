"""What a packer is asked to place: services with the combinations of slices that carry each of them.

Offers (what one replica carries on a kind of slice) in, options (how many slices of which kinds carry the rate) out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_SMALL = 1e-9  # relative: a rate that divides evenly takes no further slice
MOST_OPTIONS = 3_000  # combinations of one service beyond which mixed ones are no longer listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one replica does on one kind of slice."""

    kind: str  # a100-80gb/1g.10gb, l4/gpu, cpu
    capacity_rps: float
    cpu_cores: float = 0.0
    memory_bytes: float = 0.0
    neighbours: frozenset[str] | None = None  # a share: services it was profiled beside; None: isolated
    spot: bool = True  # may run where it can be interrupted, as far as `Demand.on_demand_share` allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to carry a service: replicas by kind, ascending by kind."""

    counts: tuple[tuple[str, int], ...]

    @property
    def replicas(self) -> int:
        return sum(count for _, count in self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One service to place. With `fluid` the options are not all there are: any mix of offers may be worth looking at."""

    service: str
    rate_rps: float
    offers: Mapping[str, Offer]
    options: tuple[Option, ...]
    on_demand_share: float = 0.0  # of the rate, that must be carried where nothing is interrupted
    fluid: bool = field(default=False)

    def on_demand_least(self, option: Option) -> int:
        """Replicas of an option that must not be on spot, those that carry most counted first."""
        wanted_rps, count = self.on_demand_share * self.rate_rps * (1 - _SMALL), 0
        for capacity_rps in sorted(
            (self.offers[kind].capacity_rps for kind, many in option.counts for _ in range(many)), reverse=True
        ):
            if wanted_rps <= 0:
                break
            wanted_rps, count = wanted_rps - capacity_rps, count + 1
        return count


def uniform(rate_rps: float, offers: Iterable[Offer], *, least: int = 1, most: int | None = None) -> tuple[Option, ...]:
    """All replicas on one kind of slice, as one InferenceService has them: at least `least`, at most `most`."""
    found = []
    for offer in sorted(offers, key=lambda offer: offer.kind):
        if offer.capacity_rps > 0:
            needed = max(least, needed_for(rate_rps, offer.capacity_rps))
            if most is None or needed <= most:
                found.append(Option(counts=((offer.kind, needed),)))
    return tuple(found)


def mixed(rate_rps: float, offers: Iterable[Offer]) -> tuple[tuple[Option, ...], bool]:
    """Every combination of slices that carries the rate and from which none can be left out; whether that is all.

    A rate that needs very many slices has too many combinations: then those made of one kind and a rest are listed.
    """
    usable = sorted((offer for offer in offers if offer.capacity_rps > 0), key=lambda offer: offer.kind)
    found: list[Option] = []
    for counts in _combinations(rate_rps, [offer.capacity_rps for offer in usable]):
        found.append(_option(usable, counts))
        if len(found) > MOST_OPTIONS:
            return _one_and_rest(rate_rps, usable), False
    return tuple(dict.fromkeys(found)), True


def needed_for(rate_rps: float, capacity_rps: float) -> int:
    """Slices that carry a rate, at least one."""
    return max(1, math.ceil(rate_rps / capacity_rps * (1 - _SMALL)))


def _combinations(rate_rps: float, capacities: list[float]) -> Iterator[tuple[int, ...]]:
    """Minimal counts: taking any one slice away leaves too little."""

    def walk(index: int, left_rps: float, counts: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if index == len(capacities) - 1:
            last = needed_for(left_rps, capacities[index]) if left_rps > _SMALL * rate_rps else 0
            full = (*counts, last)
            spare = sum(n * c for n, c in zip(full, capacities, strict=True)) - rate_rps
            if all(not n or c > spare + _SMALL * rate_rps for n, c in zip(full, capacities, strict=True)):
                yield full
            return
        most = needed_for(left_rps, capacities[index]) if left_rps > _SMALL * rate_rps else 0
        for count in range(most + 1):
            yield from walk(index + 1, left_rps - count * capacities[index], (*counts, count))

    if capacities:
        yield from walk(0, rate_rps, ())


def _one_and_rest(rate_rps: float, offers: list[Offer]) -> tuple[Option, ...]:
    found = []
    for bulk, offer in enumerate(offers):
        whole = int(rate_rps / offer.capacity_rps * (1 + _SMALL))
        for fewer in range(min(whole, 2) + 1):
            rest_rps = rate_rps - (whole - fewer) * offer.capacity_rps
            for counts in _combinations(rest_rps, [each.capacity_rps for each in offers]):
                total = [count + (whole - fewer) * (index == bulk) for index, count in enumerate(counts)]
                found.append(_option(offers, tuple(total)))
                if len(found) > MOST_OPTIONS * (bulk + 1) // len(offers):
                    break
    return tuple(dict.fromkeys(found))


def _option(offers: list[Offer], counts: tuple[int, ...]) -> Option:
    return Option(counts=tuple((offer.kind, n) for offer, n in zip(offers, counts, strict=True) if n))
