from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from factories import intent, profile, request, stage_profile

from kserve_ext.domain import Plan
from kserve_ext.errors import PolicyError
from kserve_ext.policy import plan
from kserve_ext.policy.check import check, decided_fields


@pytest.fixture(scope="module")
def sound() -> Plan:
    return plan(request(intent(), profile(stage_profile(batches=(1, 8)))))


def test_a_sound_plan_is_handed_back(sound: Plan) -> None:
    assert check(sound, "mine:policy") is sound


@pytest.mark.parametrize("answer", [None, 7, {}, "a plan", Plan])
def test_an_answer_that_is_no_plan_is_refused_with_its_type(answer: object) -> None:
    with pytest.raises(PolicyError, match="mine:policy: the policy did not answer with a plan; found "):
        check(answer, "mine:policy")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: replace(p, concurrency_limit=1001), "concurrency_limit: out of range; found 1001; allowed: 0 to 1000"),
        (lambda p: replace(p, concurrency_limit=-1), "concurrency_limit: out of range; found -1"),
        (lambda p: replace(p, scaling=replace(p.scaling, min_replicas=p.scaling.max_replicas + 1)), "scaling.min_replicas"),
        (lambda p: replace(p, scaling=replace(p.scaling, target=0.0)), "scaling.target: out of range; found 0; allowed"),
        (lambda p: replace(p, scaling=replace(p.scaling, target=float("nan"))), "scaling.target: out of range; found nan"),
        (lambda p: replace(p, scaling=replace(p.scaling, window_s=5)), "scaling.window_s: out of range; found 5"),
        (lambda p: replace(p, scaling=replace(p.scaling, panic_threshold_percent=100)), "scaling.panic_threshold_percent"),
        (lambda p: replace(p, scaling=replace(p.scaling, activation_scale=0)), "scaling.activation_scale: out of range"),
        (lambda p: replace(p, scaling=replace(p.scaling, scale_to_zero_retention_s=3601)), "scaling.scale_to_zero_retention_s"),
        (lambda p: replace(p, timeout_s=0.5), "timeout_s: out of range; found 0.5; allowed: 1 to inf"),
        (lambda p: replace(p, stages=(replace(p.stages[0], instances=0),)), "stages[0]: out of range; found StagePlan("),
        (lambda p: replace(p, reasons=p.reasons[1:]), "hardware: has no reason; allowed: a Reason for every field"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_rendered_or_explained_is_refused_by_field(
    sound: Plan, change: Callable[[Plan], Plan], says: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        check(change(sound), "mine:policy")
    assert f"mine:policy: {says}" in str(caught.value)


def test_everything_that_is_wrong_is_told(sound: Plan) -> None:
    with pytest.raises(PolicyError) as caught:
        check(replace(sound, reasons=()), "mine:policy")
    assert len(caught.value.problems) == len(decided_fields(sound)) - 1  # accelerators need none on CPU
