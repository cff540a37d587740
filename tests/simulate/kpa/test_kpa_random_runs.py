"""Random runs of Knative's own code, replayed: every average, decision and burst capacity is the same to the last bit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kserve_ext.simulate.kpa import replay

Run = dict[str, Any]
RUNS: list[Run] = json.loads(
    gzip.decompress((Path(__file__).parents[2] / "data" / "kpa" / "random_runs.json.gz").read_bytes())
)


@pytest.mark.parametrize("run", RUNS, ids=[f"run_{index}" for index in range(len(RUNS))])
def test_the_run_is_the_same_to_the_last_bit(run: Run) -> None:
    assert replay(run["config"], run["records"], run["ticks"]) == [tuple(row) for row in run["expected"]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aggregation", "weighted-exponential"),
        ("ScalingMetric", "rps"),
        ("TargetBurstCapacity", -1),
        ("TargetBurstCapacity", 0),
        ("Reachable", False),
        ("ActivationScale", 3),
        ("ScrapeTarget", "service"),
        ("scale_down_delay_s", 7),
        ("initial_ready", 30),
    ],
)
def test_the_runs_cover_every_kind_of_setting(key: str, value: object) -> None:
    assert sum(run["config"][key] == value for run in RUNS) >= 5


def test_the_runs_hold_ticks_without_data_and_ticks_with_it() -> None:
    valid = [row[4] for run in RUNS for row in run["expected"]]
    assert 500 < valid.count(False) < valid.count(True)
