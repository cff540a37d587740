"""What a slice is worth, and from it a lower bound on what any packing must take.

Give each kind of slice a price such that no GPU can hold slices worth more than the GPU itself. Then whatever is
packed, a service pays at least the price of its cheapest option and a GPU collects at most its weight, so the sum of
the cheapest options is a lower bound (linear-programming duality; Gilmore and Gomory 1961 for cutting stock). Any such
prices are proof; these are improved step by step until the bound stops rising.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.policy.fleet.demand import Demand
from kserve_ext.policy.fleet.shapes import CPU, Shape, patterns

_STEPS = 150
_TOLERANCE = 1e-6  # a bound of 2.0000001 proves 2, not 3: sums of floats are off by less than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """Prices by kind, in the unit of the weights, and the bound they prove."""

    prices: Mapping[str, float]
    bound: float

    @property
    def whole(self) -> int:
        """The bound in whole GPUs, where every GPU weighs one."""
        return math.ceil(self.bound - _TOLERANCE)


def price(
    demands: Sequence[Demand], shapes: Mapping[Shape, float], *, steady: Mapping[Shape, float] | None = None,
    cpu_price: float = 0.0,
) -> Priced:  # fmt: skip
    """The best prices found, for GPUs of these shapes and weights; a core for a CPU replica costs `cpu_price`.

    `steady` are the shapes and weights without spot. What must not be on spot pays the same prices times the largest
    factor that still leaves no steady GPU holding more than its weight: that is feasible, so the bound stays proven.
    """
    kinds = tuple(sorted({kind for shape in shapes for kind in shape.kinds if any(kind in d.offers for d in demands)}))
    staying = [(_patterns(shape, kinds), weight) for shape, weight in (shapes if steady is None else steady).items()]
    table = _Table(demands, kinds, cpu_price, staying)
    if not kinds:
        return Priced(prices={}, bound=table.bound(np.zeros(0))[0])
    limits = [(_patterns(shape, kinds), weight) for shape, weight in sorted(shapes.items(), key=lambda s: s[0].slots)]
    best = max((_climb(table, start, limits) for start in _starts(shapes, kinds)), key=lambda found: found[0])
    return Priced(prices=dict(zip(kinds, best[1].tolist(), strict=True)), bound=best[0])


def simple_prices(shapes: Mapping[Shape, float]) -> Mapping[str, float]:
    """Prices by the share of the GPU's memory that a slice takes: what a packer uses beside the bound's own."""
    return {
        slot.kind: weight * slot.mask.bit_count() / shape.full.bit_count()
        for shape, weight in shapes.items()
        for slot in shape.slots
    }


def _patterns(shape: Shape, kinds: tuple[str, ...]) -> NDArray[np.float64]:
    return np.asarray(patterns(shape, kinds), np.float64)


def _starts(shapes: Mapping[Shape, float], kinds: tuple[str, ...]) -> list[NDArray[np.float64]]:
    by_memory = simple_prices(shapes)
    flat = {kind: 1.0 / max(_most(shape, kind) for shape in shapes if kind in shape.kinds) for kind in kinds}
    return [np.array([by_memory[kind] for kind in kinds]), np.array([flat[kind] for kind in kinds])]


def _most(shape: Shape, kind: str) -> int:
    return max(counts[0] for counts in patterns(shape, (kind,)))


def _feasible(prices: NDArray[np.float64], limits: Sequence[tuple[NDArray[np.float64], float]]) -> NDArray[np.float64]:
    """The prices scaled so that no GPU holds more than its weight, and each then raised as far as that allows."""
    prices = np.maximum(prices, 1e-9)
    prices = prices / max(float((counts @ prices).max()) / weight for counts, weight in limits)
    for index in range(len(prices)):
        room = math.inf
        for counts, weight in limits:
            used = counts[:, index] > 0
            if used.any():
                room = min(room, float(((weight - counts[used] @ prices) / counts[used, index]).min()))
        prices[index] += max(0.0, room if math.isfinite(room) else 0.0)
    return prices


def _climb(
    table: _Table, start: NDArray[np.float64], limits: Sequence[tuple[NDArray[np.float64], float]]
) -> tuple[float, NDArray[np.float64]]:
    """Projected subgradient ascent: kinds that the cheapest options take more of get dearer."""
    prices = _feasible(start, limits)
    best_bound, best = -math.inf, prices
    stale, step = 0, 0.3
    for _ in range(_STEPS):
        bound, taken = table.bound(prices)
        if bound > best_bound * (1 + 1e-7) + 1e-12:
            best_bound, best, stale = bound, prices, 0
        else:
            stale += 1
        if stale > 6:
            step, stale, prices = step / 2, 0, best
            bound, taken = table.bound(prices)
            if step < 1e-4:
                break
        total = float(taken @ prices)
        if total <= 0:
            break
        share = taken * prices / total
        prices = _feasible(prices * np.exp(step * (share - share.mean())), limits)
    return best_bound, best


class _Table:
    """All options of all services as one matrix, so that the bound is a product and a minimum for each service."""

    def __init__(
        self, demands: Sequence[Demand], kinds: tuple[str, ...], cpu_price: float,
        staying: Sequence[tuple[NDArray[np.float64], float]],
    ) -> None:  # fmt: skip
        self.staying = staying
        rows: list[list[float]] = []
        steady: list[list[float]] = []
        fixed: list[float] = []
        firsts: list[int] = []
        for demand in demands:
            firsts.append(len(rows))
            for counts, bound_to_stay in _count_rows(demand):
                rows.append([counts.get(kind, 0.0) for kind in kinds])
                steady.append([bound_to_stay.get(kind, 0.0) for kind in kinds])
                fixed.append(cpu_price * counts.get(CPU, 0.0) * _cores(demand))
        self.counts = np.asarray(rows, np.float64).reshape(len(rows), len(kinds))
        self.steady = np.asarray(steady, np.float64).reshape(self.counts.shape)
        self.fixed, self.firsts = np.asarray(fixed), np.asarray(firsts, int)

    def bound(self, prices: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The sum of the cheapest options, and how many slices of each kind they take."""
        if not len(self.counts):
            return 0.0, np.zeros_like(prices)
        factor = self._factor(prices)
        costs = self.counts @ prices + (factor - 1) * (self.steady @ prices) + self.fixed
        cheapest = np.minimum.reduceat(costs, self.firsts)
        owner = np.repeat(np.arange(len(self.firsts)), np.diff([*self.firsts, len(costs)]))
        first_cheapest = np.unique(np.where(costs <= cheapest[owner] + 1e-12, owner, -1), return_index=True)
        chosen = first_cheapest[1][first_cheapest[0] >= 0]
        return float(cheapest.sum()), (self.counts[chosen] + (factor - 1) * self.steady[chosen]).sum(axis=0)

    def _factor(self, prices: NDArray[np.float64]) -> float:
        if not self.steady.any():
            return 1.0
        tops = [(float((counts @ prices).max()), weight) for counts, weight in self.staying]
        return max(1.0, min((weight / top for top, weight in tops if top > 0), default=1.0))


def _count_rows(demand: Demand) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Options as counts by kind, and how many of those must not be on spot.

    Where not all combinations are listed, fractions of slices stand for all of them.
    """
    if demand.fluid:
        return [
            ({offer.kind: demand.rate_rps / offer.capacity_rps}, {})
            for offer in demand.offers.values()
            if offer.capacity_rps > 0
        ]
    rows = []
    for option in demand.options:
        counts = {kind: float(count) for kind, count in option.counts}
        alike = len(option.counts) == 1  # of a mix the smallest ones may be those on spot: then nothing is claimed
        steady = {option.counts[0][0]: float(demand.on_demand_least(option))} if alike else {}
        rows.append((counts, steady))
    return rows


def _cores(demand: Demand) -> float:
    offer = demand.offers.get(CPU)
    return offer.cpu_cores if offer else 0.0
