"""The loop over time: its floors follow the live Revision and go when nothing is seen any more."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from factories import profile
from operating.asking import models, service

from kserve_ext.cluster.objects import Ref
from kserve_ext.errors import UnreachableError
from kserve_ext.intent.read import read_services
from kserve_ext.observe.readings import Counted
from kserve_ext.operator.floors import BASE, MIN_SCALE
from kserve_ext.operator.loop import Loop, learn
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.records import history_configmap
from kserve_ext.operator.services import Operated
from kserve_ext.policy.forecast.history import empty
from kserve_ext.render.bundle import to_yaml

KEY = ("team", "digits")
START_S = 1_700_000_040.0  # a whole minute


class World:
    """One service, its Revisions, and the API server that changes them."""

    def __init__(self) -> None:
        written = service(rate="50..3000rps")
        (read,) = read_services(to_yaml(written), "m.yaml")
        plan = named(Planner(0).ask(read, models()).result(), read.intent)
        self.plan = plan
        self.known: dict[Any, Operated] = {
            KEY: Operated(plan=plan, profile=profile(), measured=profile(), digest="d", knative=True, floored=True)
        }
        self.found: dict[str, dict[str, Any]] = {}
        self.scale = {"actualScale": 1, "desiredScale": 1}
        self.patches: list[str] = []
        self.reachable = True
        self.histories: tuple[Any, ...] = ()
        self.deleted: list[str] = []
        self.unplanned: frozenset[Any] = frozenset()
        self.roll_out("a-00001")

    def roll_out(self, name: str) -> None:
        notes = {MIN_SCALE: "1"}
        labels = {"serving.kserve.io/inferenceservice": "digits"}
        metadata = {"namespace": "team", "name": name, "annotations": notes, "labels": labels}
        self.found[name] = {"metadata": metadata, "status": {}}
        self.latest = name

    def operated(self) -> Mapping[Any, Operated]:
        return {key: one for key, one in self.known.items() if one.floored}

    def planned(self) -> Mapping[Any, Operated]:
        return self.known

    def pending(self) -> frozenset[Any]:
        return self.unplanned

    def service(self, key: Any) -> Any:
        if key != KEY:
            return None
        status = {"latestReadyRevision": self.latest, "traffic": [{"revisionName": self.latest, "percent": 100}]}
        return {"metadata": {"namespace": "team", "name": "digits"}, "status": {"components": {"predictor": status}}}

    def revision(self, namespace: str, name: str) -> Any:
        return self.found.get(name)

    def revisions(self) -> tuple[Any, ...]:
        return tuple(self.found.values())

    def autoscaler(self, namespace: str, name: str) -> Any:
        return {"status": self.scale}

    def pods_by_service(self) -> Mapping[Any, Any]:
        return {}

    def merge(self, ref: Ref, patch: Any) -> Any:
        if not self.reachable:
            raise UnreachableError("the API server does not answer")
        self.patches.append(ref.name)
        notes = self.found[ref.name]["metadata"]["annotations"]
        for key, value in patch["metadata"]["annotations"].items():
            notes.pop(key, None)
            if value is not None:
                notes[key] = value
        return self.found[ref.name]

    def get(self, ref: Ref) -> None:
        return None

    def apply(self, wanted: Any, *, force: bool = False) -> Any:
        return wanted

    def delete(self, ref: Ref) -> bool:
        self.deleted.append(ref.name)
        return False

    def list(self, api_version: str, kind: str, *, namespace: str, labels: str) -> tuple[Any, ...]:
        return self.histories

    def min_scale(self, name: str) -> int:
        return int(self.found[name]["metadata"]["annotations"][MIN_SCALE])


class Busy:
    """A source that remembers a busy day; `gone` is a Prometheus that is away."""

    rps, gone = 2500, False

    def sample(self, asked: Mapping[Any, Any], now_s: float) -> Mapping[Any, Counted]:
        if self.gone:
            raise UnreachableError("Prometheus is away")
        return {key: Counted(requests=10.0 * self.rps) for key in asked}

    def history(self, key: Any, asked: Any, now_s: float, seconds: float) -> tuple[float, tuple[int, ...]]:
        return now_s // 60 * 60 - 10_800.0, (60 * self.rps,) * 180


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def source() -> Busy:
    return Busy()


@pytest.fixture
def loop(world: World, source: Busy) -> Loop:
    said: list[str] = []
    woken: list[str] = []

    def at_once(*asked: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(learn(*asked))
        return done

    found = Loop(cluster=world, objects=world, source=source, learn=at_once,  # type: ignore[arg-type]
                 say=lambda service, reason, text: said.append(reason), wake=woken.append, own_namespace="own")  # fmt: skip
    found.said, found.woken = said, woken  # type: ignore[attr-defined]
    return found


def rounds(loop: Loop, begin_s: float, count: int) -> float:
    for index in range(count):
        loop.round(begin_s + 10.0 * index)
    return begin_s + 10.0 * (count - 1)


def test_a_floor_is_raised_for_what_is_expected_and_patched_once(loop: Loop, world: World) -> None:
    rounds(loop, START_S, 5)
    assert world.min_scale("a-00001") > 1
    assert world.found["a-00001"]["metadata"]["annotations"][BASE] == "1"
    assert world.patches == ["a-00001"]
    assert loop.said == ["FloorRaised"]  # type: ignore[attr-defined]


def test_a_hundred_rollouts_leave_one_floor_on_the_live_revision(loop: Loop, world: World) -> None:
    now_s = rounds(loop, START_S, 3)
    for index in range(2, 102):
        world.roll_out(f"a-{index:05}")
        now_s += 10.0
        loop.round(now_s)
        floored = [name for name, found in world.found.items() if BASE in found["metadata"]["annotations"]]
        assert floored == [world.latest]
    assert all(world.min_scale(name) == 1 for name in world.found if name != world.latest)


def test_without_counts_a_floor_stays_until_it_expires_and_goes_then(loop: Loop, world: World, source: Busy) -> None:
    now_s = rounds(loop, START_S, 3)
    source.gone = True
    now_s = rounds(loop, now_s + 10.0, 29)
    assert world.min_scale("a-00001") > 1
    rounds(loop, now_s + 10.0, 2)
    assert world.min_scale("a-00001") == 1


def test_a_service_that_wants_no_floor_any_more_has_none_after_the_next_round(loop: Loop, world: World) -> None:
    now_s = rounds(loop, START_S, 3)
    world.known = {}
    loop.round(now_s + 10.0)
    assert world.min_scale("a-00001") == 1


def test_what_a_service_without_a_floor_answers_is_counted_all_the_same(loop: Loop, world: World) -> None:
    world.known = {KEY: replace(world.known[KEY], floored=False)}
    loop.round(START_S)
    assert loop.counted[KEY].requests == 10 * Busy.rps
    assert not loop.services
    assert not world.patches


def test_a_new_leader_takes_over_the_floors_that_it_finds(world: World, loop: Loop) -> None:
    world.found["a-00001"]["metadata"]["annotations"] |= {MIN_SCALE: "9", BASE: "1"}
    world.found["a-00000"] = {
        "metadata": {"namespace": "team", "name": "a-00000", "annotations": {MIN_SCALE: "9", BASE: "2"}}
    }
    rounds(loop, START_S, 3)
    assert world.min_scale("a-00000") == 2
    assert world.min_scale("a-00001") > 1


def test_an_api_server_that_is_away_ends_the_round_and_the_next_one_goes_on(loop: Loop, world: World) -> None:
    world.reachable = False
    loop.round(START_S)
    with pytest.raises(UnreachableError):
        loop.round(START_S + 10.0)
    world.reachable = True
    loop.round(START_S + 20.0)
    assert world.min_scale("a-00001") > 1


def test_a_service_whose_autoscaler_was_restarted_at_zero_is_woken(loop: Loop, world: World) -> None:
    world.scale = {"actualScale": 0, "desiredScale": -1}
    rounds(loop, START_S, 8)
    assert loop.woken == ["http://digits-predictor.team.svc.cluster.local/v2/health/ready"]  # type: ignore[attr-defined]


def test_a_clock_that_jumped_back_changes_nothing(loop: Loop, world: World) -> None:
    now_s = rounds(loop, START_S, 3)
    before = world.min_scale("a-00001")
    loop.round(now_s - 3600.0)
    assert world.min_scale("a-00001") == before


def test_a_clock_that_jumped_ahead_drops_the_floor_and_the_next_rounds_raise_it_again(loop: Loop, world: World) -> None:
    now_s = rounds(loop, START_S, 3) + 86_400.0
    rounds(loop, now_s, 8)
    assert world.min_scale("a-00001") > 1
    assert set(world.patches) == {"a-00001"}


def test_a_leader_that_still_learns_leaves_the_floor_it_finds_for_as_long_as_one_lasts(
    loop: Loop, world: World
) -> None:
    world.found["a-00001"]["metadata"]["annotations"] |= {MIN_SCALE: "3", BASE: "1"}
    loop.learn = lambda *asked: Future()  # for ever
    now_s = rounds(loop, START_S, 30)
    assert (world.min_scale("a-00001"), world.patches) == (3, [])
    rounds(loop, now_s + 10.0, 2)
    assert world.min_scale("a-00001") == 1


def test_a_floor_of_a_service_that_is_still_being_planned_stays_for_as_long_as_one_lasts(
    loop: Loop, world: World
) -> None:
    world.found["a-00001"]["metadata"]["annotations"] |= {MIN_SCALE: "3", BASE: "1"}
    world.known, world.unplanned = {}, frozenset({KEY})
    now_s = rounds(loop, START_S, 30)
    assert world.min_scale("a-00001") == 3
    rounds(loop, now_s + 10.0, 2)
    assert world.min_scale("a-00001") == 1


def test_histories_of_services_that_went_while_no_operator_was_there_go_with_the_first_round(
    loop: Loop, world: World
) -> None:
    kept, orphan = (history_configmap("own", "team", name, empty(60, 10)) for name in ("digits", "gone"))
    world.histories = (kept, orphan)
    rounds(loop, START_S, 3)
    assert world.deleted == [orphan["metadata"]["name"]]
