"""What huge pages for a model's weights are worth on a CPU: the same server with and without, one after the other.

    python -m benchmarks.bench_pages [--rounds 5]

Each round starts both servers anew and sends both the same arrivals. Prints medians of the ratios, huge pages over
without: time of an execution of one row, and latencies at two rates.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.figures import median_figure, publish
from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import run_open_loop
from kserve_ext.bench.points import mean_compute_s, run_without_failures
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import parse_target
from kserve_ext.domain import Protocol
from kserve_ext.hosting import Hosted, hosted
from kserve_ext.render.runtime import HUGE_PAGES
from kserve_ext.triton.repository import read_config

REPOSITORY, MODEL = Path("model_repo"), "digits"
RATES_RPS = (100.0, 700.0)
SECONDS = 4.0
(VARIABLE,) = HUGE_PAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ratios: dict[str, list[float]] = {}
    for round_ in range(rounds):
        without, with_ = _served("glibc.malloc.hugetlb=0", round_), _served(HUGE_PAGES[VARIABLE], round_)
        for name, seconds in without.items():
            ratios.setdefault(name, []).append(with_[name] / seconds)
            print(f"{name:14} {seconds * 1e3:7.2f} ms  with huge pages {with_[name] * 1e3:7.2f} ms", flush=True)
    figures = (
        median_figure(f"{name}_ratio", found, "x", baseline="without huge pages", ratio=statistics.median(found))
        for name, found in ratios.items()
    )
    publish("pages", list(figures))


def _served(tunables: str, seed: int) -> Mapping[str, float]:
    """Seconds by name, of a server started with these tunables."""
    os.environ[VARIABLE] = tunables
    with tempfile.TemporaryDirectory() as folder, hosted(REPOSITORY, MODEL, log_file=Path(folder) / "log") as host:
        base = read_config(REPOSITORY, MODEL)
        base.name = MODEL
        base.dynamic_batching.SetInParent()
        host.control.load(MODEL, base)
        return _looked_at(host, seed)


def _looked_at(host: Hosted, seed: int) -> Mapping[str, float]:
    target = parse_target(host.url(Protocol.REST), model=MODEL)
    requests = [encode(sample, target) for sample in read_samples(REPOSITORY, MODEL)]
    run_without_failures(target, requests, 1, 0.5)
    before = host.control.statistics(MODEL)
    run_without_failures(target, requests, 1, 1.0)
    found = {"one_row": mean_compute_s(host.control.statistics(MODEL) - before, 1)}
    for rate_rps in RATES_RPS:
        seen = run_open_loop(target, requests, poisson(rate_rps, SECONDS, seed))
        p50_s, p99_s = np.quantile(seen.done_s - seen.due_s, (0.5, 0.99)).tolist()
        found |= {f"p50_{rate_rps:.0f}rps": p50_s, f"p99_{rate_rps:.0f}rps": p99_s}
    return found


if __name__ == "__main__":
    main()
