"""The main job as a user starts it, on the real Triton: what it leaves, and what it does when it is disturbed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.triton

FIGURES = {"throughput_rps", "p50_s", "p95_s", "p99_s", "mean_batch"}


@pytest.fixture
def manifest(tmp_path: Path, root: Path) -> Path:
    """The emulated example at an easy rate, with the repository's profile: a run of it measures no profile."""
    text = (root / "manifests" / "examples" / "emulated.yaml").read_text()
    text = re.sub(r"kserve-ext.dev/rate: .*", "kserve-ext.dev/rate: 60rps", text)
    text = re.sub(
        r"kserve-ext.dev/slo-p99: .*", "kserve-ext.dev/slo-p99: 400ms\n    kserve-ext.dev/profile: p.json", text
    )
    shutil.copy(root / "model_repo/emulated/profiles/a100-1g.10gb.json", tmp_path / "p.json")
    path = tmp_path / "emulated.yaml"
    path.write_text(text)
    return path


def test_a_run_leaves_its_figures_its_report_and_its_manifests(kserve_ext, manifest: Path, tmp_path: Path) -> None:
    done = kserve_ext("run", str(manifest))
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert done.returncode == (0 if record["held"] else 1), done.stderr
    assert record["rate_rps"] == 60
    for name in ("predicted", "measured", "untuned"):
        assert set(record[name]) == FIGURES
        assert all(value > 0 for value in record[name].values())
    assert record["measured"]["throughput_rps"] == pytest.approx(60, rel=0.15)
    assert record["untuned"]["mean_batch"] == 1
    assert "emulated" in (tmp_path / "out/report.html").read_text()
    assert (tmp_path / "out/bundle/kustomization.yaml").exists()
    assert "predicted" in done.stdout
    assert "untuned" in done.stdout


def test_two_runs_into_one_folder_do_not_meet(kserve_ext, manifest: Path, tmp_path: Path) -> None:
    with start("run", str(manifest), cwd=tmp_path) as first:
        wait_until(lambda: (tmp_path / "out/triton.log").exists(), first)
        second = kserve_ext("run", str(manifest))
        first.send_signal(signal.SIGINT)
        first.wait(60)
    assert (second.returncode, "another run" in second.stderr) == (2, True), second.stderr


def test_ctrl_c_stops_triton_and_leaves_no_half_written_file(manifest: Path, tmp_path: Path) -> None:
    with start("run", str(manifest), cwd=tmp_path) as running:
        wait_until(lambda: bool(servers_of(running.pid)), running)
        servers = servers_of(running.pid)
        running.send_signal(signal.SIGINT)
        code = running.wait(60)
    assert code == 130
    assert not [server for server in servers if server.is_running() and server.status() != psutil.STATUS_ZOMBIE]
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not {name for name in left if name.startswith(".") and name != ".lock"}
    assert "run.json" not in left


def test_a_model_that_answers_nan_is_refused_before_it_is_measured(kserve_ext, tmp_path: Path) -> None:
    save_scaled(tmp_path / "broken.onnx", rows="batch", factor=float("nan"))
    assert kserve_ext("init", "broken.onnx", "--slo-p99", "80ms", "--rate", "5rps").returncode == 0
    done = kserve_ext("profile", "broken", "--model-repo", "model_repo")
    assert (done.returncode, "NaN" in done.stderr, "`y`" in done.stderr) == (2, True, True), done.stderr
    assert not (tmp_path / "model_repo/broken/profiles").exists()


def test_a_model_of_fixed_batch_is_planned_without_batching_and_told_why(kserve_ext, tmp_path: Path) -> None:
    save_scaled(tmp_path / "fixed.onnx", rows=1, factor=2.0)
    assert kserve_ext("init", "fixed.onnx", "--slo-p99", "80ms", "--rate", "5rps").returncode == 0
    assert kserve_ext("profile", "fixed", "--model-repo", "model_repo").returncode == 0
    plan = kserve_ext("plan", "manifests/fixed.yaml", "--model-repo", "model_repo", "-o", "json")
    decided = json.loads(plan.stdout)
    assert decided["stages"][0]["max_batch_size"] == 0
    why = {reason["field"]: reason["text"] for reason in decided["reasons"]}["stages[0].max_batch_size"]
    assert "fixed batch dimension" in why


def save_scaled(path: Path, *, rows: int | str, factor: float) -> None:
    """A model of four numbers that multiplies them by `factor`."""
    shape = [rows, 4]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "f"], ["y"])], "scaled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.float32(factor), "f")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    """A command of ours that goes on in the background."""
    command = [str(Path(sys.executable).with_name("kserve-ext")), *arguments]
    repository = Path(__file__).parents[2] / "model_repo"
    return subprocess.Popen(
        command, cwd=cwd, env={**os.environ, "KSERVE_EXT_MODEL_REPO": str(repository)}, stderr=subprocess.DEVNULL
    )


def servers_of(pid: int) -> list[psutil.Process]:
    """Triton and its stubs below a process."""
    return [child for child in psutil.Process(pid).children(recursive=True) if "triton" in child.name()]


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes], patience_s: float = 60.0) -> None:
    """Return when `happened()` is true."""
    until = time.monotonic() + patience_s
    while not happened():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
