"""The emulated GPU: its curve hits the published points, never falls between them, and is held in time."""

from __future__ import annotations

import csv
import fcntl
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Load = Callable[[Path], ModuleType]


@pytest.fixture
def emulated(model_repo: Path, backend: Any, load: Load) -> ModuleType:
    return load(model_repo / "emulated" / "1" / "model.py")


def points(model_repo: Path) -> list[tuple[int, float]]:
    content = json.loads((model_repo / "emulated" / "1" / "curve.json").read_text())
    return [(rows, seconds) for rows, seconds in content["points"]]


def test_the_curve_hits_its_points_and_never_falls(model_repo: Path, emulated: ModuleType) -> None:
    curve = points(model_repo)
    assert [emulated.service_s(curve, rows) for rows, _ in curve] == [seconds for _, seconds in curve]
    seconds = [emulated.service_s(curve, rows) for rows in range(1, 33)]
    assert all(before < after for before, after in itertools.pairwise(seconds))
    assert emulated.service_s(curve, 3) == pytest.approx((curve[1][1] + curve[2][1]) / 2)


def test_the_example_csv_is_the_same_curve(model_repo: Path) -> None:
    with (model_repo / "emulated" / "curves" / "resnet50-a100-1g.10gb.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(int(row["batch"]), float(row["latency_s"])) for row in rows] == points(model_repo)
    for row in rows:
        assert int(row["batch"]) / float(row["throughput_rps"]) == pytest.approx(float(row["latency_s"]), abs=1e-6)


steps = st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the module keeps nothing between examples
@given(steps=steps)
def test_any_curve_is_hit_at_its_points_and_never_falls(emulated: ModuleType, steps: list[Any]) -> None:
    rows = itertools.accumulate((width for width, _ in steps), initial=1)
    seconds = itertools.accumulate((rise for _, rise in steps), initial=0.001)
    curve = list(zip(rows, seconds, strict=True))
    found = [emulated.service_s(curve, row) for row in range(1, curve[-1][0] + 1)]
    assert [found[row - 1] for row, _ in curve] == [value for _, value in curve]
    assert all(after - before >= -1e-12 for before, after in itertools.pairwise(found))


@pytest.mark.parametrize(
    "curve", [[], [(2, 0.1)], [(1, 0.0)], [(1, 0.2), (2, 0.1)], [(1, 0.1), (1, 0.2)], [(1, 0.1), (4, 0.2), (3, 0.3)]]
)
def test_a_curve_that_is_none_is_refused(emulated: ModuleType, backend: Any, curve: list[Any]) -> None:
    with pytest.raises(backend.ModelError, match="from 1 row upwards"):
        emulated.checked(curve, Path("curve.json"))


def started(model_repo: Path, emulated: ModuleType, max_batch_size: int) -> Any:
    model = emulated.TritonPythonModel()
    config = json.dumps({"max_batch_size": max_batch_size})
    folder = str(model_repo / "emulated")
    model.initialize({"model_repository": folder, "model_version": "1", "model_name": "t", "model_config": config})
    return model


def test_a_batch_is_answered_with_x_plus_one_and_not_before_its_time(
    model_repo: Path, emulated: ModuleType, backend: Any
) -> None:
    model = started(model_repo, emulated, 32)
    inputs = [np.full((rows, 8), rows, np.float32) for rows in (1, 3, 4)]
    start_s = time.perf_counter()
    answers = model.execute([backend.request("y", x=array) for array in inputs])
    assert time.perf_counter() - start_s >= 0.022329  # the point at 8 rows
    for array, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer.arrays()["y"], array + 1)
    model.finalize()


def test_a_batch_beyond_the_curve_is_refused_when_the_model_loads(
    model_repo: Path, emulated: ModuleType, backend: Any
) -> None:
    with pytest.raises(backend.ModelError, match=r"max_batch_size 64: .*curve.json ends at 32 rows"):
        started(model_repo, emulated, 64)


def test_instances_take_turns_as_on_one_device(model_repo: Path, emulated: ModuleType, backend: Any) -> None:
    first, second = started(model_repo, emulated, 32), started(model_repo, emulated, 32)
    fcntl.flock(first.turn, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        fcntl.flock(second.turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    first.execute([backend.request("y", x=np.zeros((1, 8), np.float32))])
    fcntl.flock(second.turn, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an execution gives the turn back
    first.finalize()
    second.finalize()


def test_servers_take_no_turns_though_they_share_the_folder(
    model_repo: Path, emulated: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = started(model_repo, emulated, 32)
    monkeypatch.setattr(os, "getppid", os.getpid)  # an instance of another server
    there = started(model_repo, emulated, 32)
    fcntl.flock(here.turn, fcntl.LOCK_EX)
    fcntl.flock(there.turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    here.finalize()
    there.finalize()
