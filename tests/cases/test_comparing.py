"""Policies side by side: the same requests for all, the oracle below them, and what makes no case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL, intent, profile, request
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.cases import Question, build_case, plan_for, split
from kserve_ext.cases.comparing import CLAIRVOYANT, Comparison, check_policies, compare
from kserve_ext.cases.demo import POLICIES, demo_case
from kserve_ext.cases.varying import CAPPED, Variation, parse_knob, scaled, vary
from kserve_ext.errors import InfeasibleError, InputError
from kserve_ext.policy import plan
from kserve_ext.policy.contenders import CONTENDERS
from kserve_ext.profile.service_law import Lognormal, OneAtATime
from kserve_ext.simulate.scalers.bounds import Bounds
from kserve_ext.traffic import Trace

LAW = OneAtATime(time=Lognormal(distribution="lognormal", loc=0.08, scale=0.07, shape=0.42))
RISING = Trace(service="web", start_s=0, step_s=10, counts=tuple(20 + index for index in range(90)))
QUESTION = Question(trace=RISING, law=LAW, slo_s=0.72, cold_start_s=35.0)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare(build_case(QUESTION))


@pytest.fixture(scope="module")
def batched() -> Comparison:
    measured = profile()
    decided = plan(request(intent(), measured, settings=SMALL))
    trace = replace(RISING, counts=tuple(10 * count for count in RISING.counts[:30]))
    return compare(build_case(replace(QUESTION, trace=trace, law=measured, slo_s=0.05, decided=decided)))


def test_every_policy_meets_every_request(compared: Comparison) -> None:
    assert [result.policy for result in compared.results] == list(CONTENDERS)
    assert {result.outcome.requests for result in compared.results} == {sum(RISING.counts)}


def test_the_ladder_rises_to_the_oracles_path(compared: Comparison) -> None:
    names = [step.name for step in compared.ladder]
    billed = [step.billed for step in compared.ladder]
    assert names == ["work bound", "oracle, bound", "oracle, path", "perfect rate", "reactive"]
    assert billed[:3] == sorted(billed[:3])
    assert billed[2] <= billed[3]


def test_the_oracle_attains_what_it_was_asked_for_and_nobody_pays_less_for_as_much(compared: Comparison) -> None:
    by_name = {result.policy: result for result in compared.results}
    assert compared.holds(by_name["oracle"])
    assert all(result.regret >= 1 - 1e-9 for result in compared.results)


def test_the_winner_holds_knows_only_the_past_and_is_the_cheapest(compared: Comparison) -> None:
    winner = compared.winner
    assert winner is not None
    able = [each for each in compared.results if compared.holds(each) and each.policy not in CLAIRVOYANT]
    assert winner in able
    assert winner.outcome.billed == min(each.outcome.billed for each in able)


def test_minutes_of_every_policy_cover_the_trace(compared: Comparison) -> None:
    assert {len(result.outcome.minutes) for result in compared.results} == {15}


def test_the_same_case_gives_the_same_outcomes_in_other_processes_too() -> None:
    case = build_case(replace(QUESTION, trace=replace(RISING, counts=RISING.counts[:12])))
    here, there = (compare(case, ("ours", "kpa-cc1"), jobs=jobs) for jobs in (1, 2))
    assert [each.outcome for each in here.results] == [each.outcome for each in there.results]


def test_replicas_that_batch_are_compared_under_every_policy(batched: Comparison) -> None:
    by_name = {result.policy: result for result in batched.results}
    assert list(by_name) == list(CONTENDERS)
    assert by_name["oracle"].outcome.billed <= by_name["static-peak"].outcome.billed
    assert batched.holds(by_name["static-peak"])
    assert all(result.regret >= 1 - 1e-9 for result in batched.results)


def test_without_traffic_nothing_is_late_and_only_the_oracle_runs_nothing() -> None:
    empty = build_case(replace(QUESTION, trace=replace(RISING, counts=(0,) * 12)))
    seen = compare(empty, ("ours", "kpa-default", "oracle"))
    assert {result.outcome.attainment for result in seen.results} == {1.0}
    assert [result.outcome.billed > 0 for result in seen.results] == [True, True, False]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"attainment": 1.0}, "100%"),
        ({"attainment": 0.0}, "0%"),
        ({"cold_start_s": 900.0}, "900s"),
    ],
)
def test_what_makes_no_case_is_refused(change: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        build_case(replace(QUESTION, **change))


def test_an_slo_below_every_service_time_is_infeasible_and_says_which_is_not() -> None:
    with pytest.raises(InfeasibleError) as refused:
        build_case(replace(QUESTION, slo_s=0.05))
    assert "266ms" in refused.value.nearest


@pytest.mark.parametrize(
    ("names", "named"),
    [(["our"], "did you mean ours"), (["ours", "ours"], "named twice"), ([], "no policy"), (["x", "y"], "'y'")],
)
def test_policies_that_there_are_not_are_named(names: list[str], named: str) -> None:
    with pytest.raises(InputError) as refused:
        check_policies(names)
    assert named in f"{refused.value.message} {refused.value.remedy}"


def test_a_trace_is_split_in_time() -> None:
    before, after = split(RISING, 300, "--learn-until")
    assert before.counts + after.counts == RISING.counts
    assert (before.start_s, after.start_s) == (0, 300)


@pytest.mark.parametrize("at_s", [0, 900, 2000])
def test_a_split_that_leaves_nothing_is_refused(at_s: float) -> None:
    with pytest.raises(InputError, match="--learn-until"):
        split(RISING, at_s, "--learn-until")


def test_a_case_begins_with_the_replicas_its_first_rate_needs_within_bounds() -> None:
    busy = replace(RISING, counts=tuple(count + 300 for count in RISING.counts))
    assert build_case(replace(QUESTION, trace=busy)).workload.initial_replicas > 4
    assert build_case(replace(QUESTION, trace=busy, bounds=Bounds(max_replicas=2))).workload.initial_replicas == 2


def test_the_demo_is_a_day_with_a_day_to_learn_from() -> None:
    case = demo_case()
    assert case.history is not None
    assert case.trace.duration_s == case.history.duration_s == 86400
    check_policies(POLICIES)


# ---------------------------------------------------------------------------------------------------------- knobs


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40), st.floats(0.01, 20))
def test_scaling_a_trace_scales_its_requests_and_loses_none(counts: list[int], factor: float) -> None:
    turned = scaled(replace(RISING, counts=tuple(counts)), factor).counts
    assert sum(turned) == round(factor * sum(counts)) or abs(sum(turned) - factor * sum(counts)) <= 0.51
    assert all(count >= 0 for count in turned)


def turned(text: str, policy: str = "kpa-cc1", question: Question = QUESTION) -> Variation:
    short = replace(question, trace=replace(question.trace, counts=question.trace.counts[:30]))
    return vary(short, policy, parse_knob(text))


def test_more_traffic_under_a_cap_loses_the_slo_at_the_cap() -> None:
    capped = replace(QUESTION, bounds=Bounds(max_replicas=2))
    found = turned("rate=0.5,1,8,16", question=capped)
    assert [each.holds for each in found.tries] == [True, True, False, False]
    assert found.lost is found.tries[2]
    assert (found.lost.cause, found.lost.first_missed is not None) == (CAPPED, True)


def test_an_infeasible_value_is_kept_with_its_reason() -> None:
    found = turned("slo=50ms,720ms")
    assert (found.tries[0].outcome, found.tries[1].holds) == (None, True)
    assert "50ms" in found.tries[0].cause


def test_a_longer_window_of_the_autoscaler_starts_fewer_replicas() -> None:
    found = turned("window=6s,10m")
    starts = [each.outcome.starts for each in found.tries if each.outcome]
    assert starts[0] > starts[1]


def test_a_larger_target_bills_fewer_replicas() -> None:
    found = turned("target=0.5,5")
    billed = [each.outcome.billed for each in found.tries if each.outcome]
    assert billed[0] > billed[1]


def test_the_largest_batch_is_a_knob_of_a_profile_that_covers_it() -> None:
    question = replace(QUESTION, law=profile(), slo_s=0.05)
    with pytest.raises(InputError, match="1 to 16"):
        turned("max-batch=64", question=question)
    with pytest.raises(InputError, match="1 to 1"):
        turned("max-batch=2")


def test_a_policy_without_knatives_autoscaler_has_no_window() -> None:
    with pytest.raises(InputError, match="Knative"):
        turned("window=60s", policy="hpa-cpu-80")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("speed=1", "unknown knob"), ("rate", "no values"), ("rate=", "no values"), ("rate=0", "above zero"),
        ("slo=fast", "fast"), ("max-replicas=0", "from 1 up"), ("attainment=100%", "100 %"), ("rate=1,x", "x"),
    ],
)  # fmt: skip
def test_a_knob_that_cannot_be_turned_is_named(text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        parse_knob(text)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 400))
def test_a_plan_for_a_trace_carries_its_busiest_minutes(rps: int) -> None:
    decided = plan_for(Trace(service="web", start_s=0, step_s=1, counts=(rps, rps, rps)), profile(), slo_s=0.05)
    assert decided.replicas_at_high_rate * decided.capacity_rps >= rps * (1 - 1e-6)
