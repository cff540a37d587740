"""Made-up fleets and services, and an independent check that a packing is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product

from hypothesis import strategies as st

from kserve_ext.policy.fleet.board import Gpu, Place
from kserve_ext.policy.fleet.demand import Demand, Offer, uniform
from kserve_ext.policy.fleet.shapes import mig_shape
from kserve_ext.policy.gpu.mig import BY_KEY, GpuModel

A100 = BY_KEY["a100-80gb"]
A30 = BY_KEY["a30"]


def cards(count: int, model: GpuModel = A100, *, spot: bool = False, weight: float = 1.0, node: str = "n") -> list[Gpu]:
    return [
        Gpu(name=f"{node}/{index:02}", node=node, shape=mig_shape(model), spot=spot, weight=weight)
        for index in range(count)
    ]


def service(name: str, rate_rps: float, capacities: dict[str, float], *, model: GpuModel = A100, on_demand: float = 0.0,
            most: int | None = None) -> Demand:  # fmt: skip
    offers = [Offer(kind=f"{model.key}/{part}", capacity_rps=rps) for part, rps in capacities.items()]
    return Demand(
        service=name, rate_rps=rate_rps, offers={offer.kind: offer for offer in offers},
        options=uniform(rate_rps, offers, most=most), on_demand_share=on_demand,
    )  # fmt: skip


@st.composite
def services(draw: st.DrawFn, *, model: GpuModel = A100, most: int = 8, largest: float = 4.0) -> list[Demand]:
    """Services that each run on some slices, larger ones carrying more."""
    parts = [profile.name for profile in model.profiles]
    found = []
    for index in range(draw(st.integers(1, most))):
        kept = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=3, unique=True))
        power = draw(st.floats(0.7, 1.1))
        capacities = {name: 10.0 * model.by_name[name].compute ** power for name in kept}
        found.append(service(f"s{index}", 10.0 * draw(st.floats(0.1, largest)), capacities, model=model))
    return found


def faults(places: Iterable[Place], demands: Sequence[Demand], gpus: Sequence[Gpu]) -> list[str]:
    """Everything that is wrong with a packing, from the published tables alone."""
    found = []
    known = {gpu.name: gpu for gpu in gpus}
    by_gpu: dict[str, list[Place]] = {}
    for place in places:
        by_gpu.setdefault(place.gpu, []).append(place)
    for name, there in by_gpu.items():
        bits: Counter[int] = Counter()
        compute = 0
        for place in there:
            key, _, part = place.kind.partition("/")
            profile = BY_KEY[key].profile(part)
            assert profile is not None
            if place.start not in profile.starts:
                found.append(f"{place}: may not start there")
            bits.update(range(place.start, place.start + profile.memory))
            compute += profile.compute
        if any(count > 1 for count in bits.values()):
            found.append(f"{name}: memory slices taken twice")
        if compute > BY_KEY[there[0].kind.partition("/")[0]].compute_slices:
            found.append(f"{name}: more compute than there is")
        if known[name].node != there[0].node:
            found.append(f"{name}: on another node")
    for demand in demands:
        mine = [place for place in places if place.service == demand.service]
        carried = sum(demand.offers[place.kind].capacity_rps for place in mine)
        if carried < demand.rate_rps * (1 - 1e-6):
            found.append(f"{demand.service}: carries {carried} of {demand.rate_rps}")
        steady = sum(demand.offers[place.kind].capacity_rps for place in mine if not known[place.gpu].spot)
        if steady < demand.on_demand_share * demand.rate_rps * (1 - 1e-6):
            found.append(f"{demand.service}: too much on spot")
    return found


def fewest_gpus(demands: Sequence[Demand], model: GpuModel) -> int:
    """The fewest GPUs by trying every option of every service and every place of every slice."""
    best = 99
    for chosen in product(*(demand.options for demand in demands)):
        items = [kind.partition("/")[2] for option in chosen for kind, count in option.counts for _ in range(count)]
        items.sort(key=lambda part: -model.by_name[part].memory)
        best = min(best, _fewest(items, (), model, best))
    return best


def _fewest(items: list[str], used: tuple[int, ...], model: GpuModel, best: int) -> int:
    if len(used) >= best:
        return best
    if not items:
        return len(used)
    profile = model.by_name[items[0]]
    tried = set()
    for index in range(len(used) + 1):
        taken = used[index] if index < len(used) else 0
        for start in profile.starts:
            mask = ((1 << profile.memory) - 1) << start
            if mask & taken:
                continue
            after = tuple(sorted((*used[:index], taken | mask, *used[index + 1 :])))
            if after not in tried:
                tried.add(after)
                best = min(best, _fewest(items[1:], after, model, best))
    return best
