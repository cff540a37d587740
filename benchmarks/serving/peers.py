"""The servers beside each other: ours, KServe's and Triton's from this environment, others from environments of their own.

Those are built once, with pins, under $XDG_CACHE_HOME/kserve-ext/peers; one that cannot be is left out with a message.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.models import BenchModel, session
from benchmarks.serving.running import Serving, Way, program, until_right, v2_ways
from kserve_ext.bench.message import Reply, Request
from kserve_ext.bench.target import parse_target
from kserve_ext.bench.tensor import Array
from kserve_ext.domain import Protocol
from kserve_ext.hosting import hosted
from kserve_ext.triton.listen import choose_ports

PINS: dict[str, tuple[str, ...]] = {
    "mlserver": ("mlserver==1.7.1", "uvloop==0.21.0", "onnxruntime==1.31.1"),  # its workers die with later uvloops
    "litserve": ("litserve==0.2.19", "onnxruntime==1.31.1"),
    "bentoml": ("bentoml==1.4.39", "onnxruntime==1.31.1"),
    "kopf": ("kopf==1.45.2",),
}
_SCRIPTS = Path(__file__).parent / "scripts"
_ROOT = Path(__file__).parents[2]

Start = Callable[[BenchModel], AbstractContextManager[Serving]]


def cache() -> Path:
    """Where the environments of others are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kserve-ext" / "peers"


def installed(name: str) -> Path | None:
    """The Python of a peer's environment, built where it is missing; None, with a message, where it cannot be."""
    folder = cache() / name
    pins = "\n".join(PINS[name])
    python, mark = folder / "bin" / "python", folder / ".pins"
    if mark.is_file() and mark.read_text() == pins:
        return python
    print(f"{name}: building {folder} with {', '.join(PINS[name])}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "-q", *PINS[name]],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: left out, it cannot be installed: {done.stderr.strip()[-300:]}", flush=True)
            return None
    mark.write_text(pins)
    return python


# ------------------------------------------------------------------------------------------------------ the servers


@contextmanager
def ours(model: BenchModel, environment: Mapping[str, str] | None = None, *, workers: int = 1) -> Iterator[Serving]:
    """Our server with the predictor of predictors/digits, which serves any ONNX file."""
    command = [
        sys.executable, "-m", "kserve_ext.serving", "predictors.digits:Digits", "--model_name", "m",
        "--model_dir", str(model.file.parent.resolve()), "--workers", str(workers),
    ]  # fmt: skip
    settings = {"KSERVE_EXT_MAX_BATCH_SIZE": str(model.most), "KSERVE_EXT_DRAIN_DELAY": "0s", **(environment or {})}
    with _v2("ours", command, settings, model) as serving:
        yield serving


@contextmanager
def kserve(model: BenchModel) -> Iterator[Serving]:
    """KServe's own server, with a predictor as its documentation has it."""
    with _v2("kserve", [sys.executable, str(_SCRIPTS / "kserve_plain.py")], {}, model) as serving:
        yield serving


@contextmanager
def _v2(name: str, command: list[str], environment: dict[str, str], model: BenchModel) -> Iterator[Serving]:
    ports = choose_ports()
    whole = [*command, "--http_port", str(ports.http), "--grpc_port", str(ports.grpc)]
    variables = {**environment, "PYTHONPATH": str(_ROOT), "BENCH_MODEL": str(model.file.resolve())}
    ways = v2_ways(model, f"http://127.0.0.1:{ports.http}", f"grpc://127.0.0.1:{ports.grpc}")
    with _program(name, whole, variables, model, ways) as serving:
        yield serving


@contextmanager
def triton(model: BenchModel) -> Iterator[Serving]:
    """Triton 2.51: its front end in C++, its dynamic batcher, onnxruntime in its python backend."""
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "models" / "m" / "1"
        version.mkdir(parents=True)
        shutil.copyfile(_SCRIPTS / "triton_model.py", version / "model.py")
        shutil.copyfile(model.file, version / "model.onnx")
        (version.parent / "config.pbtxt").write_text(
            f'backend: "python" max_batch_size: {model.most} {model.config} dynamic_batching {{}} '
            "instance_group [{kind: KIND_CPU count: 1}]"
        )
        log = Path(folder) / "log"
        with hosted(Path(folder) / "models", "m", log_file=log) as host:
            host.control.load("m")
            ways = v2_ways(model, host.url(Protocol.REST), host.url(Protocol.GRPC))
            serving = Serving(name="triton", pid=host.server.pid, ways=ways)
            until_right(serving, _expected(model), host.server.alive, log)
            yield serving


