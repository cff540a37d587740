"""What an apply would change, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.cluster.difference import Action, compare, overlay
from kserve_ext.cluster.objects import Ref

REF = Ref(api_version="serving.kserve.io/v1beta1", kind="InferenceService", namespace="models", name="digits")
RUNTIME = Ref(api_version="serving.kserve.io/v1alpha1", kind="ServingRuntime", namespace="models", name="digits-triton")


def isvc(mode: str = "Knative", **predictor: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits", "annotations": {"serving.kserve.io/deploymentMode": mode}},
        "spec": {"predictor": predictor},
    }


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "another number": ({"maxReplicas": 3}, {"maxReplicas": 5}, ["~ spec.predictor.maxReplicas: 3 → 5"]),
    "a new field": ({}, {"timeout": 60}, ["+ spec.predictor.timeout: 60"]),
    "a field less": ({"timeout": 60}, {}, ["- spec.predictor.timeout: 60"]),
    "a zero is a value": ({"minReplicas": 1}, {"minReplicas": 0}, ["~ spec.predictor.minReplicas: 1 → 0"]),
    "a key with dots": (
        {"annotations": {"a.b/c": "1"}}, {"annotations": {"a.b/c": "2"}}, ["~ spec.predictor.annotations[a.b/c]: 1 → 2"],
    ),
    "an entry of a list by its name": (
        {"containers": [{"name": "x", "image": "a"}, {"name": "y", "image": "b"}]},
        {"containers": [{"name": "y", "image": "c"}, {"name": "x", "image": "a"}]},
        ["~ spec.predictor.containers[y].image: b → c"],
    ),
    "a list of words as a whole": (
        {"args": ["a"]}, {"args": ["a", "b"]}, ['~ spec.predictor.args: ["a"] → ["a", "b"]'],
    ),
    "empty is absent": ({"labels": {}}, {}, []),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "said"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_said_by_its_field(before: dict[str, Any], after: dict[str, Any], said: list[str]) -> None:
    found = compare(REF, isvc(**before), isvc(**after))
    assert list(map(str, found.changes)) == said
    assert found.action is (Action.CHANGE if said else Action.SAME)


def test_lines_of_a_long_text_are_told_one_by_one() -> None:
    config = Ref(api_version="v1", kind="ConfigMap", namespace="models", name="digits-plan")
    before, after = ({"data": {"plan.yaml": text}} for text in ("a: 1\nb: 2\n", "a: 1\nb: 3\n"))
    (change,) = compare(config, before, after).changes
    assert str(change).splitlines() == ["~ data[plan.yaml]: 2 lines differ", "      -b: 2", "      +b: 3"]


def test_what_the_server_keeps_is_no_difference() -> None:
    live = isvc(timeout=60) | {"status": {"url": "http://x"}}
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 3, "managedFields": [{"manager": "x"}]}
    live["metadata"]["annotations"] |= {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    assert compare(REF, live, isvc(timeout=60)).action is Action.SAME


def test_an_object_is_new_or_goes() -> None:
    assert compare(REF, None, isvc()).action is Action.CREATE
    assert compare(REF, isvc(), None).action is Action.DELETE


@pytest.mark.parametrize(
    ("mode", "before", "after", "effect"),
    [
        ("Knative", {"timeout": 1}, {"timeout": 2}, "a new Revision"),
        ("Knative", {"canaryTrafficPercent": 10}, {"canaryTrafficPercent": 20}, "traffic is split anew"),
        ("Standard", {"minReplicas": 1}, {"minReplicas": 2}, "only the number of replicas"),
        ("Standard", {"timeout": 1}, {"timeout": 2}, "pods are replaced"),
    ],
)
def test_what_follows_for_what_runs_is_said(
    mode: str, before: dict[str, Any], after: dict[str, Any], effect: str
) -> None:
    assert effect in compare(REF, isvc(mode, **before), isvc(mode, **after)).effect


def test_a_changed_runtime_is_a_roll_out_of_all_who_use_it() -> None:
    assert "every InferenceService" in compare(RUNTIME, {"spec": {"a": 1}}, {"spec": {"a": 2}}).effect


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(["spec", "data"]), st.dictionaries(st.text(max_size=3), json, max_size=3))


@given(objects)
def test_nothing_differs_from_itself(found: dict[str, Any]) -> None:
    assert compare(REF, found, found).action is Action.SAME


@given(objects, objects)
def test_a_difference_turned_round_swaps_before_and_after(one: dict[str, Any], other: dict[str, Any]) -> None:
    there, back = compare(REF, one, other).changes, compare(REF, other, one).changes
    assert sorted((c.field, repr(c.before), repr(c.after)) for c in there) == sorted(
        (c.field, repr(c.after), repr(c.before)) for c in back
    )


@given(objects, objects)
def test_what_is_laid_over_once_changes_nothing_the_second_time(live: dict[str, Any], wanted: dict[str, Any]) -> None:
    once = overlay(live, wanted)
    assert overlay(once, wanted) == once


def test_what_others_wrote_stays_under_what_is_laid_over_it() -> None:
    live = {"spec": {"replicas": 3, "containers": [{"name": "x", "image": "a", "tty": True}]}}
    wanted = {"spec": {"containers": [{"name": "x", "image": "b"}]}}
    assert overlay(live, wanted) == {"spec": {"replicas": 3, "containers": [{"name": "x", "image": "b", "tty": True}]}}
