"""Small models written by the tests, and a server on a repository of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from kserve_ext.triton.server import TritonServer

PLUS_ONE = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        rows = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", (row + 1).astype(np.float32))]) for row in rows]
"""
CONFIG = """
backend: "python"
max_batch_size: 8
input [ { name: "x", data_type: TYPE_FP32, dims: [ 2 ] } ]
output [ { name: "y", data_type: TYPE_FP32, dims: [ 2 ] } ]
instance_group [ { kind: KIND_CPU, count: 1 } ]
"""


@pytest.fixture
def add_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a model with this program and config into the test's repository, and say where that is."""

    def add_model(name: str = "plus", program: str = PLUS_ONE, config: str = CONFIG) -> Path:
        repository = tmp_path / "models"
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.py").write_text(program)
        (repository / name / "config.pbtxt").write_text(config)
        return repository

    return add_model


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., TritonServer]]:
    """Start servers that are stopped after the test."""
    with contextlib.ExitStack() as running:

        def start(repository: Path, log: str = "triton.log", **options: Any) -> TritonServer:
            return running.enter_context(TritonServer(repository, log_file=tmp_path / log, **options))

        yield start


@pytest.fixture
def plus(add_model: Callable[..., Path], start: Callable[..., TritonServer]) -> TritonServer:
    """A running server with the model `plus` in its repository, not loaded."""
    return start(add_model())


@pytest.fixture(scope="session")
def infer() -> Callable[..., tuple[int, Any]]:
    """Send rows of the FP32 input x as JSON: status and rows, or status and the whole answer of a failure."""

    def infer(address: str, model: str, rows: list[list[float]]) -> tuple[int, Any]:
        shape = [len(rows), len(rows[0])]
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": rows}]}
        with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            connection.request("POST", f"/v2/models/{model}/infer", json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status != http.client.OK:
            return response.status, answer
        values = answer["outputs"][0]["data"]
        width = len(values) // len(rows)
        return response.status, [values[at : at + width] for at in range(0, len(values), width)]

    return infer


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    above = psutil.Process(pid)
    return [above, *above.children(recursive=True)]


def still_running(processes: list[psutil.Process], patience_s: float = 30) -> list[psutil.Process]:
    """Those that still run after `patience_s`; a process that has ended but was not collected does not run."""
    until = time.monotonic() + patience_s
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < until:
        psutil.wait_procs(left, timeout=0.1)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def processes() -> SimpleNamespace:
    """`family(pid)` and `still_running(processes)`."""
    return SimpleNamespace(family=family, still_running=still_running)
