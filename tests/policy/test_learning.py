"""Learning: corrections stay within bounds and rest, re-plans come at most once an hour and never in an incident."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from factories import intent, profile, request, stage_profile
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import RateRange
from kserve_ext.policy import plan
from kserve_ext.policy.learning import (
    AS_PROFILED,
    Circumstances,
    Correction,
    Evidence,
    Executions,
    Look,
    Verdict,
    correct,
    corrected,
    decide,
    level,
    remarks,
    seen,
)
from kserve_ext.policy.learning.decide import EVERY_S
from kserve_ext.policy.learning.types import LEAST, LEAST_START_UP, MOST, MOST_START_UP
from kserve_ext.policy.replicas import cold_start_s
from kserve_ext.policy.request import Settings

PLANNED = plan(request(intent()))
times = st.floats(0.05, 20.0)
batches = st.dictionaries(st.integers(1, 16), st.integers(1, 2000), min_size=1)


def compute_s(rows: int, of: Any = None) -> float:
    """What the profile of the factories says an execution takes: 0.9 x (4 ms + 0.5 ms for each row)."""
    return 0.9 * (0.004 + 0.0005 * rows)


def evidence(
    slower: float = 1.0,
    counts: dict[int, int] | None = None,
    *,
    seconds: float = 900.0,
    starts_s: tuple[float, ...] = (),
) -> Evidence:
    """Executions that take `slower` times as long as profiled, in a quarter of an hour."""
    found = {
        rows: Executions(count, slower * count * compute_s(rows))
        for rows, count in (counts or {1: 500, 4: 300}).items()
    }
    starts = tuple((f"pod-{index}", took) for index, took in enumerate(starts_s))
    return Evidence(seconds=seconds, batches={"m": found}, starts_s=starts)


# ------------------------------------------------------------------------------------------------------------ levels


@given(slower=times, counts=batches)
def test_whatever_the_batches_the_level_is_how_much_longer_they_take(slower: float, counts: dict[int, int]) -> None:
    counts |= {1: 200}
    found = level(stage_profile(), 1, evidence(slower, counts))
    assert found is not None
    assert found.times == pytest.approx(slower)


def test_within_what_the_profile_leaves_open_nothing_differs() -> None:
    """One busy instance or two, idle before or not: the profile has a time for each, and all between are as profiled."""
    stage = stage_profile(instances=2, slowing=0.5, after_idle_extra_s=0.002)
    for slower in (1.0, 1.2, 1.5, 1.7):
        found = level(stage, 2, evidence(slower, {1: 500}))
        assert found is not None
        assert found.times == 1.0
    found = level(stage, 2, evidence(3.0, {1: 500}))
    assert found is not None
    assert found.times == pytest.approx(3.0 * compute_s(1) / (1.5 * compute_s(1) + 0.002))


@pytest.mark.parametrize(
    "little", [evidence(2.0, {1: 100}), evidence(2.0, seconds=300.0), Evidence(), evidence(2.0, {40: 5000})],
    ids=["few executions", "a short while", "nothing", "batches that were not profiled"],
)  # fmt: skip
def test_too_little_is_no_evidence(little: Evidence) -> None:
    assert level(stage_profile(), 1, little) is None
    assert correct(AS_PROFILED, profile(), PLANNED.stages, little) == AS_PROFILED


# ------------------------------------------------------------------------------------------------------- corrections


@given(slower=times, began=times, before=st.floats(LEAST, MOST))
def test_a_correction_stays_within_bounds_and_the_same_evidence_changes_it_once(
    slower: float, began: float, before: float
) -> None:
    starts_s = (began * cold_start_s((profile(),), Settings()),) * 3
    seen_so = evidence(slower, starts_s=starts_s)
    now = Correction.of("cpu", {"m": round(before, 2)}, 1.0)
    after = correct(now, profile(), PLANNED.stages, seen_so)
    assert LEAST <= after.level_of("m") <= MOST
    assert LEAST_START_UP <= after.start_up <= MOST_START_UP
    assert correct(after, profile(), PLANNED.stages, seen_so) == after


@pytest.mark.parametrize("slower", [0.9, 1.0, 1.14])
def test_noise_corrects_nothing(slower: float) -> None:
    assert correct(AS_PROFILED, profile(), PLANNED.stages, evidence(slower)) == AS_PROFILED


def test_what_was_learned_on_other_hardware_counts_for_nothing() -> None:
    elsewhere = Correction.of("a100", {"m": 1.8}, 1.0)
    assert corrected(profile(), elsewhere) == profile()
    assert correct(elsewhere, profile(), PLANNED.stages, evidence(1.3)).level_of("m") == pytest.approx(1.3)


@given(slower=st.floats(0.5, 2.0))
def test_a_corrected_profile_is_what_was_seen(slower: float) -> None:
    found = corrected(profile(), Correction.of("cpu", {"m": slower}, 1.0))
    again = level(found.stages[0], 1, evidence(slower))
    assert again is not None
    assert again.times == pytest.approx(1.0)
    assert found.load_s == profile().load_s


def test_a_longer_start_up_is_a_longer_load() -> None:
    found = corrected(profile(load_s=5.0), Correction.of("cpu", {}, 3.0))
    assert cold_start_s((found,), Settings()) == pytest.approx(30.0)


def test_a_slower_model_is_planned_with_less_in_a_replica_and_the_batching_that_it_is_served_with() -> None:
    slower = corrected(profile(), Correction.of("cpu", {"m": 1.6}, 1.0))
    again = plan(replace(request(intent(), slower), kept=PLANNED.stages))
    assert again.stages == PLANNED.stages
    assert again.capacity_rps < PLANNED.capacity_rps


# ---------------------------------------------------------------------------------------------------------- verdicts


@given(
    moments=st.lists(st.floats(0, 600), min_size=1, max_size=60), busy=st.lists(st.booleans(), min_size=60, max_size=60)
)
def test_no_two_re_plans_within_an_hour_and_none_in_an_incident(moments: list[float], busy: list[bool]) -> None:
    now_s, applied_s, applied = 1e9, None, []
    for wait_s, incident in zip(moments, busy, strict=False):
        now_s += wait_s
        why = "replicas are starting" if incident else ""
        found = Circumstances(now_s=now_s, auto=True, applied_s=applied_s, incident=why)
        step = decide(("~ containerConcurrency: 19 → 15",), found)
        assert decide(("~ containerConcurrency: 19 → 15",), found) == step
        if step.verdict is Verdict.APPLY:
            assert not incident
            applied.append(now_s)
            applied_s = now_s
    assert all(after - before >= EVERY_S for before, after in itertools.pairwise(applied))


@pytest.mark.parametrize(
    ("changes", "found", "verdict", "waits_for"),
    [
        ((), {}, Verdict.KEEP, ""),
        (("x",), {}, Verdict.APPLY, ""),
        (("x",), {"auto": False}, Verdict.PROPOSE, "replan"),
        (("x",), {"incident": "12 % of the requests were late"}, Verdict.PROPOSE, "12 %"),
        (("x",), {"applied_s": 1e9 - 60}, Verdict.PROPOSE, "an hour"),
        (("x",), {"applied_s": 1e9 - EVERY_S}, Verdict.APPLY, ""),
    ],
    ids=["nothing changes", "calm", "not allowed", "incident", "too soon", "an hour later"],
)
def test_when_a_re_plan_is_applied(changes: Any, found: dict[str, Any], verdict: Verdict, waits_for: str) -> None:
    step = decide(changes, Circumstances(**{"now_s": 1e9, "auto": True, **found}))
    assert step.verdict is verdict
    assert waits_for in step.waits_for
    assert bool(step.waits_for) == (verdict is Verdict.PROPOSE)


# ---------------------------------------------------------------------------------------------------------- evidence


@given(st.lists(st.tuples(st.floats(1, 3600), st.integers(0, 500), st.integers(0, 500)), max_size=30))
def test_old_evidence_fades_and_never_more_is_late_than_was_asked(looks: list[tuple[float, int, int]]) -> None:
    found = Evidence()
    for seconds, requests, late in looks:
        found = seen(found, Look(seconds=seconds, requests=requests, late=min(requests, late)))
        assert 0 <= found.late_share <= 1
        assert 0 <= found.late_share_lately <= 1
    assert found.requests <= sum(requests for _, requests, _ in looks) + 1e-9


def test_a_minute_whose_latencies_are_not_known_says_nothing_about_late_requests() -> None:
    before = seen(Evidence(), Look(seconds=60, requests=100, late=1))
    assert seen(before, Look(seconds=60, requests=900, late=None)).late_share == before.late_share


def test_a_replica_starts_once_however_often_it_is_looked_at() -> None:
    found = Evidence()
    for _ in range(3):
        found = seen(found, Look(seconds=60, starts_s={"a": 5.0, "b": 7.0}))
    assert found.starts_s == (("a", 5.0), ("b", 7.0))


# ----------------------------------------------------------------------------------------------------------- remarks


def told(found: Evidence, busiest_rps: float = 0.0) -> dict[str, str]:
    reasons = remarks(PLANNED, profile(), RateRange(low_rps=20, high_rps=400), found, busiest_rps)
    return {reason.code: reason.text for reason in reasons}


def test_all_as_planned_is_not_worth_a_word() -> None:
    assert told(evidence(), 400) == {}


def test_what_differs_is_told_with_both_numbers_and_the_remedy() -> None:
    late = replace(evidence(1.4, starts_s=(20.0, 21.0, 40.0)), requests=1000.0, late=18.0)
    found = told(late, 700)
    assert "1.40 times" in found["service-differs"]
    assert "21s" in found["start-up-differs"]
    assert found["promise-not-held"] == "1.80% of the requests took longer than 50ms, 1% are promised"
    assert "kserve-ext.dev/rate says 400" in found["busier-than-told"]
    assert "kserve-ext profile m" in told(evidence(3.0))["service-differs"]
