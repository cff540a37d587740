"""How well the simulated path holds on real replicas: two Tritons, each behind Knative's own queue-proxy.

Cells: two balancing ways x 30, 60 and 85 % of the capacity of both replicas, an overload that must be refused beyond
limit and queue, and a burst of which exactly so many are refused. Simulator and replicas get the same arrival times.
Each round profiles anew and takes other arrivals; a cell that other programs disturb is run again. Needs Go, once.

    python -m benchmarks.bench_replicas [--rounds 3] [--seconds 20] [--model emulated] [--profile FILE]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, median_figure, publish
from benchmarks.queue_proxy.build import queue_proxy_binary
from benchmarks.queue_proxy.burst import REFUSED, run_burst
from benchmarks.queue_proxy.rig import Rig, foreign_s, rig
from benchmarks.queue_proxy.spread import SpreadResult, run_spread
from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.codec import encode
from kserve_ext.bench.quiet import Quiet
from kserve_ext.bench.samples import read_samples
from kserve_ext.errors import KserveExtError
from kserve_ext.files import read_text
from kserve_ext.intent.read import read_services
from kserve_ext.simulate.kpa.path import queue_depth
from kserve_ext.simulate.path import Balancing, Served

REPOSITORY = Path("model_repo")
REPLICAS = 2
SHARES = (0.30, 0.60, 0.85)
OVERLOAD = 1.5
WAYS = (Balancing.ROUND_ROBIN, Balancing.TWO_CHOICES)
_WARM_UP_S = 1.0
_PATIENCE = 2.0  # runs again of disturbed cells take at most so many times as long as the cells themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One load: what was predicted and what was measured."""

    way: Balancing
    share: float
    predicted: Served
    predicted_s: NDArray[np.float64]  # latencies of the answered ones, overhead included
    measured: SpreadResult
    foreign_cores: float  # used by other programs meanwhile

    @property
    def p50_error(self) -> float:
        """Relative; positive: more than was measured was predicted."""
        return self._error(0.50)

    @property
    def p99_error(self) -> float:
        return self._error(0.99)

    @property
    def throughput_error(self) -> float:
        load = self.measured.load
        predicted_s = float(self.predicted.ended_s.max() - load.due_s[0])
        measured_s = float(np.nanmax(load.done_s) - load.due_s[0])
        return (self.predicted_s.size / predicted_s) / (int(load.ok.sum()) / measured_s) - 1.0

    @property
    def refused_shares(self) -> tuple[float, float]:
        """Predicted and measured."""
        load = self.measured.load
        return self.predicted.rejected / load.ok.size, load.errors.get(REFUSED, 0) / load.ok.size

    @property
    def refused_share_error(self) -> float:
        said, seen = self.refused_shares
        return said - seen

    @property
    def seen_s(self) -> NDArray[np.float64]:
        """Measured latencies of the answered ones."""
        load = self.measured.load
        latencies_s: NDArray[np.float64] = (load.done_s - load.due_s)[load.ok]
        return latencies_s

    @property
    def other_errors(self) -> int:
        """Failures that are not a full queue: there must be none."""
        return sum(count for kind, count in self.measured.load.errors.items() if kind != REFUSED)

    def _error(self, probability: float) -> float:
        return float(np.quantile(self.predicted_s, probability) / np.quantile(self.seen_s, probability)) - 1.0


