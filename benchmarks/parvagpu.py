"""Packing against a published work: profile tables of models on MIG slices and scenarios of services, onto few GPUs.

A profile `MODEL.csv` has the columns `Mig instance, Batch size, Workload Number, Throughput, Latency` (compute slices;
processes side by side; requests/s of one process; seconds), a scenario file `scenario, model, slo_ms, rate_rps`. A row
may be used when its latency is below 0.9 x SLO / 2, as in that work; a service may have slices of several sizes.

    python -m benchmarks.parvagpu [--profiles DIR] [--scenarios FILE.csv] [-o table|json]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_ext.errors import InfeasibleError, InputError, KserveExtError, Problem
from kserve_ext.files import read_text
from kserve_ext.policy.fleet.board import Gpu, Node, Place
from kserve_ext.policy.fleet.demand import Demand, Offer, mixed
from kserve_ext.policy.fleet.pack import Packed, pack
from kserve_ext.policy.fleet.shapes import mig_shape
from kserve_ext.policy.gpu.mig import BY_KEY

DATA = Path(__file__).parent / "data" / "parvagpu"
MODEL = BY_KEY["a100-80gb"]
SLICES = {1: "1g.10gb", 2: "2g.20gb", 3: "3g.40gb", 4: "4g.40gb", 7: "7g.80gb"}  # by compute slices
ROOM = 0.9 / 2  # of the SLO: a tenth kept free, and half for waiting while a batch fills
PROFILE_COLUMNS = ("Mig instance", "Batch size", "Workload Number", "Throughput", "Latency")
SCENARIO_COLUMNS = ("scenario", "model", "slo_ms", "rate_rps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured way to run a model on a slice. Throughput is that of all processes."""

    size: int
    batch: int
    processes: int
    throughput_rps: float
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One service of a scenario."""

    name: str
    model: str
    slo_s: float
    rate_rps: float


def read_profiles(folder: Path) -> Mapping[str, tuple[Row, ...]]:
    """The tables of a folder by model. Raises InputError with every fault."""
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise InputError(Problem(file=str(folder), what="no profile", allowed="a folder with MODEL.csv files"))
    return {
        path.stem: tuple(_row(cells, path, line) for line, cells in _table(path, PROFILE_COLUMNS)) for path in paths
    }


def _row(cells: Mapping[str, str], path: Path, line: int) -> Row:
    size, batch, processes = (int(_number(cells, name, path, line)) for name in PROFILE_COLUMNS[:3])
    throughput, latency_s = (_number(cells, name, path, line, least=0.0) for name in PROFILE_COLUMNS[3:])
    if size not in SLICES:
        allowed = ", ".join(map(str, SLICES))
        raise InputError(
            Problem(
                file=str(path),
                line=line,
                field=PROFILE_COLUMNS[0],
                what="no such slice",
                found=str(size),
                allowed=allowed,
            )
        )
    return Row(size=size, batch=batch, processes=processes, throughput_rps=throughput * processes, latency_s=latency_s)


def read_scenarios(path: Path, known: Iterable[str]) -> Mapping[str, tuple[Wish, ...]]:
    """The scenarios of a file by name, in its order. Raises InputError with every fault."""
    models, found, problems = sorted(known), dict[str, list[Wish]](), list[Problem]()
    for line, cells in _table(path, SCENARIO_COLUMNS):
        model = cells["model"].strip()
        if model not in models:
            allowed = ", ".join(models)
            problems.append(
                Problem(file=str(path), line=line, field="model", what="no profile of it", found=model, allowed=allowed)
            )
            continue
        wishes = found.setdefault(cells["scenario"].strip(), [])
        again = sum(wish.model == model for wish in wishes)
        wishes.append(
            Wish(
                name=f"{model}#{again + 1}" if again else model, model=model,
                slo_s=_number(cells, "slo_ms", path, line) / 1e3, rate_rps=_number(cells, "rate_rps", path, line),
            )
        )  # fmt: skip
    if problems:
        raise InputError(*problems)
    return {name: tuple(wishes) for name, wishes in found.items()}


def _table(path: Path, columns: Sequence[str]) -> list[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=None), skipinitialspace=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            Problem(file=str(path), line=1, what=f"no column {', '.join(missing)}", found=", ".join(names) or "nothing",
                    allowed=", ".join(columns))
        )  # fmt: skip
    reader.fieldnames = names
    rows: list[tuple[int, Mapping[str, str]]] = []
    for cells in reader:
        rows.append((reader.line_num, {str(name): str(cell or "") for name, cell in cells.items()}))
    if not rows:
        raise InputError(Problem(file=str(path), what="no rows", allowed="a header line and at least one row"))
    return rows


def _number(cells: Mapping[str, str], name: str, path: Path, line: int, *, least: float | None = None) -> float:
    try:
        value = float(cells[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0 or (least is None and value == 0):
        allowed = "a number from zero up" if least is not None else "a number above zero"
        problem = Problem(file=str(path), line=line, field=name, what="not a number that can be", found=repr(cells[name]),
                          allowed=allowed)  # fmt: skip
        raise InputError(problem)
    return value


def best_rows(rows: Sequence[Row], slo_s: float) -> Mapping[str, Row]:
    """For each slice the row with most throughput among those that may be used."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.throughput_rps > 0 and row.latency_s < ROOM * slo_s:
            kind = f"{MODEL.key}/{SLICES[row.size]}"
            if kind not in best or row.throughput_rps > best[kind].throughput_rps:
                best[kind] = row
    return best


