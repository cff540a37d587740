from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL, profile, stage_profile
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Profile, StagePlan
from kserve_ext.policy import Settings
from kserve_ext.policy.batching import (
    MOST_LOAD,
    Candidate,
    bisect_share,
    choose,
    replicas_for,
    search,
)
from kserve_ext.policy.replica import build_replica, predict
from kserve_ext.policy.shape import instance_counts


@given(st.floats(0, 1), st.integers(1, 12))
def test_bisection_ends_below_the_edge_by_less_than_its_last_step(edge: float, steps: int) -> None:
    share = bisect_share(lambda tried: tried <= edge, steps)
    assert share <= edge < share + 0.5**steps or share == edge == 1.0


@given(st.sets(st.integers(1, 64)), st.sets(st.integers(1, 64)))
def test_a_looser_test_never_ends_lower_even_when_neither_is_monotone(strict: set[int], more: set[int]) -> None:
    loose = strict | more
    assert bisect_share(lambda tried: tried * 64 in strict, 6) <= bisect_share(lambda tried: tried * 64 in loose, 6)


@pytest.mark.parametrize(
    ("rate_rps", "capacity_rps", "replicas"),
    [(0.001, 100, 1), (100, 100, 1), (100.001, 100, 2), (300, 100, 3), (0.3, 0.1, 3), (1000, 333.4, 3)],
)
def test_replicas_are_the_rate_over_the_capacity_rounded_up(
    rate_rps: float, capacity_rps: float, replicas: int
) -> None:
    assert replicas_for(rate_rps, capacity_rps) == replicas


def candidate(batch: int, capacity_rps: float, delay_s: float = 0.0) -> Candidate:
    stage = StagePlan(model="m", max_batch_size=batch, max_queue_delay_s=delay_s, instances=1, threads=1)
    return Candidate(stages=(stage,), capacity_rps=capacity_rps, saturated_rps=2 * capacity_rps, p99_idle_s=0.01)


def test_of_the_choices_with_the_fewest_replicas_the_shortest_delay_is_taken_then_the_most_capacity() -> None:
    choices = (candidate(16, 120, 0.01), candidate(8, 110), candidate(4, 101), candidate(1, 60), candidate(2, 0))
    assert choose(choices, 100) is choices[1]
    assert choose(choices, 115) is choices[0]
    assert choose(choices, 230) is choices[0]
    assert choose(choices, 1) is choices[1]


def brute_force_rps(measured: Profile, limit_s: float, settings: Settings) -> float:
    """The highest rate of the grid of shares and batch sizes, without delay, found by trying all."""
    replica, best_rps = build_replica(measured), 0.0
    for batch in replica.laws[0].batches:
        stage = StagePlan(model="m", max_batch_size=batch, max_queue_delay_s=0.0, instances=1, threads=1)
        most_rps = MOST_LOAD * replica.saturated_rps([stage])
        for step in range(2**settings.capacity_steps, 0, -1):
            rate_rps = most_rps * step / 2**settings.capacity_steps
            seen = predict(replica, [stage], rate_rps, settings=settings, requests=settings.simulated_requests)
            if seen.p99_s <= limit_s:
                best_rps = max(best_rps, rate_rps)
                break
    return best_rps


@pytest.mark.parametrize("limit_s", [0.009, 0.0095, 0.0105, 0.0135, 0.0145, 0.017, 0.018, 0.02, 0.03])
def test_the_search_finds_what_trying_everything_finds(limit_s: float) -> None:
    """It leaves out batches that cannot beat what it has; on the way from one limit to the other each size wins once."""
    settings = replace(SMALL, capacity_steps=4, queue_delays=(0.0,), seed=135)  # p99 rises with the rate throughout
    found = search(build_replica(profile()), instances=1, limit_s=limit_s, settings=settings)
    assert found[0].capacity_rps == pytest.approx(brute_force_rps(profile(), limit_s, settings))


def test_no_choice_is_taken_nearer_to_saturation_than_nine_tenths() -> None:
    found = search(build_replica(profile()), instances=1, limit_s=10.0, settings=SMALL)
    assert found[0].capacity_rps == pytest.approx(MOST_LOAD * found[0].saturated_rps)
    assert found[0].stages[0].max_batch_size == 16


def test_a_choice_that_cannot_hold_one_request_has_no_capacity_and_says_what_it_takes() -> None:
    found = search(build_replica(profile()), instances=1, limit_s=0.005, settings=SMALL)
    assert {candidate.capacity_rps for candidate in found} == {0.0}
    assert min(candidate.p99_idle_s for candidate in found) > 0.005


def test_a_delay_carries_more_where_a_second_instance_would_be_idle_and_is_whole_microseconds() -> None:
    limit_s = 0.012
    replica = build_replica(profile(stage_profile(instances=2)))
    found = search(replica, instances=2, limit_s=limit_s, settings=SMALL)
    delayed = [candidate for candidate in found if candidate.longest_delay_s]
    assert found[0] in delayed
    for stage in (candidate.stages[0] for candidate in delayed):
        assert stage.max_batch_size > 1
        assert round(stage.max_queue_delay_s * 1e6, 6) % 1 == 0
        assert stage.max_queue_delay_s + replica.laws[0].mean_s(stage.max_batch_size, 2) <= limit_s
    alone = search(replica, instances=1, limit_s=limit_s, settings=SMALL)
    assert max(candidate.longest_delay_s for candidate in alone) == 0


def test_the_light_step_of_an_ensemble_gets_instances_until_it_does_not_bind_and_no_delay() -> None:
    light = stage_profile("tokenizer", fixed_s=0.002, row_s=0.0008, instances=4, slowing=0.0)
    heavy = stage_profile("encoder", fixed_s=0.004, row_s=0.001, instances=4, slowing=0.0)
    replica = build_replica(profile(light, heavy))
    found = search(replica, instances=2, limit_s=0.1, settings=SMALL)
    assert {candidate.stages[1].instances for candidate in found} == {2}
    for candidate in found:
        tokenizer, encoder = candidate.stages
        assert (tokenizer.max_queue_delay_s, tokenizer.max_batch_size) == (0.0, encoder.max_batch_size)
        assert candidate.bottleneck(replica) == 1
        assert (
            replica.laws[0].saturated_rps(encoder.max_batch_size, tokenizer.instances) >= 1.5 * candidate.saturated_rps
        )


@pytest.mark.parametrize(
    ("slowing", "accelerated", "groups"),
    [
        (0.0, False, ((1,), (2, 3))),  # a second instance gives nothing more per core
        (0.0, True, ((1, 2, 3),)),  # memory is all it costs
        (-0.2, False, ((3,), (1, 2))),  # it even gains, 1.25 and 1.67 times per core
        (-0.04, False, ((3,), (1, 2))),
        (-0.02, False, ((1,), (2, 3))),  # less than measurements repeat to
    ],
)
def test_on_cpu_the_instance_count_with_the_most_throughput_per_core_comes_first(
    slowing: float, accelerated: bool, groups: tuple[tuple[int, ...], ...]
) -> None:
    replica = build_replica(profile(stage_profile(instances=3, slowing=max(0.0, slowing))))
    if slowing < 0:  # the fit lets no instance be faster for company, so the law is changed by hand
        law = replica.laws[0]
        faster = tuple(
            tuple(tuple(value * (1 + slowing * busy) for value in row) for row in law.values_s[0]) for busy in range(3)
        )
        replica = replace(replica, laws=(replace(law, values_s=faster),))
    assert instance_counts(replica, accelerated=accelerated) == groups
