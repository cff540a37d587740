"""The HorizontalPodAutoscaler's published rules, as tables."""

from __future__ import annotations

import pytest

from kserve_ext.simulate.scalers.bounds import Bounds
from kserve_ext.simulate.scalers.hpa_behavior import (
    NO_HISTORY,
    Behavior,
    History,
    Policy,
    PolicyType,
    Rules,
    Select,
    settle,
)
from kserve_ext.simulate.scalers.hpa_replicas import Pods, for_average, for_utilization

WIDE = Bounds(min_replicas=1, max_replicas=1000)


@pytest.mark.parametrize(
    ("percent_used", "target", "wanted"),
    [
        (80, 80, 10),
        (88, 80, 10),  # 10 % above is within the tolerance
        (89, 80, 12),  # 11.1 rounded up
        (72, 80, 10),
        (71, 80, 9),
        (0, 80, 0),
        (100, 80, 13),  # a full replica shows no more than 100 %: at most a quarter more per sync
        (88.9, 80, 10),  # cut to a whole percent
    ],
)
def test_utilization_scales_by_its_ratio_to_the_target(percent_used: float, target: float, wanted: int) -> None:
    pods = Pods(current=10, measured=10)
    assert for_utilization(pods, 10 * percent_used / 100, target) == wanted


@pytest.mark.parametrize(
    ("pods", "percent_used", "wanted"),
    [
        # up, with pods that start counted as idle: 10 x 100 % over 15 is 66 %, which would turn the direction
        (Pods(current=15, measured=10, unready=5), 100, 15),
        (Pods(current=11, measured=10, unready=1), 100, 13),  # 90 % of 11: 12.4
        # down, pods that start are left out of it
        (Pods(current=15, measured=10, unready=5), 40, 5),
        # a pod without any sample counts as idle on the way up and as full on the way down
        (Pods(current=12, measured=10, missing=2), 100, 12),  # 83 %: within the tolerance
        (Pods(current=12, measured=10, missing=2), 40, 8),  # 6 of 12 used: 50 %
        (Pods(current=12, measured=6, missing=6), 70, 12),  # 85 % of 12: now it would go up
        # the sample count and not the scale is multiplied, but it never turns the direction
        (Pods(current=20, measured=10), 100, 13),
        (Pods(current=20, measured=10, unready=1), 100, 20),  # 90 % of 11 asks for 13, fewer than now
        (Pods(current=3, measured=0, unready=3), 100, None),
    ],
)
def test_pods_without_a_usable_sample_never_speed_a_change_up(
    pods: Pods, percent_used: float, wanted: int | None
) -> None:
    assert for_utilization(pods, pods.measured * percent_used / 100, 80) == wanted


@pytest.mark.parametrize(
    ("total", "wanted"), [(50, 10), (55, 10), (55.1, 12), (45, 10), (44.9, 9), (5.001, 2), (0, 0), (500, 100)]
)
def test_an_average_value_divides_the_total_by_the_target(total: float, wanted: int) -> None:
    assert for_average(current=10, total=total, target=5.0) == wanted


@pytest.mark.parametrize(("current", "recommended", "wanted"), [(1, 50, 4), (2, 50, 4), (3, 50, 6), (30, 50, 50)])
def test_without_behavior_one_step_up_goes_to_four_or_to_the_double(
    current: int, recommended: int, wanted: int
) -> None:
    assert settle(None, NO_HISTORY, 0.0, current, recommended, WIDE)[1] == wanted


@pytest.mark.parametrize("behavior", [None, Behavior()])
def test_the_way_down_waits_for_the_highest_recommendation_of_five_minutes(behavior: Behavior | None) -> None:
    history, scale, seen = NO_HISTORY, 10, {}
    for now in range(0, 700, 15):
        history, scale = settle(behavior, history, float(now), scale, 8 if now == 150 else 3, WIDE)
        seen[now] = scale
    strict = 0 if behavior else 15  # `behavior` leaves out a recommendation that is exactly 300 s old
    assert [seen[at] for at in (0, 285, 300 + strict, 435, 450 + strict)] == [10, 10, 8, 8, 3]