@contextmanager
def mlserver(model: BenchModel, python: Path) -> Iterator[Serving]:
    """MLServer with adaptive batching, inference in the server's own process, which is its quickest way here."""
    ports = choose_ports()
    with tempfile.TemporaryDirectory() as folder:
        server = {
            "http_port": ports.http, "grpc_port": ports.grpc, "metrics_port": ports.metrics, "parallel_workers": 0,
            "debug": False,
        }  # fmt: skip
        served = {
            "name": "m", "implementation": "mlserver_runtime.Onnx", "max_batch_size": model.most, "max_batch_time": 0.002,
            "parameters": {"uri": str(model.file.resolve())},
        }  # fmt: skip
        (Path(folder) / "settings.json").write_text(json.dumps(server))
        (Path(folder) / "model-settings.json").write_text(json.dumps(served))
        ways = v2_ways(model, f"http://127.0.0.1:{ports.http}", f"grpc://127.0.0.1:{ports.grpc}")
        del ways["rest_binary"]  # it takes the extension only behind a content type of its own
        command = [str(python), "-m", "mlserver.cli.main", "start", folder]
        with _program("mlserver", command, {"PYTHONPATH": str(_SCRIPTS)}, model, ways) as serving:
            yield serving


@contextmanager
def litserve(model: BenchModel, python: Path) -> Iterator[Serving]:
    """LitServe with its batching; plain JSON, it has no V2 protocol."""
    port = choose_ports().http
    command = [str(python), str(_SCRIPTS / "litserve_server.py"), str(port)]
    ways = _plain_ways(model, port, lambda content: content["y"])
    environment = {"BENCH_MODEL": str(model.file.resolve()), "BENCH_MOST": str(model.most)}
    with _program("litserve", command, environment, model, ways) as serving:
        yield serving


@contextmanager
def bentoml(model: BenchModel, python: Path) -> Iterator[Serving]:
    """BentoML with its adaptive batching; plain JSON, it has no V2 protocol."""
    port = choose_ports().http
    command = [str(python), "-m", "bentoml", "serve", "bentoml_service:Onnx", "--port", str(port),
               "--working-dir", str(_SCRIPTS)]  # fmt: skip
    ways = _plain_ways(model, port, lambda content: content)
    environment = {
        "BENCH_MODEL": str(model.file.resolve()), "BENCH_MOST": str(model.most), "BENTOML_DO_NOT_TRACK": "true",
    }  # fmt: skip
    with _program("bentoml", command, environment, model, ways) as serving:
        yield serving


def starts() -> dict[str, Start]:
    """Every server that can be started here, ours first."""
    others: dict[str, Callable[[BenchModel, Path], AbstractContextManager[Serving]]] = {
        "mlserver": mlserver, "litserve": litserve, "bentoml": bentoml,
    }  # fmt: skip
    found: dict[str, Start] = {"ours": ours, "kserve": kserve, "triton": triton}
    for name, start in others.items():
        if (python := installed(name)) is not None:
            found[name] = _bound(start, python)
    return found


def _bound(start: Callable[[BenchModel, Path], AbstractContextManager[Serving]], python: Path) -> Start:
    return lambda model: start(model, python)


def _plain_ways(model: BenchModel, port: int, answer: Callable[[Any], Any]) -> dict[str, Way]:
    requests = tuple(
        Request(
            path="/predict",
            body=json.dumps({"x": sample.inputs[0].data.tolist()}).encode(),
            headers=(("Content-Type", "application/json"),),
        )
        for sample in model.samples
    )
    target = parse_target(f"http://127.0.0.1:{port}", model="m")

    def read(reply: Reply) -> Array:
        return np.array(answer(json.loads(reply.body)), np.float64)

    return {"rest_json": Way(name="rest_json", target=target, requests=requests, read=read)}


@contextmanager
def _program(
    name: str, command: list[str], environment: dict[str, str], model: BenchModel, ways: dict[str, Way]
) -> Iterator[Serving]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with program(command, environment, Path(folder), log) as running:
            serving = Serving(name=name, pid=running.pid, ways=ways, running=running)
            until_right(serving, _expected(model), lambda: running.poll() is None, log)
            yield serving


def _expected(model: BenchModel) -> Array:
    answer: Array = session(model).run(None, model.rows(1))[0]
    return answer
