"""What all tests share: the built example models, a running Triton that serves them, and how Hypothesis searches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.find import find_server
from kserve_ext.triton.repository import stage
from kserve_ext.triton.server import TritonServer

# The same examples in every run, and no deadline: the machine is shared.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def model_repo() -> Path:
    """The example models as they are in the repository."""
    return Path(__file__).parents[1] / "model_repo"


@pytest.fixture(scope="session")
def built_models(model_repo: Path) -> Path:
    """The example models with their weights; build.py builds what is missing, other workers wait for it."""
    command = [sys.executable, "-B", str(model_repo / "build.py")]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return model_repo


@pytest.fixture(scope="session")
def triton(built_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A running server with all example models staged and none loaded; one for each worker."""
    folder = tmp_path_factory.mktemp("triton")
    install = find_server()
    models = sorted(config.parent.name for config in built_models.glob("*/config.pbtxt"))
    stage(built_models, folder / "models", models, install.backends)
    with TritonServer(folder / "models", log_file=folder / "triton.log", install=install) as server:
        yield server


@pytest.fixture
def control(triton: TritonServer) -> TritonControl:
    """Control of the running server. A test unloads what it loads."""
    return TritonControl.of(triton)
