"""The container engine of `make cluster-host`, killed with everything it ran, comes up again on what that leaves.

A second engine in namespaces of its own, whose first process takes all others with it when it ends. Its state lies in a folder
that outlives them. Process numbers start anew each time, so a left pid file names another program, as after a restart.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.settings import PROJECT
from e2e.support import Cluster

_ROUND = """
set -e
mount --make-rprivate /
mount --bind "$STATE/lib" /var/lib/docker
mount --bind "$STATE/run" /run
ip link set lo up
for number in $(seq 40); do sleep 60 & done
"$PYTHON" -m e2e.cluster host
docker ps -a --format 'left: {{.Names}}'
docker image inspect pause >/dev/null 2>&1 || tar -C "$STATE/image" -c pause | docker import - pause
docker rm -f one >/dev/null 2>&1 || true
docker run -d --privileged --restart on-failure:1 --name one pause /pause
docker ps --format 'runs: {{.Names}}'
"""
_STOP = '"$PYTHON" -m e2e.cluster host --stop\ntest ! -e /run/docker.pid\n'


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("unshare"),
    reason="needs root, dockerd, unshare",
)
def test_an_engine_killed_with_all_its_processes_comes_up_again(cluster: Cluster, tmp_path: Path) -> None:
    pause = max((cluster.given.cache / "build-tools").glob("*/pause"), key=lambda path: path.stat().st_mtime)
    for name in ("lib", "run", "image"):
        (tmp_path / name).mkdir()
    shutil.copy(pause, tmp_path / "image")

    first, second, last = (in_namespaces(tmp_path, script) for script in (_ROUND, _ROUND, _ROUND + _STOP))

    assert "left:" not in first
    for output in (first, second, last):
        assert "runs: one" in output
    for output in (second, last):
        assert "left: one" in output  # the engine still knows what it ran when it was killed


def in_namespaces(state: Path, script: str) -> str:
    """Run a script as the first process of its own namespaces; what it prints."""
    environment = {
        **os.environ, "STATE": str(state), "PYTHON": sys.executable, "KSERVE_EXT_CACHE": str(state / "cache"),
    }  # fmt: skip
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "bash", "-c", script],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
