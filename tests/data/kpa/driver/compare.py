"""Compares the driver's rows with our replay: `python compare.py RUNS ROWS [OUT]`; OUT gets both, as one gzip'd JSON.

RUNS is what random_runs.py printed, ROWS what the driver made of it. Every number must be the same, to the last bit.
"""

from __future__ import annotations

import gzip
import json
import math
import sys
from pathlib import Path
from typing import Any

from kserve_ext.simulate.kpa import replay


def same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    runs = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    answers = [json.loads(line) for line in Path(sys.argv[2]).read_text().splitlines()]
    wrong = rows = 0
    for index, (run, answer) in enumerate(zip(runs, answers, strict=True)):
        run["expected"] = [[float(row[0]), float(row[1]), *row[2:]] for row in answer]
        ours = replay(run["config"], run["records"], run["ticks"])
        rows += len(ours)
        differing = [
            (tick, mine, row)
            for tick, mine, row in zip(run["ticks"], ours, run["expected"], strict=True)
            if not same(mine, tuple(row))
        ]
        if differing:
            wrong += 1
            sys.stdout.write(f"run {index}: {len(differing)} rows differ, first {differing[0]}, {run['config']}\n")
    sys.stdout.write(f"{len(runs)} runs, {rows} rows, {wrong} runs differ\n")
    if len(sys.argv) > 3:
        text = json.dumps(runs, separators=(",", ":"))
        Path(sys.argv[3]).write_bytes(gzip.compress(text.encode(), mtime=0))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
