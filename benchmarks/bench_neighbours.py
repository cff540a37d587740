"""Whether several models in one replica hold their own SLOs beside each other: planned, and both under load at once.

`digits` and the ensemble `embed` are profiled, planned together, served by one real Triton and loaded at their busy
rates, each alone and then both at the same time; what was predicted stands beside it.

    python -m benchmarks.bench_neighbours [--rounds N] [--seconds S]
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import Figure, median_figure, publish
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import parse_target
from kserve_ext.bench.verify import verify
from kserve_ext.domain import Intent, Measurement, Neighbour, NeighbourPlan, Plan, Protocol, RateRange, Slo
from kserve_ext.hosting import Hosted, hosted
from kserve_ext.measuring import measure_profile
from kserve_ext.policy import PlanRequest, plan

REPOSITORY = Path("model_repo")
FIRST, SECOND = "digits", "embed"
ASKED = Intent(
    name=FIRST, namespace="default", model=FIRST, slo=Slo(p99_s=0.080), rate=RateRange(low_rps=5.0, high_rps=60.0),
    max_replicas=1, neighbours=(Neighbour(model=SECOND, p99_s=0.150, rate=RateRange(low_rps=2.0, high_rps=12.0)),),
)  # fmt: skip


def main() -> None:
    arguments = _arguments()
    measured: dict[str, list[Measurement]] = {}
    for seed in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            decided = _planned(Path(folder))
            with hosted(REPOSITORY, FIRST, SECOND, log_file=Path(folder) / "log") as host:
                host.load_planned(decided.all_stages)
                for name, seen in _loaded(host, decided, arguments.seconds, seed).items():
                    measured.setdefault(name, []).append(seen)
                    print(
                        f"{name:16} p50 {seen.p50_s * 1e3:7.1f} ms  p99 {seen.p99_s * 1e3:7.1f} ms  failed {seen.failed}"
                    )
    publish("neighbours", [figure for each in _models(decided) for figure in _figures(each, measured)])


def _planned(folder: Path) -> Plan:
    """Each model measured by itself, and the plan for both."""
    profiles = {}
    for model in (FIRST, SECOND):
        with hosted(REPOSITORY, model, log_file=folder / f"{model}.log") as host:
            profiles[model] = measure_profile(host, hardware="cpu")
    beside = {SECOND: {"cpu": profiles[SECOND]}}
    return plan(PlanRequest(intent=ASKED, profiles={"cpu": profiles[FIRST]}, neighbours=beside))


def _models(decided: Plan) -> tuple[Plan | NeighbourPlan, ...]:
    return (decided, *decided.neighbours)


def _loaded(host: Hosted, decided: Plan, seconds: float, seed: int) -> dict[str, Measurement]:
    """Each model under its own load: alone, and with the other."""
    models = _models(decided)
    found = {f"{each.model}_alone": _load(host, each, seconds, seed) for each in models}
    with ThreadPoolExecutor(len(models)) as pool:
        runs = {each.model: pool.submit(_load, host, each, seconds, seed + 50) for each in models}
        return found | {f"{model}_beside": run.result() for model, run in runs.items()}


def _load(host: Hosted, model: Plan | NeighbourPlan, seconds: float, seed: int) -> Measurement:
    target = parse_target(host.url(Protocol.REST), model=model.model)
    return verify(
        target, read_samples(REPOSITORY, model.model), slo=model.slo, rate_rps=model.prediction.rate_rps,
        duration_s=seconds, seed=seed,
    ).measurement  # fmt: skip


def _figures(model: Plan | NeighbourPlan, measured: dict[str, list[Measurement]]) -> list[Figure]:
    predicted, name = model.prediction, model.model
    return [
        median_figure(f"{name}_{way}_{field.removesuffix('_s')}_s", [getattr(each, field) for each in measured[f"{name}_{way}"]],
                      "s", baseline=f"predicted {getattr(predicted, field):.4f} s beside, SLO {model.slo.p99_s:g} s",
                      ratio=getattr(predicted, field) / max(1e-9, getattr(measured[f"{name}_{way}"][-1], field)))
        for way in ("alone", "beside") for field in ("p50_s", "p99_s")
    ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each load run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
