"""One decision: the quirks a simulator must keep, and the laws that hold for all settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.kpa import Config, Decision, State, decide, is_news, is_poked, start

CC4 = Config(target=2.8, total=4.0)


def desired(config: Config, ready: int, load: float) -> int:
    return decide(config, State(), 0.0, ready, load, load)[1].desired


@pytest.mark.parametrize(("ready", "percent"), [(1, 100), (2, 150), (3, 500 / 3), (10, 190)])
def test_the_fewer_pods_the_earlier_panic_starts(ready: int, percent: float) -> None:
    """At a threshold of 200 % it starts above target * (2 * ready - 1), since the demand is rounded up first."""
    limit = 2.8 * ready * percent / 100
    panics = [decide(CC4, State(), 0.0, ready, 0, load)[0].panic_since_s for load in (limit - 0.01, limit + 0.01)]
    assert panics == [None, 0.0]


def test_panic_ends_only_after_more_than_a_stable_window() -> None:
    state, _ = decide(CC4, State(), 10.0, 1, 20.0, 20.0)
    held, still = decide(CC4, state, 70.0, 8, 0.0, 0.0)
    ended, after = decide(CC4, state, 70.001, 8, 0.0, 0.0)
    assert (held.panic_since_s, still.desired) == (10.0, 8)
    assert (ended.panic_since_s, ended.max_panic_pods, after.desired) == (None, 0, 4)


def test_the_delay_applies_after_the_halving_so_each_halving_waits() -> None:
    config = replace(CC4, scale_down_delay_s=30)
    state, seen = start(config, 0, 0.0), []
    ready = 10
    for now_s in range(0, 130, 2):
        state, decision = decide(config, state, float(now_s), ready, 0.0, 0.0)
        if decision.desired != ready:
            seen.append((now_s, decision.desired))
        ready = decision.desired
    assert seen == [(0, 5), (30, 2), (60, 1), (90, 0)]


def test_a_delay_changed_later_has_no_effect() -> None:
    state = start(CC4, 0, 0.0)
    state, _ = decide(CC4, state, 0.0, 4, 10.0, 10.0)
    _, decision = decide(replace(CC4, scale_down_delay_s=300), state, 2.0, 4, 0.0, 0.0)
    assert decision.desired == 2


def test_an_unreachable_revision_has_no_limit_downwards_and_no_delay() -> None:
    config = replace(CC4, reachable=False, scale_down_delay_s=300)
    state, first = decide(config, start(config, 0, 0.0), 0.0, 64, 100.0, 100.0)
    _, second = decide(config, state, 2.0, 64, 0.0, 0.0)
    assert (first.desired, second.desired) == (36, 0)


@pytest.mark.parametrize(
    ("burst", "ready", "panic", "excess"),
    [(-1, 9, 5.0, -1), (0, 9, 500.0, 0), (211, 52, 0.0, -3), (211, 53, 0.0, 1), (211, 53, 1.5, -1)],
)
def test_burst_capacity_counts_ready_pods_only(burst: int, ready: int, panic: float, excess: int) -> None:
    config = replace(CC4, target_burst_capacity=burst)
    assert decide(config, State(), 0.0, ready, 0.0, panic)[1].excess_burst_capacity == excess


def test_a_state_that_does_not_change_is_the_same_object() -> None:
    state = State()
    assert decide(CC4, state, 0.0, 1, 1.0, 1.0)[0] is state


def test_only_a_revision_at_zero_is_poked_by_a_report() -> None:
    decisions = [Decision(desired=desired, excess_burst_capacity=-1) for desired in (-1, 0, 1)]
    assert [is_poked(decision, 1.0) for decision in decisions] == [False, True, False]
    assert not is_poked(decisions[1], 0.0)


def test_a_new_scale_is_news_even_with_the_same_burst_capacity() -> None:
    assert is_news(Decision(desired=1, excess_burst_capacity=5), Decision(desired=2, excess_burst_capacity=5))


configs = st.builds(
    Config,
    target=st.floats(0.01, 100),
    max_scale_up_rate=st.floats(1.01, 1000),
    max_scale_down_rate=st.floats(1.01, 1000),
    panic_threshold=st.floats(1.1, 10),
    reachable=st.booleans(),
    activation_scale=st.sampled_from((0, 2, 5)),
)
loads = st.floats(0, 1e6)


@given(configs, st.integers(0, 500), loads, loads)
def test_more_load_never_asks_for_fewer_pods(config: Config, ready: int, one: float, other: float) -> None:
    assert desired(config, ready, min(one, other)) <= desired(config, ready, max(one, other))


@given(configs, st.integers(1, 500), loads)
def test_no_decision_leaves_the_rate_limits(config: Config, ready: int, load: float) -> None:
    found = desired(config, ready, load)
    assert found <= max(config.max_scale_up_rate * ready + 1, config.activation_scale)
    if config.reachable:
        assert found >= int(ready / config.max_scale_down_rate)


@given(configs, st.lists(st.tuples(loads, loads), min_size=1, max_size=40), st.integers(0, 50))
def test_in_panic_the_scale_never_falls(config: Config, averages: list[tuple[float, float]], ready: int) -> None:
    state, last = State(), 0
    for tick, (stable, panic) in enumerate(averages):
        before = state.panic_since_s
        state, decision = decide(config, state, tick * 2.0, ready, stable, panic)
        if before is not None and state.panic_since_s is not None:
            assert decision.desired >= last
        last = decision.desired
