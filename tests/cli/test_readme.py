"""Every command and example of the README runs as it is shown, in a copy of what a user has."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from kserve_ext.intent.annotations import annotations_markdown
from kserve_ext.intent.read import read_services

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
PROGRAMS = {  # python blocks that name their file in the first line
    block.splitlines()[0].removeprefix("# "): block
    for language, block in BLOCKS
    if language == "python" and block.startswith("# ")
}
OURS = [line for line in COMMANDS if line.startswith("kserve-ext ")]
ALONE = [line for line in OURS if not re.search(r"sentiment|127\.0\.0\.1|^kserve-ext up|--namespace|-cluster$", line)]
ON_A_CLUSTER = [line for line in OURS if re.search(r"--namespace|-cluster$", line)]
SERVED_PREDICTOR = "python -m kserve_ext.serving thermometer:Thermometer --model_name thermometer --model_dir ."


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the README's manifests, models, traces and policy, so that nothing is written into the project."""
    for name in ("manifests", "model_repo", "benchmarks/data"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".b*", "*.onnx"))
    for name, program in PROGRAMS.items():
        (tmp_path / name).write_text(program)
    return tmp_path


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one line as a shell in the activated environment would."""
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}


def test_the_readme_shows_no_other_kind_of_command() -> None:
    others = [line for line in COMMANDS if line not in OURS]
    assert others == ["make run", "make test", "source .venv/bin/activate", SERVED_PREDICTOR]


@pytest.mark.parametrize(
    "target",
    [
        "run",
        "test",
        "bench-fidelity",
        "bench-policy",
        "bench-kpa",
        "bench-serving",
        "bench-fuzz",
        "cluster",
        "e2e",
        "cluster-down",
    ],
)
def test_the_make_targets_of_the_readme_exist(target: str) -> None:
    assert f"make {target}" in README
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", ON_A_CLUSTER)
def test_a_command_for_a_cluster_has_the_options_that_the_readme_shows(project: Path, line: str) -> None:
    """They run against the real cluster in e2e; here without one, which each says."""
    done = run(f"KUBECONFIG=none.yaml {line}", project)
    assert (done.returncode, "none.yaml: not a kubeconfig" in done.stderr) == (2, True), done.stderr


def test_the_readme_lists_every_annotation() -> None:
    assert README.split("<!-- annotations -->\n")[1].split("<!-- /annotations -->")[0] == annotations_markdown()


def test_the_manifest_of_the_readme_is_one() -> None:
    (service,) = read_services(next(block for language, block in BLOCKS if language == "yaml"), "README.md")
    assert (service.intent.slo.p99_s, service.intent.rate.high_rps) == (0.060, 200.0)


def test_the_manifest_of_several_models_is_one() -> None:
    (text,) = (block for language, block in BLOCKS if language == "yaml" and "neighbours" in block)
    (service,) = read_services(text, "README.md")
    assert [(each.model, each.p99_s, each.rate.high_rps) for each in service.intent.neighbours] == [
        ("embed", 0.12, 60.0)
    ]


@pytest.mark.parametrize("line", ALONE)
def test_a_command_of_the_readme_that_needs_no_server_runs(project: Path, line: str) -> None:
    done = run(line, project)
    assert done.returncode == 0, done.stderr


@pytest.mark.triton
@pytest.mark.timeout(600)
def test_the_commands_for_a_model_of_your_own_run_one_after_another(project: Path) -> None:
    shutil.copy(ROOT / "model_repo/digits/1/model.onnx", project / "model.onnx")
    lines = [line for line in OURS if "sentiment" in line]
    assert [line.split()[1] for line in lines] == ["init", "profile", "plan", "run"]
    for line in lines[:-1]:
        done = run(line, project)
        assert done.returncode == 0, done.stderr
    done = run(lines[-1], project)
    assert done.returncode in (0, 1), done.stderr  # 1: this machine is too busy for the SLO
    assert (project / "out" / "report.html").exists()


@pytest.mark.triton
def test_a_model_is_served_until_ctrl_c_and_can_be_loaded_meanwhile(project: Path, free_port: int) -> None:
    up, verify = (line for line in OURS if "8080" in line)
    here = str(free_port)
    with subprocess.Popen(
        ["bash", "-c", f"exec {up.replace('8080', here)}"],
        cwd=project,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(f"http://127.0.0.1:{here}/v2/models/emulated/ready", process)
            done = run(verify.replace("8080", here) + " --duration 4s", project)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
    assert done.returncode in (0, 1), done.stderr


@pytest.mark.skipif(find_spec("kserve") is None, reason="the extra `predictor` is not installed")
def test_the_predictor_of_the_readme_is_served(project: Path, free_port: int) -> None:
    line = f"exec {SERVED_PREDICTOR} --http_port {free_port} --enable_grpc false"
    address = f"http://127.0.0.1:{free_port}/v2/models/thermometer"
    with subprocess.Popen(
        ["bash", "-c", line], cwd=project, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(f"{address}/ready", process)
            body = b'{"inputs": [{"name": "celsius", "datatype": "FP32", "shape": [2, 1], "data": [0, 100]}]}'
            with urllib.request.urlopen(f"{address}/infer", body, timeout=30) as answer:
                (output,) = json.load(answer)["outputs"]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(40) == 0
    assert output["data"] == [32.0, 212.0]


def wait_for(url: str, process: subprocess.Popen[str], patience_s: float = 60.0) -> None:
    """Return when `url` answers 200."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer within {patience_s} s")
