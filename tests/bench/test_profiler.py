"""Profiles measured on a real Triton. Runs are short: what is checked is what was measured, not how fast it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_ext.bench import points
from kserve_ext.bench.payload import Sample
from kserve_ext.bench.profiler import profile_model
from kserve_ext.bench.surroundings import model_digest
from kserve_ext.bench.tensor import Tensor
from kserve_ext.domain import Profile, Protocol
from kserve_ext.errors import InputError, ModelError, TritonError
from kserve_ext.profile import store
from kserve_ext.profile.fit import fit
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton

Run = Callable[..., Profile]


def _sample(name: str, value: float) -> Sample:
    return Sample(inputs=(Tensor(name=name, datatype="FP32", data=np.full((1, 2), value, np.float32)),))


@pytest.fixture
def run(small_server: TritonServer, small_control: TritonControl, small_models: Path) -> Run:
    def run(model: str, **options: Any) -> Profile:
        options = {"instances": (1,), "seconds_per_point": 0.05, **options}
        return profile_model(
            small_server,
            small_control,
            small_models,
            model,
            hardware="cpu",
            measured_at="2030-01-01T00:00:00Z",
            **options,
        )

    return run


def test_every_point_of_a_model_is_measured(run: Run, small_models: Path, small_control: TritonControl) -> None:
    told = []
    profile = run("echo", max_batch=4, instances=(1, 2), progress=lambda *line: told.append(line))
    (stage,) = profile.stages
    assert [(p.instances, p.batch, p.requests) for p in stage.points] == [
        (k, *rest) for k in (1, 2) for rest in ((1, 1), (2, 1), (4, 1), (2, 2), (4, 4))
    ]
    assert all(point.count > 0 and point.server_compute_s > 0 for point in stage.points)
    assert all(0 < point.mean_s < 1 for point in stage.points)
    assert stage.max_batch == 4
    assert 0 < stage.memory_loaded_bytes <= stage.memory_peak_bytes < 1e9
    assert profile.memory_server_bytes > 0
    assert profile.load_s > 0
    assert profile.cpu_per_request_s > 0
    assert min(profile.overhead_s.values) >= 0
    assert "foreign_cores" in profile.host
    assert profile.model_digest == model_digest(small_models, ["echo"])
    assert profile.versions["triton"] == small_control.version()
    assert [line[:2] for line in told if "full" not in line[2] and "under load" not in line[2]] == [
        (i, 10) for i in range(11)
    ]
    assert store.load(store.dump(profile), "profile.json", model="echo") == profile
    assert [curve.batches for curve in fit(stage)] == [(1, 2, 4), (1, 2, 4)]
    assert not small_control.ready("echo")


def test_an_ensemble_has_a_stage_for_each_step(run: Run, small_control: TritonControl) -> None:
    profile = run("pair", max_batch=2, samples=[_sample("in", 4.0), _sample("in", 9.0)], protocol=Protocol.GRPC)
    assert [stage.model for stage in profile.stages] == ["echo", "root"]
    assert all([p.batch for p in stage.points] == [1, 2, 2] for stage in profile.stages)
    assert not any(small_control.ready(name) for name in ("pair", "echo", "root"))


def test_a_model_that_cannot_be_batched_has_one_point(run: Run) -> None:
    (stage,) = run("fixed").stages
    assert [(p.batch, p.requests) for p in stage.points] == [(1, 1)]
    assert stage.max_batch == 0
    assert stage.points[0].server_compute_s > 0


def test_a_model_slower_than_the_time_given_is_measured_all_the_same(run: Run) -> None:
    (stage,) = run("slow", max_batch=1).stages
    assert stage.points[0].mean_s > 0.1  # the model sleeps 0.2 s, and eight executions tell it roughly


def test_an_interrupted_measurement_goes_on_where_it_stopped(
    run: Run, tmp_path: Path, small_control: TritonControl
) -> None:
    def stop_at_three(done: int, total: int, label: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("echo", max_batch=4, resume_dir=tmp_path, progress=stop_at_three)
    assert not small_control.ready("echo")
    kept = (tmp_path / "points.jsonl").read_text()
    assert kept.count("\n") == 5  # what it is of, the latency, three points
    (stage,) = run("echo", max_batch=4, resume_dir=tmp_path).stages
    # means are corrected at the end, so kept points are known by how many executions they had
    assert all(f'"count": {point.count},' in kept for point in stage.points[:3])
    assert not (tmp_path / "points.jsonl").exists()


def test_nan_is_refused_before_anything_is_measured(run: Run, tmp_path: Path, small_control: TritonControl) -> None:
    with pytest.raises(ModelError, match="root answers NaN in output `y` for sample 1"):
        run("root", samples=[_sample("x", 1.0), _sample("x", -1.0)], resume_dir=tmp_path)
    assert (tmp_path / "points.jsonl").read_text().count("\n") == 1
    assert not small_control.ready("root")


def test_a_sample_of_several_rows_is_refused_before_anything_is_measured(run: Run) -> None:
    two = Sample(inputs=(Tensor(name="x", datatype="FP32", data=np.zeros((2, 2), np.float32)),))
    with pytest.raises(InputError, match="sample 0 is not one row"):
        run("echo", samples=[two])


def test_more_in_flight_than_http_has_connections_for_goes_over_grpc(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MOST_OVER_HTTP", 3)
    (stage,) = run("echo", max_batch=2).stages
    assert [(p.batch, p.requests) for p in stage.points] == [(1, 1), (2, 1), (2, 2)]


def test_inputs_that_cannot_be_made_up_ask_for_samples(run: Run) -> None:
    with pytest.raises(InputError, match="input x: open dimensions"):
        run("wide")


def test_a_server_that_dies_meanwhile_is_told_as_such(small_models: Path, tmp_path: Path) -> None:
    with TritonServer(small_models, log_file=tmp_path / "triton.log") as server:

        def kill(done: int, total: int, label: str) -> None:
            if done == 1:
                os.kill(server.pid, signal.SIGKILL)

        with pytest.raises(TritonError, match="died: killed by SIGKILL"):
            profile_model(
                server, TritonControl.of(server), small_models, "echo", hardware="cpu", measured_at="",
                seconds_per_point=0.05, progress=kill,
            )  # fmt: skip
