"""Knative's autoscaler as a scaler: its own runs, what is counted, bounds, and the way to zero."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.domain import Scaling
from kserve_ext.simulate import kpa
from kserve_ext.simulate.arrivals import Exact, Rates
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.kpa.window import LinearWindow, WeightedWindow
from kserve_ext.simulate.scaler import Second, Tick
from kserve_ext.simulate.scalers import Bounds, KpaScaler, from_plan, kpa_cc1, kpa_default
from kserve_ext.simulate.scalers.trail import Trail
from kserve_ext.simulate.service_time import Constant

GOLDEN = {
    vector["name"].removeprefix("golden/"): vector
    for vector in json.loads((Path(__file__).parents[2] / "data" / "kpa" / "kpa_vectors.json").read_text("utf-8"))
    if vector["kind"] == "golden_run"
}
NOT_A_STORY = {  # records that no sequence of whole seconds gives
    "missing_scrapes", "two_sources_add_up", "pr8106_stable6_panic5", "tbc_minus1",
    "activation_scale_3",
}  # fmt: skip


def second(t_s: int, in_flight: float, rps: int = 0) -> Second:
    return Second(t_s=t_s, arrivals=rps, concurrency=in_flight, busy=in_flight)


def decisions(scaler: KpaScaler, replicas: int, loads: list[float], ready: list[int]) -> list[tuple[int, int]]:
    """Desired pods and excess burst capacity at every tick, with the ready pods given."""
    state, rows = scaler.start(replicas), []
    for index, pods in enumerate(ready):
        new = tuple(second(t, loads[t]) for t in (2 * index, 2 * index + 1))
        tick = Tick(now_s=2.0 * index + 2, ready=pods, starting=0, seconds=new, slots_per_replica=1.0)
        state, _ = scaler.step(state, tick)
        rows.append((state.decision.desired, state.decision.excess_burst_capacity))
    return rows


# ------------------------------------------------------------------------------------------ equal to Knative, to the bit


@pytest.mark.parametrize("name", sorted(set(GOLDEN) - NOT_A_STORY))
def test_it_decides_as_knative_did_in_its_recorded_run(name: str) -> None:
    vector = GOLDEN[name]
    config, initial_ready = kpa.read_config(vector["config"] | {"ScrapeTarget": "pods"})
    loads = {int(t): float(value) for t, value in vector["input"]}
    scaler = KpaScaler(config=config)
    state, seen = scaler.start(initial_ready), -1
    for t, ready, _, _, desired, excess in vector["expected"]:
        new = tuple(second(at - 1, loads.get(at, 0.0)) for at in range(seen + 1, t + 1))
        tick = Tick(now_s=float(t), ready=ready, starting=0, seconds=new, slots_per_replica=1.0)
        state, _ = scaler.step(state, tick)
        assert (state.decision.desired, state.decision.excess_burst_capacity) == (desired, excess), t
        seen = t


@settings(max_examples=60, deadline=None)
@given(
    loads=st.lists(st.one_of(st.just(0.0), st.floats(1.0, 60.0)), min_size=2, max_size=240),
    ready=st.lists(st.integers(1, 30), min_size=120, max_size=120),
    target=st.sampled_from([0.7, 2.8, 7.0, 70.0]), burst=st.sampled_from([0, 2, 211]),
    windows=st.sampled_from([(60, 6), (20, 2), (6, 6)]), delay_s=st.sampled_from([0, 15]),
    aggregation=st.sampled_from(list(kpa.Aggregation)), replicas=st.integers(1, 9),
)  # fmt: skip
def test_it_decides_as_the_replay_of_the_same_seconds(
    loads: list[float], ready: list[int], target: float, burst: int, windows: tuple[int, int], delay_s: int,
    aggregation: kpa.Aggregation, replicas: int,
) -> None:  # fmt: skip
    ready = ready[: len(loads) // 2]
    raw = {
        "TargetValue": target, "TotalValue": target / 0.7, "TargetBurstCapacity": burst,
        "stable_window_s": windows[0], "panic_window_s": windows[1], "scale_down_delay_s": delay_s,
        "aggregation": aggregation, "initial_ready": replicas,
    }  # fmt: skip
    records = [(t + 1, value) for t, value in enumerate(loads)]
    ticks = [(2 * index + 2, pods) for index, pods in enumerate(ready)]
    expected = [(desired, excess) for *_, desired, excess, _ in kpa.replay(raw, records, ticks)]
    config, _ = kpa.read_config(raw | {"ScrapeTarget": "pods"})
    assert decisions(KpaScaler(config=config), replicas, loads, ready) == expected


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 25), st.floats(0, 1e6), st.integers(0, 25)), min_size=1, max_size=80),
    size=st.sampled_from([1, 6, 20]),
)
def test_a_frozen_trail_averages_to_the_bit_as_the_window_it_stands_for(
    steps: list[tuple[int, float, int]], size: int
) -> None:
    trail, linear, weighted, at = Trail(size), LinearWindow(size), WeightedWindow(size), 1_000
    for gap, value, later in steps:
        at += gap
        trail = trail.record(at, value)
        linear.record(at, value)
        weighted.record(at, value)
        assert trail.mean(at + later) == linear.average(at + later)
        assert trail.weighted_mean(at + later) == weighted.average(at + later)
        assert trail.is_empty(at + later) == linear.is_empty(at + later)


# -------------------------------------------------------------------------------------------------- what Knative counts


def burst_then_idle(burst_capacity: float) -> kpa.Config:
    """Target 1, so that desired pods are the average, rounded up."""
    return kpa.Config(
        target=1.0, total=1.0, target_burst_capacity=burst_capacity, max_scale_down_rate=1000.0, panic_threshold=1000.0,
        scraped=burst_capacity != -1,
    )  # fmt: skip


def test_idle_pods_that_are_scraped_pull_the_average_down_second_by_second() -> None:
    loads = [10.0] * 30 + [0.0] * 60
    rows = decisions(KpaScaler(config=burst_then_idle(211)), 1, loads, [1] * 45)
    assert [desired for desired, _ in rows][14::5] == [10, 8, 6, 5, 4, 2, 0]  # at 30, 40, ... 90 s


def test_with_the_activator_always_in_the_path_idle_seconds_hardly_lower_the_average_until_the_window_is_over() -> None:
    """Only activators report then, and they forget an idle revision after one second: the window gets shorter instead."""
    loads = [10.0] * 30 + [0.0] * 62
    desired = [desired for desired, _ in decisions(KpaScaler(config=burst_then_idle(-1)), 1, loads, [1] * 46)]
    assert [desired[at // 2 - 1] for at in (30, 40, 60, 70, 80, 86, 90, 92)] == [10, 10, 10, 10, 10, 8, 0, 0]


def test_the_first_request_after_silence_counts_as_a_whole_one_through_the_activator() -> None:
    config = kpa.Config(target=0.7, total=1.0, scraped=True)
    assert decisions(KpaScaler(config=config), 0, [0.0, 0.4], [0]) == [(2, -212)]


def test_behind_no_activator_a_short_request_counts_for_as_long_as_it_takes() -> None:
    config = kpa.Config(target=0.7, total=1.0, target_burst_capacity=0, scraped=True)
    loads = [1.0, 0.0, 0.4, 0.0]
    assert decisions(KpaScaler(config=config), 1, loads, [3, 3])[1] == (1, 0)


def test_requests_per_second_are_counted_when_they_are_the_metric() -> None:
    config = kpa.Config(target=7.0, metric=kpa.Metric.RPS, scraped=True)
    scaler = KpaScaler(config=config)
    tick = Tick(
        now_s=2.0, ready=1, starting=0, seconds=(second(0, 500.0, rps=20), second(1, 500.0, rps=22)),
        slots_per_replica=1.0,
    )  # fmt: skip
    assert scaler.step(scaler.start(1), tick)[1] == 3


def test_nothing_is_decided_while_no_pod_and_no_activator_reports() -> None:
    scaler = kpa_cc1(Bounds(min_replicas=0))
    state = scaler.start(0)
    idle = Tick(now_s=2.0, ready=0, starting=0, seconds=(second(0, 0.0), second(1, 0.0)), slots_per_replica=1.0)
    state, wanted = scaler.step(state, idle)
    assert (wanted, state.decision.desired, state.stable.values) == (0, -1, ())


# ------------------------------------------------------------------------------------------------------ stories over time


def test_one_pod_just_above_its_target_panics_and_the_second_pod_stays_for_a_minute(story: Callable[..., Any]) -> None:
    """2.9 in flight with a target of 2.8: rounded up before the ratio, that is twice the pods."""
    scaler = KpaScaler(config=kpa.Config(target=2.8, total=4.0, scraped=True))
    told = story(scaler).goes_on(30, concurrency=0.5).goes_on(40, concurrency=2.9).goes_on(120, concurrency=0.5)
    told.expect(at=30, replicas=1).expect(at=36, replicas=2).expect(at=94, replicas=2).expect(at=98, replicas=1)


def test_a_threshold_of_210_percent_does_not_react_to_the_same_load(story: Callable[..., Any]) -> None:
    scaler = KpaScaler(config=kpa.Config(target=2.8, total=4.0, panic_threshold=2.1, scraped=True))
    told = story(scaler).goes_on(30, concurrency=0.5).goes_on(40, concurrency=2.9).goes_on(120, concurrency=0.5)
    assert set(told.wanted.values()) == {1}


def test_one_request_at_zero_replicas_asks_for_two_of_them_with_a_limit_of_one(watched: Callable[..., Any]) -> None:
    """1 / 0.7 rounds up to 2, and panic holds both until a minute after."""
    scaler = watched(kpa_cc1(Bounds(min_replicas=0)))
    workload = Workload(
        name="one", arrivals=Exact(times_s=(9.5, 200.0)), service=Constant(time_s=0.1), slo_s=60.0,
        cold_start=ColdStart(load_s=20), initial_replicas=0,
    )  # fmt: skip
    (outcome,) = simulate_fleet([workload], [scaler])
    wanted = {int(tick.now_s): replicas for tick, replicas in scaler.steps}
    assert [wanted[at] for at in (8, 10, 30, 86, 106)] == [0, 2, 2, 2, 0]
    assert outcome.p50_s == pytest.approx(20.6, rel=0.01)  # noticed at 10 s, ready at 30 s


def test_a_slow_start_piles_up_a_queue_and_asks_for_ten_times_what_is_needed(watched: Callable[..., Any]) -> None:
    """5 rps of 0.15 s need 2 replicas; the queue of a 35 s start looks like a load of 100 and more."""
    scaler = watched(kpa_cc1(Bounds(min_replicas=0)))
    workload = Workload(
        name="slow", arrivals=Rates(rates_rps=(5.0,) * 5), service=Constant(time_s=0.15), slo_s=1.0,
        cold_start=ColdStart(load_s=35), initial_replicas=0,
    )  # fmt: skip
    simulate_fleet([workload], [scaler])
    assert max(replicas for _, replicas in scaler.steps) > 100
    assert scaler.steps[-1][1] == 2


def test_without_load_it_steps_down_to_one_then_to_zero_a_window_after_the_last_request(
    story: Callable[..., Any],
) -> None:
    told = story(kpa_cc1(Bounds(min_replicas=0)), 2).goes_on(100, concurrency=0.9).goes_on(200)
    told.expect(at=100, replicas=2).expect(at=158, replicas=1).expect(at=164, replicas=0)


@pytest.mark.parametrize(("burst", "retention_s", "zero_at"), [(0, 0, 192), (211, 0, 164), (211, 120, 282)])
def test_the_last_replica_waits_for_the_activator_and_for_the_retention(
    story: Callable[..., Any], burst: int, retention_s: float, zero_at: int
) -> None:
    """The grace of 30 s is over at once when all requests have come through the activator all along."""
    config = kpa.Config(target=0.7, total=1.0, target_burst_capacity=burst, scraped=True)
    told = story(KpaScaler(config=config, bounds=Bounds(min_replicas=0), retention_s=retention_s))
    told.goes_on(100, concurrency=0.5).goes_on(300)
    told.expect(at=zero_at - 3, replicas=1).expect(at=zero_at, replicas=0)


def test_bounds_hold_and_a_new_revision_starts_at_its_initial_scale(story: Callable[..., Any]) -> None:
    told = story(kpa_cc1(Bounds(min_replicas=3, max_replicas=5))).goes_on(60, concurrency=100.0).goes_on(300)
    told.expect(at=2, replicas=5).expect(at=60, replicas=5).expect(at=300, replicas=3)
    new = KpaScaler(config=kpa.Config(scraped=True), initial_scale=4)
    story(new, cold_start_s=10).goes_on(100, concurrency=1.0).expect(at=2, replicas=4).expect(at=90, replicas=1)


# ------------------------------------------------------------------------------------------------------ how it is set up


def test_knatives_defaults_let_seventy_requests_queue_at_one_replica(story: Callable[..., Any]) -> None:
    told = story(kpa_default()).goes_on(120, concurrency=69.0)
    told.expect(at=120, replicas=1).goes_on(122, concurrency=100.0).goes_on(240, concurrency=100.0)
    told.expect(at=240, replicas=2)


def test_a_limit_of_one_aims_at_seven_tenths_of_a_request(story: Callable[..., Any]) -> None:
    story(kpa_cc1()).goes_on(300, concurrency=15.6).expect(at=300, replicas=23)


def test_a_plan_sets_every_knob_and_knatives_rules_resolve_them() -> None:
    scaling = Scaling(
        min_replicas=2, max_replicas=9, metric="concurrency", target=10.0, target_utilization_percent=100.0,
        panic_threshold_percent=225.0, panic_window_percent=10.0, target_burst_capacity=-1, window_s=90.0,
        scale_down_delay_s=45.0, initial_scale=2,
    )  # fmt: skip
    scaler = from_plan(scaling, concurrency_limit=8)
    assert (scaler.config.target, scaler.config.total) == (8.0, 8.0)  # the limit caps the target
    assert (scaler.config.panic_threshold, scaler.config.panic_window_s) == (2.25, 9)
    assert (scaler.config.stable_window_s, scaler.config.scale_down_delay_s) == (90.0, 45.0)
    assert (scaler.bounds, scaler.initial_scale) == (Bounds(min_replicas=2, max_replicas=9), 2)
    assert not scaler.config.scraped  # only activators report


def test_states_are_values_that_can_be_taken_up_again() -> None:
    scaler, loads = kpa_cc1(), [float(at % 7) for at in range(40)]
    ticks = [
        Tick(now_s=at + 2.0, ready=2, starting=0, seconds=(second(at, loads[at]), second(at + 1, loads[at + 1])),
             slots_per_replica=1.0)
        for at in range(0, 40, 2)
    ]  # fmt: skip
    states = list(itertools.accumulate(ticks, lambda state, tick: scaler.step(state, tick)[0], initial=scaler.start(2)))
    again = [scaler.step(state, tick)[0] for state, tick in zip(states[:-1], ticks, strict=True)]
    assert again == states[1:]
