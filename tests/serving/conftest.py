"""What the tests of serving share: three servers with one model. They need the extra `predictor`, else they are left out."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

NEEDED = ("orjson", "kserve", "uvloop", "grpc_health")
collect_ignore_glob = ["test_*.py"] if any(importlib.util.find_spec(module) is None for module in NEEDED) else []

from serving.running import HERE, Running, ours, run_server  # noqa: E402 - not before it is known what there is

from kserve_ext.domain import Protocol  # noqa: E402
from kserve_ext.hosting import hosted  # noqa: E402


@pytest.fixture(scope="module")
def our_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("ours")
    settings = {"KSERVE_EXT_DRAIN_DELAY": "0", "KSERVE_EXT_MAX_REQUEST": "4Mi"}
    with run_server(ours("Doubler", folder), folder, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with run_server([str(HERE / "plain_kserve.py")], tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(scope="module")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same model in Triton's python backend."""
    folder: Path = tmp_path_factory.mktemp("triton")
    version = folder / "models" / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text((HERE / "triton_doubler.py").read_text())
    (version.parent / "config.pbtxt").write_text(
        'backend: "python" max_batch_size: 32 instance_group [{kind: KIND_CPU}] '
        'input [{name: "x" data_type: TYPE_FP32 dims: [4]}] output [{name: "y" data_type: TYPE_FP32 dims: [4]}]'
    )
    with hosted(folder / "models", "m", log_file=folder / "log") as host:
        host.control.load("m")
        ports = [int(host.url(protocol).rpartition(":")[2]) for protocol in (Protocol.REST, Protocol.GRPC)]
        yield Running(process=None, http=ports[0], grpc=ports[1], log=folder / "log")
