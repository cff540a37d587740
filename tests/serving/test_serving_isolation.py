from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.serving.execution import Rules, execute
from kserve_ext.serving.faults import BadRequest, Fault, ModelFailed
from kserve_ext.serving.isolation import isolate


@given(st.lists(st.sampled_from(["good", "raises", "answers a fault"]), min_size=1, max_size=40))
def test_every_request_gets_its_own_outcome_within_2n_minus_1_executions(requests: list[str]) -> None:
    executions = 0

    def run(some: Sequence[tuple[int, str]]) -> list[int | Fault]:
        nonlocal executions
        executions += 1
        if any(what == "raises" for _, what in some):
            raise RuntimeError("spoiled")
        return [place if what == "good" else ModelFailed(str(place)) for place, what in some]

    outcomes = isolate(list(enumerate(requests)), run)
    for place, (what, outcome) in enumerate(zip(requests, outcomes, strict=True)):
        assert (outcome == place) if what == "good" else isinstance(outcome, Fault)
    assert executions <= 2 * len(requests) - 1


def test_one_bad_request_costs_about_two_executions_for_each_halving() -> None:
    executions = 0

    def run(some: Sequence[int]) -> Sequence[int]:
        nonlocal executions
        executions += 1
        if 17 in some:
            raise ValueError("bad")
        return some

    isolate(range(32), run)
    assert executions == 1 + 2 * 5


def rows(*firsts: float) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {"x": np.array([[first, 0] for first in firsts], np.float32)}


RULES = Rules(max_batch_size=4)


def test_the_rows_of_a_batch_go_back_to_whom_they_belong() -> None:
    outcomes, calls = execute(lambda batch: {"y": batch["x"] + 1}, [rows(1), rows(2, 3), rows(4)], RULES)
    assert [outcome["y"][:, 0].tolist() for outcome in outcomes] == [[2], [3, 4], [5]]  # type: ignore[index]
    assert calls == 1


def test_a_request_with_more_rows_than_a_batch_runs_in_parts() -> None:
    seen = []
    (outcome,), _ = execute(lambda b: (seen.append(len(b["x"])), {"y": b["x"]})[1], [rows(*range(10))], RULES)
    assert seen == [4, 4, 2]
    assert outcome["y"][:, 0].tolist() == list(range(10))  # type: ignore[index]


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (lambda b: {"y": b["x"][:1].sum()}, r"`y` of shape \[\] for 1 row"),
        (lambda b: {"y": np.zeros((3, 2))}, r"`y` of shape \[3, 2\] for 1 row"),
        (lambda b: {"y": b["x"] * np.nan}, "NaN in `y`"),
        (lambda b: [b["x"]], "answered list, not a dict"),
        (lambda b: {}, "not a dict"),
        (lambda b: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
    ids=["no dimension", "other rows", "NaN", "a list", "nothing", "raises"],
)
def test_an_answer_that_is_none_is_a_clear_failure_of_each_request(predict, words: str) -> None:  # type: ignore[no-untyped-def]
    outcomes, _ = execute(predict, [rows(1), rows(2)], RULES)
    for outcome in outcomes:
        assert isinstance(outcome, ModelFailed)
        assert re.search(words, outcome.message), outcome.message


def test_nan_is_an_answer_where_the_model_says_so() -> None:
    (outcome,), _ = execute(lambda b: {"y": b["x"] * np.nan}, [rows(1)], Rules(max_batch_size=4, allow_nan=True))
    assert not isinstance(outcome, Fault)


def test_a_fault_that_the_model_raises_reaches_only_its_request() -> None:
    def predict(batch):  # type: ignore[no-untyped-def]
        if (batch["x"][:, 0] == 2).any():
            raise BadRequest("two is not taken")
        return {"y": batch["x"]}

    first, second, third = execute(predict, [rows(1), rows(2), rows(3)], RULES)[0]
    assert isinstance(second, BadRequest)
    assert not isinstance(first, Fault)
    assert not isinstance(third, Fault)


@pytest.mark.parametrize("together", [1, 2])
def test_inputs_are_read_only_unless_the_model_writes_into_them(together: int) -> None:
    def predict(batch):  # type: ignore[no-untyped-def]
        batch["x"] += 1
        return {"y": batch["x"]}

    requests = [rows(1)] * together
    outcomes, _ = execute(predict, requests, RULES)
    assert all(isinstance(outcome, ModelFailed) and "read-only" in outcome.message for outcome in outcomes)
    outcomes, _ = execute(predict, requests, Rules(max_batch_size=4, writable=True))
    assert [outcome["y"][0, 0] for outcome in outcomes] == [2.0] * together  # type: ignore[index]
    assert requests[0]["x"][0, 0] == 1
