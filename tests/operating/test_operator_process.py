"""The operator and its guard as processes against an API server that can be made to do what a real one cannot.

Killed, stopped, cut off, without its Prometheus, in a hundred rollouts: no floor outlives its time, none is on a Revision
that takes no traffic, and every service scales as before. What they ask for is what their roles allow, and no more.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.watched_api import Door, WatchedApi, serving
from benchmarks.watched_fleet import OWN, Fleet, as_planned, kubeconfig, manifest

ROOT = Path(__file__).parents[2]
TTL_S = 6
_PATIENCE_S = 120.0  # on a busy machine; nothing that is tested waits so long
STORED = as_planned(manifest("a"))


class Stage:
    """An API server with one service that expects 500 rps, one door for the operator and one for the guard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = WatchedApi()
        self.fleet = Fleet(self.api)
        self.operators = Door(api=self.api)
        self.guards = Door(api=self.api)
        self.prometheus = Door(api=self.api, elsewhere=self.fleet.prometheus)
        self.processes: list[subprocess.Popen[bytes]] = []

    def operator(self) -> subprocess.Popen[bytes]:
        return self._start(
            "run", self.operators, "--port", str(free_port()), "--status-port", str(free_port()), "--every", "200ms",
            "--prometheus", f"{self.prometheus.url}/prometheus",
        )  # fmt: skip

    def guard(self) -> subprocess.Popen[bytes]:
        return self._start("guard", self.guards, "--every", "500ms")

    def _start(self, what: str, door: Door, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "kserve_ext.cli.app", "operator", what, "--namespace", OWN, "--floor-ttl", f"{TTL_S}s",
                   "--kubeconfig", str(kubeconfig(self.folder, door.url)), *more]  # fmt: skip
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        with (self.folder / f"{what}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env=environment, start_new_session=True
            )
        self.processes.append(process)
        return process

    def made(self, name: str) -> bool:
        return any(path.endswith(f"/{name}") for path in list(self.api.objects))

    def ends(self, process: subprocess.Popen[bytes], number: int) -> None:
        if number == signal.SIGTERM:
            process.terminate()  # as the kubelet ends a container: by its first process
        else:
            os.killpg(process.pid, number)
        process.wait(20)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    with serving(found.operators), serving(found.guards), serving(found.prometheus):
        try:
            yield found
        finally:
            for process in found.processes:
                if process.poll() is None:
                    found.ends(process, signal.SIGKILL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def until(what: str, check: Callable[[], Any]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not check():
        assert time.monotonic() < end, f"not within {_PATIENCE_S:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def with_floor(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    """A service whose floor the operator has raised, and a guard that watches."""
    stage.fleet.add("a", STORED, remembered_rps=500.0)
    process = stage.operator()
    until("a floor is raised", lambda: stage.fleet.floored("a"))
    stage.guard()
    yield process


def test_an_operator_that_is_killed_leaves_a_floor_no_longer_than_its_time(stage: Stage) -> None:
    with with_floor(stage) as process:
        assert stage.fleet.min_scales("a") == {"a-00001": "2"}
        stage.ends(process, signal.SIGKILL)
        until("the guard removes the floor", lambda: not stage.fleet.floored("a"))
        assert stage.fleet.min_scales("a") == {"a-00001": "1"}


def test_one_that_starts_again_goes_on_with_the_floors_that_it_finds(stage: Stage) -> None:
    with with_floor(stage) as process:
        patches = _patches(stage)
        stage.ends(process, signal.SIGTERM)
        assert stage.fleet.floored("a") == ["a-00001"]
        stage.operator()
        until("it leads", lambda: len(_leases(stage)) > 0 and _holds(stage))
        time.sleep(1.0)
        assert stage.fleet.floored("a") == ["a-00001"]
        assert _patches(stage) == patches


def test_one_that_is_uninstalled_takes_its_floors_along(stage: Stage) -> None:
    with with_floor(stage) as process:
        stage.api.remove(stage.fleet.deployment)
        stage.ends(process, signal.SIGTERM)
        assert stage.fleet.min_scales("a") == {"a-00001": "1"}


def test_one_that_is_cut_off_loses_its_floors_and_patches_no_old_revision_when_it_is_back(stage: Stage) -> None:
    with with_floor(stage):
        stage.operators.shut = True
        until("the guard removes the floor", lambda: not stage.fleet.floored("a"))
        stage.fleet.roll_out("a")
        stage.api.forget_events()  # what happened meanwhile is not told: it has to list again
        before = len(stage.api.asked)
        stage.operators.shut = False
        until("the new Revision has a floor", lambda: stage.fleet.floored("a") == ["a-00002"])
        patched = {
            one.resource[2] for one in stage.api.asked[before:] if one.method == "PATCH" and "/revisions/" in one.path
        }
        assert patched == {"a-00002"}
        assert stage.fleet.min_scales("a")["a-00001"] == "1"


def test_without_its_prometheus_a_floor_ends_by_itself_and_comes_back_with_it(stage: Stage) -> None:
    with with_floor(stage):
        stage.prometheus.shut = True
        until("the floor is gone", lambda: not stage.fleet.floored("a"))
        assert stage.fleet.min_scales("a") == {"a-00001": "1"}
        stage.prometheus.shut = False
        until("it is back", lambda: stage.fleet.floored("a"))


def test_a_hundred_rollouts_leave_one_floor_and_every_old_revision_as_it_was(stage: Stage) -> None:
    with with_floor(stage):
        for _ in range(100):
            stage.fleet.roll_out("a")
            time.sleep(0.03)
        until("the live Revision has the floor", lambda: stage.fleet.floored("a") == ["a-00101"])
        scales = stage.fleet.min_scales("a")
        assert scales.pop("a-00101") == "2"
        assert set(scales.values()) == {"1"}


def test_what_the_operator_and_its_guard_ask_for_is_what_their_roles_allow_and_no_more(stage: Stage) -> None:
    stage.fleet.add("late", manifest("late"), remembered_rps=500.0)  # admitted while no webhook was there
    for config in ("config-features", "config-autoscaler", "config-defaults"):
        stage.api.put(
            f"/api/v1/namespaces/knative-serving/configmaps/{config}",
            {"kind": "ConfigMap", "metadata": {"name": config}},
        )
    with with_floor(stage) as process:
        until(
            "the late one is planned",
            lambda: "kserve-ext.dev/planned" in stage.fleet.service("late")["metadata"]["annotations"],
        )
        until("it has a floor", lambda: stage.fleet.floored("late"))
        standard(stage, "cpu", scaler="hpa", vertical="recommend")
        standard(stage, "rps", scaler="keda-rps", prometheus="http://prometheus:9090", node_start="4m")
        stage.fleet.delete("late")
        until("its history is gone", lambda: deleted(stage, "configmaps"))
        until(
            "what scales is there, and nothing else",
            lambda: all(map(stage.made, ("cpu-recommender", "rps-placeholder"))),
        )
        until(
            "nor what scaled before",
            lambda: deleted(stage, "horizontalpodautoscalers") and deleted(stage, "deployments"),
        )
        guards = len(stage.api.asked)
        stage.ends(process, signal.SIGTERM)
        assert_least(stage, stage.operators, "kserve-ext-operator", "kserve-ext-operator-scaling")
        until("the guard removes the floor", lambda: not stage.fleet.floored("a"))
        assert len(stage.api.asked) > guards
        assert_least(stage, stage.guards, "kserve-ext-guard")


@dataclass(frozen=True, slots=True)
class Right:
    """What a role allows, or a request asks for. `namespace` empty: everywhere; `names` empty: whatever its name."""

    namespace: str
    group: str
    resource: str
    verb: str
    names: frozenset[str] = frozenset()

    def covers(self, asked: Right) -> bool:
        same = (self.group, self.resource, self.verb) == (asked.group, asked.resource, asked.verb)
        return same and self.namespace in ("", asked.namespace) and (not self.names or asked.names <= self.names)


def asked_for(stage: Stage, door: Door) -> set[Right]:
    """Of each request; to make an object by a patch takes both rights."""
    found = set()
    for one in stage.api.asked:
        if one.door is door:
            for verb in ("create", "patch") if one.created else (one.verb,):
                group, resource, name = one.resource
                found.add(Right(one.namespace, group, resource, verb, frozenset({name} if name else ())))
    return found


def allowed(name: str) -> set[Right]:
    """The roles of that name, taken apart."""
    found = set()
    for role in yaml.safe_load_all((ROOT / "manifests/operator/roles.yaml").read_text()):
        if role["metadata"]["name"] == name:
            for rule in role["rules"]:
                for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                    names = frozenset(rule.get("resourceNames", ()))
                    found.add(Right(role["metadata"].get("namespace", ""), group, resource, verb, names))
    return found


def standard(stage: Stage, name: str, **annotations: str) -> None:
    """A service in Standard mode, admitted while no webhook was there."""
    found = manifest(name)
    notes = {f"kserve-ext.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    found["metadata"]["annotations"] |= {"serving.kserve.io/deploymentMode": "Standard", **notes}
    stage.fleet.add(name, found)


def deleted(stage: Stage, resource: str) -> bool:
    return any(one.verb == "delete" and one.resource[1] == resource for one in list(stage.api.asked))


def assert_least(stage: Stage, door: Door, *names: str) -> None:
    """Every request is allowed, and every right is used."""
    rights, requests = set().union(*map(allowed, names)), asked_for(stage, door)
    assert [one for one in requests if not any(right.covers(one) for right in rights)] == []
    assert [right for right in rights if not any(right.covers(one) for one in requests)] == []


def _patches(stage: Stage) -> int:
    return sum(one.method == "PATCH" and "/revisions/" in one.path for one in stage.api.asked)


def _leases(stage: Stage) -> dict[str, Any]:
    return {path: one for path, one in stage.api.objects.items() if path.endswith("/leases/kserve-ext-operator")}


def _holds(stage: Stage) -> bool:
    return all(one["spec"].get("holderIdentity") for one in _leases(stage).values())
