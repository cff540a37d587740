"""Whether our port of Knative's autoscaler decides as Knative's own code does, on thousands of new random runs.

The driver is built with Go from Knative's unmodified packages (tests/data/kpa/driver); both get the same settings,
samples and ticks, and every average and decision has to be equal to the last bit. Half of the runs are wild: settings
beyond what Knative accepts.

    python -m benchmarks.bench_kpa [--runs N] [--seed S]
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figures import median_figure, publish
from benchmarks.queue_proxy.build import go
from kserve_ext.simulate.kpa import replay

DRIVER = Path("tests") / "data" / "kpa" / "driver"
BINARY = Path("out") / "kpa_driver"
_AT_ONCE = 500  # the driver refuses more than it can set up within a second


def main() -> None:
    arguments = _arguments()
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    go("build", "-o", str(BINARY.resolve()), ".", at=DRIVER)
    rows, differing, began_s = 0, 0, time.process_time()
    for seed, kind in _parts(arguments.runs, arguments.seed):
        for run, answer in _answered(seed, kind):
            ours = replay(run["config"], run["records"], run["ticks"])
            theirs = [(float(row[0]), float(row[1]), *row[2:]) for row in answer]
            wrong = [index for index, pair in enumerate(zip(ours, theirs, strict=True)) if not _same(*pair)]
            rows += len(ours)
            if wrong:
                differing += 1
                print(f"seed {seed} {' '.join(kind)}: {len(wrong)} rows differ, first {wrong[0]}: {run['config']}")
    publish("kpa", [
        median_figure("kpa_runs", [arguments.runs], "runs", baseline="Knative 0.48's own code"),
        median_figure("kpa_rows", [rows], "rows"),
        median_figure("kpa_runs_differing", [differing], "runs", baseline="0 is wanted"),
        median_figure("kpa_us_per_row", [(time.process_time() - began_s) / max(rows, 1) * 1e6], "us"),
    ])  # fmt: skip
    sys.exit(1 if differing else 0)


def _parts(runs: int, seed: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    for part in range(math.ceil(runs / _AT_ONCE)):
        yield seed + part, ("wild",) if part % 2 else ()


def _answered(seed: int, kind: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], list[list[Any]]]]:
    """Runs, each with the rows that Knative's code gives."""
    made = [sys.executable, str(DRIVER / "random_runs.py"), str(_AT_ONCE), str(seed), *kind]
    runs = subprocess.run(made, capture_output=True, text=True, check=True).stdout
    rows = subprocess.run([str(BINARY.resolve())], input=runs, capture_output=True, text=True, check=True).stdout
    for run, answer in zip(runs.splitlines(), rows.splitlines(), strict=True):
        yield json.loads(run), json.loads(answer)


def _same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(ours, theirs, strict=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000, help=f"random runs, rounded up to parts of {_AT_ONCE}")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first part; new ones each time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
