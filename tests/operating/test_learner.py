"""The learner over time: what runs slower than profiled is told, proposed, planned anew where that is allowed, and undone."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operating.asking import admission, body, models, mutated, service

from kserve_ext.cluster.objects import Ref
from kserve_ext.intent.annotations import PLANNED, REPLAN
from kserve_ext.observe import ExecutionReader, Ran
from kserve_ext.observe.readings import Counted
from kserve_ext.operator.figures import Figures
from kserve_ext.operator.filled import as_written
from kserve_ext.operator.floors import Target
from kserve_ext.operator.learned import Learned, in_force, learned_configmap, read_learned
from kserve_ext.operator.learner import EVERY_S, Learner
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.review import Asked, service_of
from kserve_ext.operator.services import Operated, operated
from kserve_ext.policy.learning import Correction, Evidence, Executions

KEY = ("team", "digits")
START_S = 1_700_000_000.0
PLANNER = Planner(0)  # remembers what it planned, for all tests
CALM = Target(namespace="team", revision="a-1", base=1, most=9, ready=2, desired=2, unschedulable=False)


class World:
    """One service as admission stored it, its pod, and the API server that changes both service and what was learned."""

    def __init__(self, **annotations: str) -> None:
        stored, _ = mutated(service(rate="50..3000rps", **annotations))
        self.stored = stored
        stored["metadata"] |= {"uid": "u-1", "resourceVersion": "1"}
        stored["status"] = {"components": {"predictor": {"latestReadyRevision": "a-1", "latestCreatedRevision": "a-1"}}}
        self.planner, self.configmap = PLANNER, None
        self.slower, self.executions, self.late, self.target = 1.0, 0, 0.0, CALM
        self.said: list[tuple[str, str]] = []
        self.loop: Any = SimpleNamespace(counted={}, services={}, blind_since_s=None, target=lambda key: self.target)
        self.learner = self.new_leader()

    def new_leader(self) -> Learner:
        return Learner(
            cluster=self, objects=self, loop=self.loop, planner=self.planner,  # type: ignore[arg-type]
            reader=ExecutionReader(self.fetch), say=lambda found, reason, text: self.said.append((reason, text)),
        )  # fmt: skip

    def run(self, minutes: int, begin_s: float = START_S) -> float:
        for minute in range(1, minutes + 1):
            self.executions += 100
            self.loop.counted = {KEY: Counted(requests=1000.0, late=self.late)}
            self.learner.round(begin_s + minute * EVERY_S)
        return begin_s + minutes * EVERY_S

    def fetch(self, url: str) -> str | None:
        assert url == "http://10.0.0.1:8080/v2/models/m/stats"
        nanoseconds = int(self.executions * self.slower * 0.9 * 0.0045 * 1e9)
        batch = {"batch_size": 1, "compute_infer": {"count": self.executions, "ns": nanoseconds}}
        batch |= {f"compute_{part}": {"count": self.executions, "ns": 0} for part in ("input", "output")}
        kinds = ("success", "fail", "queue")
        times = {kind: {"count": self.executions if kind == "success" else 0, "ns": 0} for kind in kinds}
        one = {"version": "1", "inference_count": self.executions, "execution_count": self.executions,
               "inference_stats": times, "batch_stats": [batch]}  # fmt: skip
        return json.dumps({"model_stats": [one]})

    # what watches know

    def planned(self) -> Mapping[Any, Operated]:
        manifest = as_written(self.stored)
        wanted = Asked(service=service_of(manifest, "x"), manifest=manifest)
        chosen = in_force(self.stored, self.learned(KEY))
        plan = named(self.planner.ask(wanted.service, models(), chosen).result(), wanted.service.intent)
        return {KEY: operated(self.stored, wanted, plan, models().find(wanted.service.intent), chosen)}

    def service(self, key: Any) -> Any:
        return self.stored

    def learned(self, key: Any) -> Learned | None:
        return read_learned(self.configmap) if self.configmap else None

    def models(self) -> Any:
        return models()

    def pods_by_service(self) -> Any:
        return {KEY: (("pod", "10.0.0.1"),)}

    def starts_by_service(self) -> Any:
        return {}

    # the API server

    def apply(self, wanted: Any, *, force: bool = False) -> Any:
        self.configmap = wanted
        return wanted

    def merge(self, ref: Ref, change: Any) -> Any:
        def merged(into: Any, more: Any) -> Any:
            if not isinstance(more, dict):
                return more
            result = {key: value for key, value in (into or {}).items() if more.get(key, value) is not None}
            return result | {key: merged(result.get(key), value) for key, value in more.items() if value is not None}

        self.stored = merged(self.stored, copy.deepcopy(change))
        return self.stored

    @property
    def spec(self) -> Any:
        return self.stored["spec"]["predictor"]


def reasons(world: World) -> list[str]:
    return [reason for reason, _ in world.said]


def test_what_runs_as_profiled_is_left_alone() -> None:
    world = World(replan="auto")
    before = copy.deepcopy(world.stored)
    world.run(60)
    assert world.said == []
    assert world.stored == before
    assert world.configmap is None


def test_a_slower_model_is_told_and_a_re_plan_proposed_once() -> None:
    world = World()
    before = copy.deepcopy(world.stored)
    world.slower = 1.5
    world.run(60)
    assert reasons(world) == ["NotAsProfiled", "ReplanProposed"]
    assert "m: executions take" in world.said[0][1]
    assert "1.50 times" in world.said[0][1]
    assert "maxReplicas" in world.said[1][1]
    assert "kserve-ext.dev/replan" in world.said[1][1]
    assert world.stored == before
    assert list(world.learner.levels()) == [(KEY, "m", 1.5)]
    assert world.learner.proposed == 1


def test_where_it_is_allowed_it_is_planned_anew_at_most_once_an_hour() -> None:
    world = World(replan="auto")
    before = world.spec["maxReplicas"]
    world.slower = 1.4
    now_s = world.run(15)
    assert world.learner.replans == 1
    once = world.spec["maxReplicas"]
    assert once > before
    world.slower = 4.0
    now_s = world.run(30, now_s)
    assert world.learner.replans == 1
    assert "an hour after the last re-plan" in world.said[-1][1]
    world.run(30, now_s)
    assert world.learner.replans == 2
    assert world.spec["maxReplicas"] > once
    assert [level for _, _, level in world.learner.levels()] == [2.0]  # and no further
    assert "beyond the 0.5 to 2 times" in " ".join(text for _, text in world.said)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ({"target": "no Revision is ready"}, "no Revision is ready"),
        ({"target": replace(CALM, revision="a-0")}, "a-1 is being rolled out"),
        ({"target": replace(CALM, unschedulable=True)}, "pods of a-1 cannot be placed"),
        ({"target": replace(CALM, desired=3)}, "replicas are starting"),
        ({"late": 200.0}, "were late"),
    ],
    ids=["not ready", "rollout", "no room", "starting", "overload"],
)  # fmt: skip
def test_nothing_is_changed_in_an_incident(trouble: dict[str, Any], why: str) -> None:
    world = World(replan="auto")
    world.slower = 1.5
    for name, value in trouble.items():
        setattr(world, name, value)
    now_s = world.run(30)
    assert world.learner.replans == 0
    assert why in next(text for reason, text in world.said if reason == "ReplanProposed")
    world.target, world.late = CALM, 0.0
    world.run(30, now_s)
    assert world.learner.replans == 1


def test_a_re_plan_is_the_plan_of_what_was_learned_and_admission_agrees_with_it() -> None:
    world = World(replan="auto")
    world.slower = 1.5
    world.run(15)
    asked = admission(in_force=lambda found: in_force(found, world.learned(KEY)))
    touched = copy.deepcopy(world.stored)
    touched["metadata"]["labels"] = {"a": "b"}
    again, _ = mutated(touched, world.stored, asked=asked)
    assert again["spec"] == world.stored["spec"]
    assert again["metadata"]["annotations"][PLANNED] == world.stored["metadata"]["annotations"][PLANNED]


def test_taking_the_annotation_away_puts_the_plan_before_back_at_admission() -> None:
    world = World(replan="auto")
    before = copy.deepcopy(world.stored)
    world.slower = 1.5
    world.run(15)
    assert world.stored["spec"] != before["spec"]
    asked = admission(in_force=lambda found: in_force(found, world.learned(KEY)))
    edited = copy.deepcopy(world.stored)
    del edited["metadata"]["annotations"][REPLAN]
    undone, _ = mutated(edited, world.stored, asked=asked)
    assert undone["spec"] == before["spec"]


def test_taking_the_annotation_away_puts_it_back_though_no_webhook_was_asked() -> None:
    world = World(replan="auto")
    before = copy.deepcopy(world.stored)
    world.slower = 1.5
    now_s = world.run(15)
    del world.stored["metadata"]["annotations"][REPLAN]
    world.run(2, now_s)
    assert world.stored["spec"] == before["spec"]
    assert "ReplanUndone" in reasons(world)
    assert world.learned(KEY).in_force.correction.levels == ()  # type: ignore[union-attr]


def test_a_new_leader_knows_what_was_learned_and_when() -> None:
    world = World(replan="auto")
    world.slower = 1.4
    now_s = world.run(15)
    world.learner = world.new_leader()
    world.slower = 2.0
    world.run(40, now_s)
    assert world.learner.replans == 0
    assert world.learned(KEY).applied_s is not None  # type: ignore[union-attr]


def test_a_new_leader_goes_on_with_the_evidence_that_the_last_one_wrote_down() -> None:
    world = World()
    world.slower = 1.5
    now_s = world.run(60)
    told = world.learned(KEY).remarks  # type: ignore[union-attr]
    world.learner = world.new_leader()
    world.run(3, now_s)
    assert reasons(world)[2:] == ["NotAsProfiled", "ReplanProposed"]  # by its third minute; alone it would take ten
    assert world.learned(KEY).remarks == told  # type: ignore[union-attr]


def test_evidence_of_a_day_ago_counts_for_nothing() -> None:
    world = World()
    world.slower = 1.5
    now_s = world.run(60)
    world.learner = world.new_leader()
    world.run(3, now_s + 86_400.0)
    assert "NotAsProfiled" not in reasons(world)[2:]


def test_evidence_of_a_service_of_the_same_name_before_is_not_taken() -> None:
    world = World()
    world.slower = 1.5
    now_s = world.run(60)
    world.stored["metadata"]["uid"] = "u-2"
    world.learner = world.new_leader()
    world.run(3, now_s)
    assert reasons(world)[2:] == []


evidences = st.builds(
    Evidence,
    seconds=st.floats(0, 1e4), requests=st.floats(0, 1e9), late=st.floats(0, 1e9),
    requests_lately=st.floats(0, 1e9), late_lately=st.floats(0, 1e9),
    batches=st.dictionaries(st.text(max_size=9), st.dictionaries(
        st.integers(1, 128), st.builds(Executions, st.floats(1, 1e9), st.floats(0, 1e6)))),
    starts_s=st.lists(st.tuples(st.text(max_size=9), st.floats(0, 1800)), max_size=8).map(tuple),
)  # fmt: skip


@given(evidences)
def test_evidence_is_read_as_it_was_written_to_six_digits(evidence: Evidence) -> None:
    found = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "a", "namespace": "b", "uid": "u"}}
    written = learned_configmap(found, Learned(uid="u", evidence=evidence, seen_s=START_S))
    read = read_learned(written)
    assert read is not None
    assert read.seen_s == START_S
    for name in ("seconds", "requests", "late", "requests_lately", "late_lately"):
        assert getattr(read.evidence, name) == pytest.approx(getattr(evidence, name), rel=1e-5)
    assert {model: list(found) for model, found in read.evidence.batches.items()} == {
        model: list(found) for model, found in evidence.batches.items()
    }
    assert [name for name, _ in read.evidence.starts_s] == [name for name, _ in evidence.starts_s]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "no JSON",
        "[]",
        "{}",
        '{"batches": {"m": [[1]]}, "starts_s": [], "seen_s": 1}',
        '{"batches": {"m": [[1, 900, NaN]]}, "starts_s": [], "seen_s": 1, "seconds": 900}',
        '{"batches": {}, "starts_s": [["a", -1]], "seen_s": 1, "seconds": 900}',
        '{"batches": {}, "starts_s": [], "seen_s": 1, "seconds": 1e999}',
        '{"batches": {}, "starts_s": [], "seen_s": 1, "hours": 1}',
    ],
)
def test_what_was_learned_is_read_though_its_evidence_cannot_be(text: str | None) -> None:
    found = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "a", "namespace": "b", "uid": "u"}}
    written = learned_configmap(found, Learned(uid="u", remarks=("slow",)))
    written["data"] = {"learned.json": written["data"]["learned.json"]} | (
        {} if text is None else {"evidence.json": text}
    )
    assert read_learned(written) == Learned(uid="u", remarks=("slow",))


def test_a_correction_that_is_no_number_is_not_read() -> None:
    found = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "a", "namespace": "b", "uid": "u"}}
    slower = Correction(hardware="cpu", levels=(("m", 1.5),))
    written = learned_configmap(found, Learned(uid="u", correction=slower))
    assert read_learned(written) == Learned(uid="u", correction=slower)
    written["data"]["learned.json"] = written["data"]["learned.json"].replace("1.5", "NaN")
    assert read_learned(written) is None


def test_a_re_plan_dated_in_the_future_holds_the_next_one_up_for_an_hour_and_not_for_ever() -> None:
    world = World(replan="auto")
    world.slower = 1.4
    world.run(15, START_S + 30 * 86_400)  # by a clock that was a month ahead
    world.learner = world.new_leader()
    world.slower = 2.0
    now_s = world.run(50)
    assert world.learner.replans == 0
    world.run(30, now_s)
    assert world.learner.replans == 1


def test_what_was_learned_of_a_service_of_the_same_name_before_is_forgotten() -> None:
    world = World(replan="auto")
    world.slower = 1.5
    world.run(15)
    world.stored["metadata"]["uid"] = "u-2"
    assert in_force(world.stored, world.learned(KEY)).correction.levels == ()


def test_what_the_operator_itself_writes_is_not_taken_for_a_persons_edit() -> None:
    stored, _ = mutated(service())
    edited = copy.deepcopy(stored)
    edited["spec"]["predictor"]["maxReplicas"] = 17
    review = body(edited, stored)
    review["request"]["userInfo"] = {"username": "system:serviceaccount:kserve-ext:kserve-ext-operator"}
    own = admission(own=review["request"]["userInfo"]["username"])
    assert asyncio.run(own.mutate(review))["response"] == {"uid": "u", "allowed": True}


def test_a_model_that_was_loaded_again_counts_from_zero() -> None:
    world = World()
    reader = ExecutionReader(world.fetch)
    ran = {KEY: Ran(models=("m",), pods=(("pod", "10.0.0.1"),))}
    world.executions = 500
    assert reader.sample(ran) == {}
    world.executions = 40
    assert reader.sample(ran)[KEY]["m"][1].count == 40
    world.executions = 100
    assert reader.sample(ran)[KEY]["m"][1].count == 60


@pytest.mark.parametrize("answer", [None, "not JSON", "{}", '{"model_stats": [{}]}'])
def test_a_pod_that_tells_nothing_is_passed_over(answer: str | None) -> None:
    reader = ExecutionReader(lambda url: answer)
    ran = {KEY: Ran(models=("m",), pods=(("pod", "10.0.0.1"),))}
    assert reader.sample(ran) == {}
    assert reader.sample(ran) == {}


def test_metrics_tell_each_model_under_one_name() -> None:
    world = World()
    world.slower = 1.5
    world.run(15)
    gauges = {f'times{{service="{key[1]}",model="{model}"}}': level for key, model, level in world.learner.levels()}
    text = Figures(lambda: {**gauges, 'times{service="other"}': 2.0}).text()
    assert text.count("# TYPE times gauge") == 1
    assert 'times{service="digits",model="m"} 1.5' in text
