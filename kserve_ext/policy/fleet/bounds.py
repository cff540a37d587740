"""What any packing must take at least: GPUs by count, and cost with GPUs taken whole.

Services and GPUs in, two priced bounds out, both proven by duality; see `prices`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kserve_ext.policy.fleet.board import Gpu, Node
from kserve_ext.policy.fleet.demand import Demand, Option
from kserve_ext.policy.fleet.prices import Priced, price
from kserve_ext.policy.fleet.shapes import Shape


def bounds(wanted: Sequence[Demand], fleet: Sequence[Gpu], room: Sequence[Node]) -> tuple[Priced, Priced]:
    """Prices and bound on what is kept small, and on the number of GPUs; the same where every GPU weighs one."""
    shapes = weights(fleet)
    steady = weights([gpu for gpu in fleet if not gpu.spot])
    core = min((node.core_weight for node in room if node.serves_cpu), default=0.0)
    by_cost = price(wanted, shapes, steady=steady, cpu_price=core)
    if all(gpu.weight == 1.0 for gpu in fleet):
        return by_cost, by_cost
    by_count = price(wanted, dict.fromkeys(shapes, 1.0))
    return _in_whole_gpus(by_cost, by_count, wanted, shapes, steady), by_count


def weights(fleet: Sequence[Gpu]) -> dict[Shape, float]:
    """The least weight of a GPU of each shape."""
    found: dict[Shape, float] = {}
    for gpu in fleet:
        found[gpu.shape] = min(found.get(gpu.shape, gpu.weight), gpu.weight)
    return found


def _in_whole_gpus(
    by_cost: Priced, by_count: Priced, wanted: Sequence[Demand], shapes: Mapping[Shape, float],
    steady: Mapping[Shape, float],
) -> Priced:  # fmt: skip
    """The bound on cost with GPUs taken whole: as many as the count proves, those that must stay at their price."""
    staying = 0
    if steady and any(demand.on_demand_share > 0 for demand in wanted):
        only = [
            replace(demand, options=tuple(_staying(demand, option) for option in demand.options))
            for demand in wanted
            if demand.on_demand_share > 0 and not demand.fluid
        ]
        staying = price([each for each in only if each.options], dict.fromkeys(steady, 1.0)).whole
    rest = max(0, by_count.whole - staying)
    least = staying * min(steady.values(), default=0.0) + rest * min(shapes.values())
    return replace(by_cost, bound=max(by_cost.bound, least))


def _staying(demand: Demand, option: Option) -> Option:
    """The replicas of an option that must not be on spot; of a mix none is claimed."""
    if len(option.counts) != 1:
        return Option(counts=())
    return Option(counts=((option.counts[0][0], demand.on_demand_least(option)),))
