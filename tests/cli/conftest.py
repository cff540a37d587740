"""The command line as a user has it: a process of its own, in an empty folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture
def kserve_ext(tmp_path: Path) -> Command:
    """Run `kserve-ext ARGUMENTS…` in a fresh folder, or in `cwd`."""

    def command(*arguments: str, stdin: str = "", cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("kserve-ext"), *arguments],
            input=stdin,
            cwd=cwd,
            env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1", "KSERVE_EXT_MODEL_REPO": str(ROOT / "model_repo")},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return command


@pytest.fixture
def emulated(root: Path) -> str:
    """The manifest of the example that has a profile in the repository."""
    return str(root / "manifests" / "examples" / "emulated.yaml")


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
