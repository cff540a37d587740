"""Proof for small fleets: the fewest GPUs of one shape that carry all services, by trying all that could matter.

Services are added one by one; what is kept is the set of slice totals that are possible so far, without totals that
take no less of any kind than another, and without those that cannot end within the GPUs allowed. Gives up (None) when
more than `most_states` totals would have to be kept: a packer's answer then stands with its lower bound alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kserve_ext.policy.fleet.demand import Demand, Option
from kserve_ext.policy.fleet.shapes import Shape, patterns

_TOLERANCE = 1e-6
_Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """One option for each service, and how many slices of each of `kinds` every GPU holds."""

    options: Mapping[str, Option]
    kinds: tuple[str, ...]
    gpus: tuple[_Counts, ...]


def within(
    demands: Sequence[Demand], shape: Shape, gpus: int, prices: Mapping[str, float], *, most_states: int = 4_000
) -> Exact | None:
    """A choice that fits on `gpus` GPUs, or None where there is none or it would take too long to know.

    `prices` are dual prices (no GPU holds slices worth more than one): they tell early what cannot end in time.
    """
    kinds = tuple(sorted(shape.kinds & {kind for demand in demands for kind in demand.offers}))
    costs = [prices.get(kind, 0.0) for kind in kinds]
    fit = _Fit(shape, kinds, costs)
    ordered = sorted(demands, key=lambda demand: (len(demand.options), demand.service))
    rows = [[(_counts(option, kinds), option) for option in demand.options] for demand in ordered]
    rest = [0.0] * (len(rows) + 1)
    for index in reversed(range(len(rows))):
        rest[index] = rest[index + 1] + min(_cost(counts, costs) for counts, _ in rows[index])
    layers: list[dict[_Counts, tuple[_Counts, Option]]] = []
    states: list[_Counts] = [(0,) * len(kinds)]
    for index, options in enumerate(rows):
        reached: dict[_Counts, tuple[_Counts, Option]] = {}
        for state in states:
            for counts, option in options:
                total = tuple(map(sum, zip(state, counts, strict=True)))
                if total not in reached and _cost(total, costs) + rest[index + 1] <= gpus + _TOLERANCE:
                    reached[total] = (state, option)
        if len(reached) > 20 * most_states:
            return None
        states = [total for total in _least(list(reached)) if fit.within(total, gpus)]
        if not states or len(states) > most_states:
            return None
        layers.append(reached)
    best = min(states)
    held = fit.layout(best, gpus)
    chosen: dict[str, Option] = {}
    for demand, layer in zip(reversed(ordered), reversed(layers), strict=True):
        best, option = layer[best]
        chosen[demand.service] = option
    return Exact(options=chosen, kinds=kinds, gpus=held)


def _counts(option: Option, kinds: tuple[str, ...]) -> _Counts:
    by_kind = dict(option.counts)
    return tuple(by_kind.get(kind, 0) for kind in kinds)


def _cost(counts: _Counts, costs: Sequence[float]) -> float:
    return sum(count * cost for count, cost in zip(counts, costs, strict=True))


def _least(totals: list[_Counts]) -> list[_Counts]:
    """The totals that do not take at least as much of every kind as another one."""
    kept: list[_Counts] = []
    for total in sorted(totals, key=lambda total: (sum(total), total)):
        if not any(all(a <= b for a, b in zip(known, total, strict=True)) for known in kept):
            kept.append(total)
    return kept


class _Fit:
    """Whether, and how, slices fit on GPUs of one shape, remembered."""

    def __init__(self, shape: Shape, kinds: tuple[str, ...], costs: Sequence[float]) -> None:
        self.held = [pattern for pattern in patterns(shape, kinds) if any(pattern)]
        self.costs = costs
        self.known: dict[tuple[_Counts, int], _Counts | None] = {}
        self.steps = [400_000]  # of search in all: beyond it nothing more is proven

    def within(self, counts: _Counts, gpus: int) -> bool:
        return not any(counts) or self._pattern(counts, gpus) is not None

    def layout(self, counts: _Counts, gpus: int) -> tuple[_Counts, ...]:
        """What each GPU holds."""
        found = []
        while any(counts):
            pattern = self._pattern(counts, gpus)
            if pattern is None:
                raise ValueError("does not fit")
            found.append(tuple(map(min, zip(counts, pattern, strict=True))))
            counts = tuple(max(0, a - b) for a, b in zip(counts, pattern, strict=True))
            gpus -= 1
        return tuple(found)

    def _pattern(self, counts: _Counts, gpus: int) -> _Counts | None:
        """What the first of the GPUs may hold so that the rest still fits; None where nothing does."""
        key = (counts, gpus)
        if key in self.known:
            return self.known[key]
        self.steps[0] -= 1
        found = None
        if gpus > 0 and self.steps[0] > 0 and _cost(counts, self.costs) <= gpus + _TOLERANCE:
            hardest = next(index for index in reversed(range(len(counts))) if counts[index])
            useful = [pattern for pattern in self.held if pattern[hardest]]
            useful.sort(key=lambda pattern: -_cost(tuple(map(min, zip(counts, pattern, strict=True))), self.costs))
            for pattern in useful:
                left = tuple(max(0, a - b) for a, b in zip(counts, pattern, strict=True))
                if not any(left) or self._pattern(left, gpus - 1) is not None:
                    found = pattern
                    break
        self.known[key] = found
        return found