def test_with_behavior_a_step_up_adds_four_pods_or_all_again_per_fifteen_seconds() -> None:
    history, scale, seen = NO_HISTORY, 1, []
    for now in range(0, 60, 15):
        history, scale = settle(Behavior(), history, float(now), scale, 100, WIDE)
        seen.append(scale)
    assert seen == [5, 10, 20, 40]


def test_a_second_sync_within_the_period_only_adds_what_is_left_of_it() -> None:
    up = Rules(stabilization_s=0.0, policies=(Policy(type=PolicyType.PODS, value=4, period_s=60.0),))
    history, scale, seen = NO_HISTORY, 2, []
    for now in range(0, 90, 15):
        history, scale = settle(Behavior(up=up), history, float(now), scale, 50, WIDE)
        seen.append(scale)
    assert seen == [6, 6, 6, 6, 10, 10]


@pytest.mark.parametrize(
    ("select", "wanted"), [(Select.MAX, 5), (Select.MIN, 8), (Select.DISABLED, 10)]
)  # fmt: skip
def test_of_several_policies_down_the_selected_one_holds(select: Select, wanted: int) -> None:
    policies = (Policy(type=PolicyType.PODS, value=2), Policy(type=PolicyType.PERCENT, value=50))
    down = Rules(stabilization_s=0.0, policies=policies, select=select)
    assert settle(Behavior(down=down), NO_HISTORY, 100.0, 10, 1, WIDE)[1] == wanted


def test_a_stabilized_way_up_takes_the_lowest_recommendation() -> None:
    up = Rules(stabilization_s=60.0, policies=(Policy(type=PolicyType.PERCENT, value=1000),))
    history, scale, seen = NO_HISTORY, 2, []
    for now in range(0, 90, 15):
        history, scale = settle(Behavior(up=up), history, float(now), scale, 20, WIDE)
        seen.append(scale)
    assert seen == [2, 2, 2, 2, 20, 20]


@pytest.mark.parametrize(
    ("current", "recommended", "wanted"), [(2, 5, 3), (20, 5, 9), (4, None, 4), (0, 5, 0), (4, 1, 4)]
)
def test_bounds_come_first_no_metric_changes_nothing_and_zero_disables_it(
    current: int, recommended: int | None, wanted: int
) -> None:
    bounds = Bounds(min_replicas=3, max_replicas=9)
    assert settle(None, History(), 0.0, current, recommended, bounds)[1] == wanted


@pytest.mark.parametrize(
    ("found", "at_s", "wanted"),
    [
        (0, 30.0, 20),  # found at zero long ago, scaled to one by somebody else: nothing holds it back
        (1, 30.0, 2),  # one replica was found: it counts as a recommendation for a minute
        (1, 60.0, 20),
        (2, 30.0, 2),
    ],
)
def test_the_scale_found_first_counts_as_a_recommendation_even_out_of_bounds(
    found: int, at_s: float, wanted: int
) -> None:
    up = Rules(stabilization_s=60.0, policies=(Policy(type=PolicyType.PERCENT, value=1000),))
    bounds = Bounds(min_replicas=2, max_replicas=20)
    first_s = -60.0 if found == 0 else 0.0
    history, _ = settle(Behavior(up=up), NO_HISTORY, first_s, found, 20, bounds)
    assert history.recommendations[0] == (first_s, found)
    assert settle(Behavior(up=up), history, at_s, 2, 20, bounds)[1] == wanted


def test_the_history_stays_short() -> None:
    history, scale = NO_HISTORY, 5
    for now in range(0, 6000, 15):
        history, scale = settle(Behavior(), history, float(now), scale, 5 + now // 15 % 9, WIDE)
    assert len(history.recommendations) <= 22
    assert len(history.added) + len(history.removed) <= 2