def main() -> None:
    arguments = _arguments()
    try:
        binary = queue_proxy_binary()
    except KserveExtError as error:
        raise SystemExit(f"bench-replicas: {error.message}\n  {error.remedy}") from error
    service = read_services(read_text(Path("manifests/examples") / f"{arguments.model}.yaml"), arguments.model)[0]
    rounds: list[list[Cell]] = []
    bursts: list[tuple[int, int]] = []
    for round_ in range(arguments.rounds):
        with rig(binary, REPOSITORY, service, replicas=REPLICAS, known=arguments.profile) as replicas:
            rounds.append(list(_cells(replicas, arguments.seconds, seed=300 + 10 * round_)))
        bursts.append(run_burst(binary, REPOSITORY))
    _publish(rounds, bursts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each load run")
    parser.add_argument("--model", default="emulated", help="one that sleeps: two that compute would share the cores")
    parser.add_argument("--profile", type=Path, help="one measured before, instead of a fresh one per round")
    return parser.parse_args()


def _cells(replicas: Rig, seconds: float, *, seed: int) -> Iterator[Cell]:
    loads = [(share, way) for share in SHARES for way in WAYS] + [(OVERLOAD, WAYS[0])]
    patience_s = _PATIENCE * seconds * len(loads)
    _run(replicas, poisson(SHARES[0] * replicas.capacity_rps, _WARM_UP_S, seed), WAYS[0], seed)
    for share, way in loads:
        due_s = poisson(share * replicas.capacity_rps, seconds, seed + round(100 * share))
        predicted, predicted_s = replicas.predict(due_s, way, seed)
        quiet = Quiet(foreign_s, patience_s)
        measured = quiet.least_disturbed(partial(_run, replicas, due_s, way, seed))
        patience_s = quiet.patience_s
        cell = Cell(
            way=way, share=share, predicted=predicted, predicted_s=predicted_s, measured=measured,
            foreign_cores=quiet.foreign_cores,
        )  # fmt: skip
        _show(cell, replicas.limit)
        yield cell


def _run(replicas: Rig, due_s: NDArray[np.float64], way: Balancing, seed: int) -> SpreadResult:
    target = replicas.targets[0]
    requests = [encode(sample, target) for sample in read_samples(REPOSITORY, target.model)]
    return run_spread(replicas.targets, requests, due_s, way, seed=seed)


def _show(cell: Cell, limit: int) -> None:
    load, (said, seen) = cell.measured.load, cell.refused_shares
    p50_s, p99_s = np.quantile(cell.predicted_s, (0.5, 0.99))
    seen_p50_s, seen_p99_s = np.quantile(cell.seen_s, (0.5, 0.99))
    print(
        f"{cell.way:12} {cell.share:5.0%} {load.ok.size:6d} requests  "
        f"p50 {p50_s * 1e3:7.2f}/{seen_p50_s * 1e3:7.2f} ms ({cell.p50_error:+.1%})  "
        f"p99 {p99_s * 1e3:7.2f}/{seen_p99_s * 1e3:7.2f} ms ({cell.p99_error:+.1%})  "
        f"rps {cell.throughput_error:+.1%}  refused {said:.2%}/{seen:.2%}{_at_refusal(cell, limit)}  "
        f"others used {cell.foreign_cores:.2f} cores"
        f"{f'  OTHER ERRORS {cell.other_errors}' if cell.other_errors else ''}",
        flush=True,
    )


def _at_refusal(cell: Cell, limit: int) -> str:
    """How many the client had in flight at a pod when it was refused, and at most when it was not."""
    load, others = cell.measured.load, cell.measured.others
    if load.ok.all():
        return ""
    full = limit + (queue_depth(limit) or 0)
    return (
        f" (place for {full}, refused at {others[~load.ok].min()} and more, taken at {others[load.ok].max()} and fewer)"
    )


def _publish(rounds: Sequence[Sequence[Cell]], bursts: Sequence[tuple[int, int]]) -> None:
    beside = "two real Tritons behind real queue-proxies, same arrivals"
    within = [[cell for cell in cells if cell.share < 1] for cells in rounds]
    over = [[cell for cell in cells if cell.share >= 1] for cells in rounds]
    figures = [Figure(name="replicas_cells", value=float(len(rounds[0])), unit="cells", rounds=len(rounds))]
    for name, chosen, error in (
        ("p50_error_median", within, "p50_error"), ("p99_error_median", within, "p99_error"),
        ("throughput_error_median", within, "throughput_error"), ("rejected_share_error", over, "refused_share_error"),
        ("overload_throughput_error", over, "throughput_error"),
    ):  # fmt: skip
        medians = [statistics.median(abs(getattr(cell, error)) for cell in cells) for cells in chosen]
        figures.append(median_figure(f"replicas_{name}", medians, "fraction", baseline=beside))
    beyond = [float(abs(said - seen)) for said, seen in bursts]
    failed = [float(sum(cell.other_errors for cell in cells)) for cells in rounds]
    foreign = [statistics.median(cell.foreign_cores for cell in cells) for cells in rounds]
    figures += [
        median_figure("replicas_burst_rejected_error", beyond, "requests", baseline="limit and ten times as many"),
        median_figure("replicas_other_errors", failed, "requests", baseline="none allowed"),
        median_figure("replicas_foreign_cores", foreign, "cores", baseline="other programs meanwhile"),
    ]
    publish("replicas", figures)


if __name__ == "__main__":
    main()
