"""The HPA and KEDA as scalers, told over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kserve_ext.simulate.scaler import Second, Tick
from kserve_ext.simulate.scalers import (
    Behavior,
    Bounds,
    BusyShare,
    CpuUtilization,
    HpaScaler,
    KedaScaler,
    QueueTime,
    RequestRate,
)
from kserve_ext.simulate.scalers.hpa_behavior import Policy, PolicyType, Rules
from kserve_ext.simulate.scalers.query import Query

CPU_80 = HpaScaler(metric=CpuUtilization(target_percent=80))


def tick(ready: int, busy: float, *, starting: int = 0, now_s: float = 15.0, slots: float = 1.0) -> Tick:
    seconds = tuple(Second(t_s=int(now_s) - 15 + t, arrivals=0, concurrency=busy, busy=busy) for t in range(15))
    return Tick(now_s=now_s, ready=ready, starting=starting, seconds=seconds, slots_per_replica=slots)


def test_utilization_is_busy_places_over_all_places_of_ready_replicas() -> None:
    assert CPU_80.step(CPU_80.start(10), tick(10, 10.0))[1] == 13
    assert CPU_80.step(CPU_80.start(10), tick(10, 72.0, slots=8.0))[1] == 12  # 90 %
    assert CPU_80.step(CPU_80.start(10), tick(10, 64.0, slots=8.0))[1] == 10


def test_a_queue_does_not_show_on_the_cpu_so_it_grows_by_a_quarter_every_other_sync(story: Callable[..., Any]) -> None:
    """In between, the new replicas count as idle."""
    told = story(CPU_80, 8)
    for until in range(15, 76, 15):
        told.goes_on(until, concurrency=500.0, busy=float(told.replicas))
    told.expect(at=15, replicas=10).expect(at=30, replicas=10).expect(at=45, replicas=13).expect(at=75, replicas=17)


def test_a_replica_that_has_just_become_ready_counts_as_idle_for_one_sync_while_it_is_young() -> None:
    state, wanted = CPU_80.step(CPU_80.start(10), tick(10, 10.0))
    assert wanted == 13
    state, wanted = CPU_80.step(state, tick(13, 12.0, now_s=30.0))  # 10 measured at 100 %, 13 counted: 76 %
    assert wanted == 13
    state, wanted = CPU_80.step(state, tick(13, 13.0, now_s=45.0))
    assert wanted == 17


def test_after_a_start_of_more_than_five_minutes_the_first_sample_is_used_at_once() -> None:
    state, wanted = CPU_80.step(CPU_80.start(10), tick(10, 10.0))
    assert wanted == 13
    state, wanted = CPU_80.step(state, tick(13, 13.0, now_s=330.0))
    assert wanted == 17


def test_replicas_that_start_hold_back_a_further_step_up() -> None:
    assert CPU_80.step(CPU_80.start(10), tick(10, 10.0, starting=3))[1] == 13
    assert CPU_80.step(CPU_80.start(10), tick(10, 10.0, starting=1))[1] == 13
    assert CPU_80.step(CPU_80.start(0), tick(0, 0.0, starting=3))[1] == 3  # nothing measured


def test_a_quiet_service_goes_down_five_minutes_after_its_last_busy_sync(story: Callable[..., Any]) -> None:
    told = story(CPU_80, 10).goes_on(60, concurrency=8.0).goes_on(420, concurrency=2.0)
    told.expect(at=60, replicas=10).expect(at=345, replicas=10).expect(at=375, replicas=3)


def test_the_default_limits_take_it_from_one_to_four_to_eight(story: Callable[..., Any]) -> None:
    rps_5 = HpaScaler(metric=RequestRate(target_rps=5.0, window_s=15))
    story(rps_5).goes_on(60, rps=100).expect(at=15, replicas=4).expect(at=30, replicas=8).expect(at=60, replicas=20)


def test_behavior_takes_it_from_one_to_five_to_ten(story: Callable[..., Any]) -> None:
    rps_5 = HpaScaler(metric=RequestRate(target_rps=5.0, window_s=15), behavior=Behavior())
    story(rps_5).goes_on(60, rps=100).expect(at=15, replicas=5).expect(at=30, replicas=10).expect(at=45, replicas=20)


def test_a_rate_is_the_mean_over_its_window(story: Callable[..., Any]) -> None:
    minute = HpaScaler(metric=RequestRate(target_rps=10.0, window_s=60))
    told = story(minute, 4).goes_on(60, rps=0).goes_on(90, rps=100)
    told.expect(at=75, replicas=4).expect(at=90, replicas=5)  # 25, then 50 rps
    told.goes_on(120, rps=100).expect(at=120, replicas=10)


def test_bounds_hold_from_the_first_sync(story: Callable[..., Any]) -> None:
    bounded = HpaScaler(metric=CpuUtilization(target_percent=80), bounds=Bounds(min_replicas=3, max_replicas=6))
    story(bounded, 1).goes_on(15).expect(at=15, replicas=3)
    story(bounded, 9).goes_on(15, concurrency=9.0).expect(at=15, replicas=6)


# ------------------------------------------------------------------------------------------------------------------ KEDA


def test_keda_wakes_a_service_at_its_poll_and_the_hpa_takes_over(story: Callable[..., Any]) -> None:
    told = story(KedaScaler(metric=RequestRate(target_rps=5.0)), 0).goes_on(31).goes_on(120, rps=20)
    told.expect(at=59, replicas=0).expect(at=60, replicas=1).expect(at=75, replicas=3).expect(at=105, replicas=4)


def test_keda_goes_to_zero_a_cooldown_after_the_last_active_poll(story: Callable[..., Any]) -> None:
    told = story(KedaScaler(metric=RequestRate(target_rps=5.0)), 1).goes_on(100, rps=3).goes_on(600)
    # the query looks back a minute: the poll at 150 s still saw requests
    told.expect(at=449, replicas=1).expect(at=450, replicas=0).expect(at=600, replicas=0)


def test_the_cooldown_ends_from_any_count_and_a_new_request_starts_it_again(story: Callable[..., Any]) -> None:
    told = story(KedaScaler(metric=RequestRate(target_rps=5.0), cooldown_s=60.0), 1).goes_on(120, rps=50)
    told.goes_on(180).goes_on(181, rps=1).goes_on(400)
    told.expect(at=120, replicas=10).expect(at=299, replicas=10).expect(at=300, replicas=0)


def test_a_service_that_never_had_a_request_goes_to_zero_at_the_first_poll(story: Callable[..., Any]) -> None:
    story(KedaScaler(metric=RequestRate(target_rps=5.0)), 2).goes_on(60).expect(at=29, replicas=2).expect(
        at=30, replicas=0
    )


@pytest.mark.parametrize(("rps", "replicas"), [(2, 0), (3, 1)])
def test_it_is_active_only_above_its_activation_value(story: Callable[..., Any], rps: int, replicas: int) -> None:
    told = story(KedaScaler(metric=RequestRate(target_rps=5.0), activation=2.0), 0).goes_on(120, rps=rps)
    told.expect(at=120, replicas=replicas)


def test_with_a_minimum_keda_keeps_it_and_never_goes_to_zero(story: Callable[..., Any]) -> None:
    told = story(KedaScaler(metric=RequestRate(target_rps=5.0), bounds=Bounds(min_replicas=2)), 0)
    told.goes_on(900).expect(at=30, replicas=2).expect(at=900, replicas=2)


def test_other_polling_intervals_keep_the_sync_of_the_hpa(story: Callable[..., Any]) -> None:
    quick = KedaScaler(metric=RequestRate(target_rps=5.0), polling_s=10.0)
    assert quick.interval_s == 5.0
    told = story(quick, 0).goes_on(60, rps=20)
    told.expect(at=10, replicas=1).expect(at=15, replicas=4)


def test_keda_that_wakes_a_service_found_at_zero_is_not_held_back_by_the_scale_it_was_woken_to(
    story: Callable[..., Any],
) -> None:
    up = Rules(stabilization_s=60.0, policies=(Policy(type=PolicyType.PERCENT, value=1000),))
    scaler = KedaScaler(metric=RequestRate(target_rps=5.0, window_s=15), behavior=Behavior(up=up))
    story(scaler, 0).goes_on(90).goes_on(200, rps=50).expect(at=120, replicas=1).expect(at=135, replicas=10)


# --------------------------------------------------------------------------------------------------- what a query tells


def _seconds(count: int, **values: float) -> tuple[Second, ...]:
    return tuple(
        Second(t_s=t, arrivals=int(values["arrivals"]), concurrency=values["concurrency"], busy=values["busy"])
        for t in range(count)
    )


@pytest.mark.parametrize(
    ("metric", "total"),
    [
        (RequestRate(target_rps=1.0), 20.0),
        (BusyShare(target_share=0.5), 1.5),  # 6 busy places of replicas with 4 each
        (QueueTime(target_s=0.1, served_s=0.3), 2 * 0.1),  # 8 in the system, 20 a second: 0.4 s each
        (QueueTime(target_s=0.1, served_s=0.5), 0.0),
    ],
    ids=["rate", "busy", "queue", "no queue"],
)
def test_a_query_adds_up_over_the_replicas(metric: Query, total: float) -> None:
    seen = _seconds(10, arrivals=20, concurrency=8.0, busy=6.0)
    assert metric.total(seen, 2, 4.0) == pytest.approx(total)
    assert metric.total((), 2, 4.0) == 0.0


def test_more_replicas_are_wanted_while_the_queue_is_long_and_fewer_when_it_is_short() -> None:
    keda = KedaScaler(metric=QueueTime(target_s=0.1, served_s=0.3, window_s=15), bounds=Bounds(min_replicas=1))
    for concurrency, wanted in ((12.0, 6), (8.0, 2), (6.0, 2)):  # 0.3, 0.1 and 0 s in the queue of two replicas
        tick = Tick(now_s=15.0, ready=2, starting=0, slots_per_replica=4.0,
                    seconds=_seconds(15, arrivals=20, concurrency=concurrency, busy=6.0))  # fmt: skip
        assert keda.step(keda.start(2), tick)[1] == min(wanted, 4)