def demand_of(wish: Wish, best: Mapping[str, Row]) -> Demand:
    """The service as a packer takes it. Raises InfeasibleError where no row may be used."""
    if not best:
        raise InfeasibleError(
            f"{wish.name}: no slice answers within 0.9 x {wish.slo_s * 1e3:g} ms / 2",
            binding="slo",
            nearest="a longer SLO",
        )
    offers = {kind: Offer(kind=kind, capacity_rps=row.throughput_rps) for kind, row in best.items()}
    options, complete = mixed(wish.rate_rps, offers.values())
    return Demand(service=wish.name, rate_rps=wish.rate_rps, offers=offers, options=options, fluid=not complete)


def plan_scenario(name: str, wishes: Sequence[Wish], profiles: Mapping[str, Sequence[Row]]) -> Mapping[str, Any]:
    """The record of one scenario; with `error` and no GPUs where it cannot be."""
    begun = time.perf_counter()
    try:
        best = {wish.name: best_rows(profiles[wish.model], wish.slo_s) for wish in wishes}
        demands = [demand_of(wish, best[wish.name]) for wish in wishes]
        most = sum(min(option.replicas for option in demand.options) for demand in demands)
        shape = mig_shape(MODEL, SLICES.values())
        gpus = [Gpu(name=f"{index:06}", node="fleet", shape=shape) for index in range(most)]
        packed = pack(demands, gpus, [Node(name="fleet")])
    except InfeasibleError as error:
        return {"scenario": name, "gpus": None, "lower_bound": None, "plan_s": time.perf_counter() - begun, "layout": [],
                "error": error.message}  # fmt: skip
    plan_s = time.perf_counter() - begun
    return {
        "scenario": name,
        "gpus": packed.gpus,
        "lower_bound": packed.gpus_bound,
        "plan_s": round(plan_s, 4),
        "layout": _layout(packed, {wish.name: wish for wish in wishes}, best),
    }


def _layout(
    packed: Packed, wishes: Mapping[str, Wish], best: Mapping[str, Mapping[str, Row]]
) -> list[Mapping[str, Any]]:
    by_gpu: dict[str, list[Place]] = {}
    for place in sorted(packed.places, key=lambda place: (place.gpu, place.start)):
        by_gpu.setdefault(place.gpu, []).append(place)
    return [
        {
            "gpu": index,
            "slices": [_slice(place, wishes[place.service], best[place.service][place.kind]) for place in places],
        }
        for index, places in enumerate(by_gpu.values())
    ]


def _slice(place: Place, wish: Wish, row: Row) -> Mapping[str, Any]:
    return {
        "slice": place.kind.partition("/")[2], "start": place.start, "service": wish.name, "model": wish.model,
        "batch": row.batch, "processes": row.processes, "throughput_rps": round(row.throughput_rps, 3),
        "latency_s": row.latency_s,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Plan every scenario and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parvagpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profiles", type=Path, default=DATA / "profiles", help="folder with MODEL.csv files")
    parser.add_argument("--scenarios", type=Path, default=DATA / "scenarios.csv", help="scenario,model,slo_ms,rate_rps")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    given = parser.parse_args(arguments)
    try:
        profiles = read_profiles(given.profiles)
        scenarios = read_scenarios(given.scenarios, profiles)
    except KserveExtError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return error.exit_code
    records = [plan_scenario(name, wishes, profiles) for name, wishes in scenarios.items()]
    if given.output == "json":
        print(json.dumps(records, indent=1))
    else:
        print(f"{'scenario':12} {'GPUs':>6} {'at least':>9} {'seconds':>8}")
        for record in records:
            numbers = f"{record['gpus'] or '-':>6} {record['lower_bound'] or '-':>9} {record['plan_s']:>8.3f}"
            print(f"{record['scenario']:12} {numbers}  {record.get('error', '')}")
    return InfeasibleError.exit_code if any("error" in record for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
