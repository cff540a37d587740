"""How well the plan's predictions hold on the real Triton, and what the plan is worth.

Cells: three models x two configurations x 30, 60 and 85 % of capacity. Simulator and server get the same arrival
times, so an error is the model's, not the sample's. Each round profiles anew. A cell is run several times with other
arrivals, and its error is the median of its runs; it is missed where most of its runs in all rounds are: on a shared
host one run in ten meets a stall. A run that other programs disturb is done again, whatever it showed; what they used
of the cores is printed.

    python -m benchmarks.bench_fidelity [--rounds 2] [--runs 3] [--seconds 8] [--models digits,embed,emulated]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.figures import Figure, median_figure, publish
from benchmarks.load_generator import held_rps
from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.quiet import Quiet, foreign_cpu
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import parse_target
from kserve_ext.bench.verify import verify
from kserve_ext.domain import Measurement, Plan, Prediction, Profile, Protocol, Service, Slo, StagePlan
from kserve_ext.files import read_text
from kserve_ext.hosting import Hosted, hosted
from kserve_ext.intent.read import read_services
from kserve_ext.measuring import measure_profile
from kserve_ext.policy import PlanRequest, Settings, plan
from kserve_ext.policy.replica import Replica, build_replica, latencies_s, summarise

REPOSITORY = Path("model_repo")
SHARES = (0.30, 0.60, 0.85)
TOLERATED = 1.05  # a cell predicted to hold may miss its SLO by this factor before it counts
_FIELDS = {"p50": "p50_s", "p99": "p99_s", "throughput": "throughput_rps", "mean_batch": "mean_batch"}
_CAPACITY_STEP = 1.15  # rates tried for the measured capacity rise by this factor
_CAPACITY_S = 8.0
_PATIENCE = 2.0  # of a cell's seconds: what repeating disturbed runs may take, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was predicted and what was measured for the same arrivals, and the cores that other programs used meanwhile."""

    predicted: Prediction
    measured: Measurement
    foreign_cores: float

    def error(self, field: str) -> float:
        """Relative error of one figure; positive: more than was measured was predicted."""
        measured = float(getattr(self.measured, field))
        return (float(getattr(self.predicted, field)) - measured) / measured

    def missed(self, slo_p99_s: float) -> bool:
        """Predicted to hold the SLO as a plan would, with its margin, and measured to miss it by more than is tolerated."""
        promised = self.predicted.p99_s <= slo_p99_s * (1 - Settings().margin)
        return promised and self.measured.p99_s > TOLERATED * slo_p99_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model, configuration and load, run several times."""

    model: str
    configuration: str
    share: float
    slo_p99_s: float
    runs: tuple[Run, ...]

    def error(self, field: str) -> float:
        """The middle error of the runs."""
        return statistics.median(run.error(field) for run in self.runs)

    @property
    def missed(self) -> bool:
        """Whether most of the runs were."""
        return 2 * sum(run.missed(self.slo_p99_s) for run in self.runs) > len(self.runs)

    @property
    def place(self) -> tuple[str, str, float]:
        """The same in every round."""
        return self.model, self.configuration, self.share


def main() -> None:
    arguments = _arguments()
    cells: list[Cell] = []
    ratios: list[float] = []
    plan_s: list[float] = []
    for round_ in range(arguments.rounds):
        slowest_s = 0.0
        for model in arguments.models.split(","):
            service = read_services(read_text(Path("manifests/examples") / f"{model}.yaml"), model)[0]
            with (
                tempfile.TemporaryDirectory() as folder,
                hosted(REPOSITORY, model, log_file=Path(folder) / "log") as host,
            ):
                profile = _profile(host, service)
                decided, seconds = _timed_plan(service, profile)
                slowest_s = max(slowest_s, seconds)
                for cell in _cells(host, service, profile, decided, arguments, seed=100 + 10 * round_):
                    _show(cell)
                    cells.append(cell)
                if model == "digits":
                    ratios.append(_capacity_ratio(host, service, decided, build_replica(profile), seed=round_))
        plan_s.append(slowest_s)
    _publish(cells, ratios, plan_s, [held_rps(Protocol.REST)[0] for _ in range(arguments.rounds)], arguments.rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="of each cell")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each run")
    parser.add_argument("--models", default="digits,embed,emulated")
    return parser.parse_args()


def _profile(host: Hosted, service: Service) -> Profile:
    started = time.monotonic()
    profile = measure_profile(host, hardware=service.intent.hardware[0])
    print(f"{host.model}: profiled in {time.monotonic() - started:.0f} s")
    return profile


def _timed_plan(service: Service, profile: Profile) -> tuple[Plan, float]:
    started = time.perf_counter()
    decided = plan(PlanRequest(intent=service.intent, profiles={profile.hardware: profile}))
    return decided, time.perf_counter() - started


def _cells(
    host: Hosted, service: Service, profile: Profile, decided: Plan, arguments: argparse.Namespace, *, seed: int
) -> Iterator[Cell]:
    replica = build_replica(profile)
    for name, stages in _configurations(decided, replica).items():
        host.load_planned(stages)
        for share in SHARES:
            rate_rps = share * replica.saturated_rps(stages)
            seeds = range(seed, seed + arguments.runs)
            runs = [_run(host, decided.slo, replica, stages, rate_rps, arguments.seconds, each) for each in seeds]
            yield Cell(model=host.model, configuration=name, share=share, slo_p99_s=decided.slo.p99_s, runs=tuple(runs))


def _run(
    host: Hosted, slo: Slo, replica: Replica, stages: tuple[StagePlan, ...], rate_rps: float, seconds: float, seed: int
) -> Run:
    """One load on the stages as loaded, and the same arrivals through the simulator."""
    target = parse_target(host.url(Protocol.REST), model=host.model)
    quiet = Quiet(foreign_cpu(host.server), _PATIENCE * seconds)
    verdict = quiet.least_disturbed(
        lambda: verify(
            target, read_samples(REPOSITORY, host.model), slo=slo, rate_rps=rate_rps, duration_s=seconds, seed=seed,
            counters=host.counters,
        )
    )  # fmt: skip
    arrivals_s = poisson(rate_rps, seconds, seed)
    predicted = summarise(*latencies_s(replica, stages, arrivals_s, seed=seed), arrivals_s, rate_rps)
    return Run(predicted=predicted, measured=verdict.measurement, foreign_cores=quiet.foreign_cores)


def _configurations(decided: Plan, replica: Replica) -> dict[str, tuple[StagePlan, ...]]:
    """The plan, and another that users write: small batches and a queue delay.

    Instances are as planned: on two cores a second one would share its core with the load generator.
    """
    other = tuple(
        replace(
            stage,
            max_batch_size=max(2, min(8, stage.max_batch_size // 2)),
            max_queue_delay_s=round(law.mean_s(1, 1) / 2, 6),
        )
        for stage, law in zip(decided.stages, replica.laws, strict=True)
    )
    return {"plan": decided.stages, "batch<=8, delay": other}


def _capacity_ratio(host: Hosted, service: Service, decided: Plan, replica: Replica, *, seed: int) -> float:
    """Measured capacity at the SLO of the plan over that of the untuned repository, one after the other."""
    untuned = tuple(replace(stage, max_batch_size=1, max_queue_delay_s=0.0, instances=1) for stage in decided.stages)
    host.load_planned(decided.stages)
    planned_rps = _capacity(host, decided.slo, 0.6 * decided.capacity_rps, seed)
    host.load_untuned()
    untuned_rps = _capacity(host, decided.slo, 0.4 * replica.saturated_rps(untuned), seed)
    print(f"digits: {planned_rps:.4g} rps within the SLO as planned, {untuned_rps:.4g} untuned")
    return planned_rps / untuned_rps


def _capacity(host: Hosted, slo: Slo, start_rps: float, seed: int) -> float:
    """The highest rate that holds: from `start_rps` upwards until a rate misses twice, downwards if the first does."""
    samples = read_samples(REPOSITORY, host.model)
    target = parse_target(host.url(Protocol.REST), model=host.model)

    def holds(rate_rps: float) -> bool:
        for attempt in range(2):
            seen = verify(target, samples, slo=slo, rate_rps=rate_rps, duration_s=_CAPACITY_S, seed=seed + attempt)
            if seen.measurement.p99_s <= slo.p99_s and seen.measurement.failed == 0:
                return True
        return False

    rate_rps = start_rps
    while not holds(rate_rps):
        rate_rps /= _CAPACITY_STEP
    while holds(rate_rps * _CAPACITY_STEP):
        rate_rps *= _CAPACITY_STEP
    return rate_rps


def _medians(cells: Sequence[Cell], field: str, per_round: int) -> list[float]:
    """The median absolute error of each round."""
    return [
        statistics.median(abs(cell.error(field)) for cell in cells[start : start + per_round])
        for start in range(0, len(cells), per_round)
    ]


def _missed(cells: Sequence[Cell]) -> int:
    """Cells that were missed, each with its runs of all rounds."""
    found: dict[tuple[str, str, float], Cell] = {}
    for cell in cells:
        before = found.get(cell.place)
        found[cell.place] = replace(cell, runs=(*before.runs, *cell.runs)) if before else cell
    return sum(cell.missed for cell in found.values())


def _show(cell: Cell) -> None:
    middle = sorted(cell.runs, key=lambda run: run.error("p50_s"))[len(cell.runs) // 2]
    seen, said = middle.measured, middle.predicted
    print(
        f"{cell.model:9} {cell.configuration:16} {cell.share:4.0%} {seen.rate_rps:8.1f} rps  "
        f"p50 {said.p50_s * 1e3:7.2f}/{seen.p50_s * 1e3:7.2f} ms ({_each(cell, 'p50_s')})  "
        f"p99 {said.p99_s * 1e3:7.2f}/{seen.p99_s * 1e3:7.2f} ms ({_each(cell, 'p99_s')})  "
        f"batch {said.mean_batch:5.2f}/{seen.mean_batch:5.2f} ({_each(cell, 'mean_batch')})  "
        f"others {max(run.foreign_cores for run in cell.runs):.2f} cores{'  MISSED' if cell.missed else ''}",
        flush=True,
    )


def _each(cell: Cell, field: str) -> str:
    """The errors of the runs, in their order."""
    return " ".join(f"{run.error(field):+.1%}" for run in cell.runs)


def _publish(
    cells: Sequence[Cell], ratios: Sequence[float], plan_s: Sequence[float], generator_rps: Sequence[float], rounds: int
) -> None:
    figures = [Figure(name="cells", value=float(len(cells) // rounds), unit="cells", rounds=rounds)]
    for field in ("p50", "p99", "throughput", "mean_batch"):
        medians = _medians(cells, _FIELDS[field], len(cells) // rounds)
        figures.append(
            median_figure(f"{field}_error_median", medians, "fraction", baseline="real Triton, same arrivals")
        )
    figures.append(Figure(name="predicted_held_measured_missed", value=float(_missed(cells)), unit="cells",
                          rounds=rounds))  # fmt: skip
    if ratios:
        ratio = statistics.median(ratios)
        figures.append(median_figure("digits_capacity_ratio", ratios, "x", baseline="untuned repository", ratio=ratio))
    figures.append(median_figure("plan_s", plan_s, "s", baseline="of the model that takes longest"))
    figures.append(median_figure("loadgen_rps", generator_rps, "rps", baseline="held with half a core"))
    publish("fidelity", figures)


if __name__ == "__main__":
    main()
