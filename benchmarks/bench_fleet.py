"""Fleet packing: published scenarios, and 1,000 services on 500 GPUs with a service more at a time.

python -m benchmarks.bench_fleet [--services 1000] [--gpus 500] [--added 10] [--rounds 3]
"""

from __future__ import annotations

import argparse
import random
import time

from benchmarks.figures import Figure, median_figure, publish
from benchmarks.parvagpu import DATA, plan_scenario, read_profiles, read_scenarios
from kserve_ext.policy.fleet.board import Gpu, Node
from kserve_ext.policy.fleet.demand import Demand, Offer, uniform
from kserve_ext.policy.fleet.pack import Packed, pack
from kserve_ext.policy.fleet.shapes import mig_shape
from kserve_ext.policy.gpu.mig import BY_KEY

MODEL = BY_KEY["a100-80gb"]
SIZES = {"1g.10gb": 1, "2g.20gb": 2, "3g.40gb": 3, "4g.40gb": 4, "7g.80gb": 7}
MOST_RATE = 5.2  # times what a 1g slice carries: 1,000 such services take nearly all of 500 GPUs
PUBLISHED = {"S1": 2, "S2": 3, "S3": 5}  # GPUs the published work used


def service(index: int, chance: random.Random) -> Demand:
    """A service that runs on most slices, with a throughput that grows a little less than the slice."""
    base_rps = chance.uniform(20, 200)
    grown = {name: base_rps * size ** chance.uniform(0.8, 1.05) for name, size in SIZES.items()}
    kept = [name for name in grown if chance.random() < 0.85] or ["7g.80gb"]
    offers = [
        Offer(kind=f"{MODEL.key}/{name}", capacity_rps=grown[name], cpu_cores=1.0, memory_bytes=2e9) for name in kept
    ]
    rate_rps = chance.uniform(0.2, MOST_RATE) * base_rps
    return Demand(
        service=f"default/s{index:05}", rate_rps=rate_rps, offers={offer.kind: offer for offer in offers},
        options=uniform(rate_rps, offers),
    )  # fmt: skip


def fleet(gpus: int) -> tuple[list[Gpu], list[Node]]:
    """Nodes of eight A100 each."""
    shape = mig_shape(MODEL)
    names = [f"node-{index // 8:04}" for index in range(gpus)]
    nodes = [Node(name=name, cpu_cores=96.0, memory_bytes=1.3e12) for name in dict.fromkeys(names)]
    return [Gpu(name=f"{name}/{index % 8}", node=name, shape=shape) for index, name in enumerate(names)], nodes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=500)
    parser.add_argument("--added", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    publish("fleet", [*scenarios(), *large(given.services, given.gpus, given.added, given.rounds)])


def scenarios() -> list[Figure]:
    """GPUs and seconds of the published scenarios."""
    profiles = read_profiles(DATA / "profiles")
    figures = []
    for name, wishes in read_scenarios(DATA / "scenarios.csv", profiles).items():
        record = plan_scenario(name, wishes, profiles)
        published = f"published {PUBLISHED[name]} GPUs"
        gpus, least = float(record["gpus"]), record["lower_bound"]
        figures.append(
            Figure(name=f"{name} GPUs", value=gpus, unit="GPUs", baseline=f"bound {least}", ratio=gpus / least)
        )
        figures.append(Figure(name=f"{name} planning", value=record["plan_s"], unit="s", baseline=published))
    return figures


def large(services: int, gpus: int, added: int, rounds: int) -> list[Figure]:
    """A large fleet from nothing, then one service after another."""
    seconds, ratios, more_seconds, moves = [], [], [], [0.0]
    packed: Packed | None = None
    for round_ in range(rounds):
        chance = random.Random(round_)
        demands = [service(index, chance) for index in range(services)]
        cards, nodes = fleet(gpus)
        begun = time.perf_counter()
        packed = pack(demands, cards, nodes)
        seconds.append(time.perf_counter() - begun)
        ratios.append(packed.gpus / packed.gpus_bound)
        print(f"round {round_}: {packed.gpus} GPUs of {gpus}, at least {packed.gpus_bound}, {seconds[-1]:.2f} s")
        for index in range(added):
            demands.append(service(services + index, chance))
            begun = time.perf_counter()
            packed = pack(demands, cards, nodes, current=packed.places)
            more_seconds.append(time.perf_counter() - begun)
            moves.append(float(len(packed.moved)))
        print(f"         {added} more, one at a time: {packed.gpus} GPUs, at least {packed.gpus_bound}, "
              f"most moved for one: {max(moves):.0f}")  # fmt: skip
    name = f"{services} services"
    return [
        median_figure(f"{name}: planning", seconds, "s"),
        median_figure(f"{name}: GPUs over bound", ratios, "ratio"),
        median_figure(f"{name}: one more, planning", more_seconds, "s"),
        Figure(name=f"{name}: one more, most others moved", value=max(moves), unit="services"),
    ]


if __name__ == "__main__":
    main()
