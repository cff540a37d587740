"""The container engine: what this machine cannot give, and what a killed engine leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.cluster import engine
from e2e.cluster.settings import HERE
from e2e.cluster.work import Missing, Workshop

ALL = (1 << 41) - 1


@pytest.mark.parametrize(
    ("bounding", "last", "missing"),
    [
        (ALL, 40, []),
        (ALL & ~(1 << 24), 40, ["CAP_SYS_RESOURCE"]),
        (ALL & ~(1 << 21) & ~(1 << 12), 40, ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
        ((1 << 38) - 1, 37, []),  # an older kernel, which knows fewer
    ],
    ids=["none", "one", "two", "older kernel"],
)
def test_missing_capabilities_are_read_from_the_bounding_set(bounding: int, last: int, missing: list[str]) -> None:
    assert engine.missing_capabilities(f"Name:\tx\nCapBnd:\t{bounding:016x}\n", last) == missing


def test_without_an_engine_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(Missing, match=r"no container engine answers.*make cluster-host"):
        engine.check()


def test_pid_files_that_name_another_program_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale, inner = tmp_path / "docker.pid", tmp_path / "run" / "containerd" / "containerd.pid"
    inner.parent.mkdir(parents=True)
    for file in (stale, inner):
        file.write_text(str(os.getpid()))  # a number that this test has by now
    monkeypatch.setattr(engine, "_PID_FILE", stale)
    monkeypatch.setattr(engine, "_RUN", tmp_path / "run")
    monkeypatch.setattr(engine, "_ROOT", tmp_path / "root")
    monkeypatch.setattr(engine, "_running", lambda program: False)
    with Workshop(cache=tmp_path).quietly("engine") as log:
        engine.forget_killed_engine(log)
    assert not stale.exists()
    assert not inner.exists()


def test_nothing_is_touched_while_an_engine_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text("1")
    monkeypatch.setattr(engine, "_PID_FILE", pid_file)
    monkeypatch.setattr(engine, "_running", lambda program: True)
    with Workshop(cache=tmp_path).quietly("engine") as log:
        engine.forget_killed_engine(log)
    assert pid_file.exists()


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
@pytest.mark.parametrize(
    ("arguments", "file"),
    [(["create", "--bundle", "{}"], "config.json"), (["exec", "--process={}/process.json"], "process.json")],
    ids=["a container", "a program in it"],
)
def test_the_runtime_takes_out_what_cannot_be_given(tmp_path: Path, arguments: list[str], file: str) -> None:
    wrapper = shutil.copy(HERE / "host" / "runc-without-missing.sh", tmp_path / "wrapper")
    (tmp_path / "missing.json").write_text('["CAP_SYS_RESOURCE"]')
    asked = {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"]}, "args": ["sh"]}
    (tmp_path / file).write_text(json.dumps({"process": asked} if file == "config.json" else asked))
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\n')
    runc.chmod(0o755)

    given = [argument.format(tmp_path) for argument in arguments]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([wrapper, *given], env={"PATH": path}, capture_output=True, text=True, check=True)

    assert done.stdout.split() == given  # runc gets what the engine said
    left = json.loads((tmp_path / file).read_text())
    assert (left.get("process") or left) == {"capabilities": {"bounding": ["CAP_CHOWN"]}, "args": ["sh"]}
