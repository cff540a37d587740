"""From a decision to pods: the way to zero over time, initial scale, bounds, and when the activator is in the path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.kpa import Decision
from kserve_ext.simulate.kpa.reconcile import Activity, Limits, Status, activators, reconcile, scale

IN_PATH, OUT_OF_PATH = -1, 0


def serving(*, proxy: bool) -> Status:
    """One ready pod that has been active since long before."""
    return Status(
        activity=Activity.ACTIVE,
        activity_since_s=-1000.0,
        initialized=True,
        proxy=proxy,
        proxied_since_s=-1000.0 if proxy else None,
    )


def zero_at(limits: Limits, status: Status, excess: int = IN_PATH) -> float:
    """When the last pod is taken away, if the load is gone at 0 and the reconciler comes back as it asks to."""
    now_s = 0.0
    while True:
        decision = Decision(desired=0, excess_burst_capacity=excess)
        status, outcome = reconcile(limits, status, now_s, decision, ready=1)
        if outcome.applied and outcome.scale == 0:
            return now_s
        # without a request of its own it comes back when the data path has changed
        now_s += 1.0 if outcome.requeue_s is None else outcome.requeue_s


def test_zero_takes_three_seconds_when_the_activator_was_in_the_path() -> None:
    assert zero_at(Limits(), serving(proxy=True)) == 3.0


def test_zero_takes_the_grace_period_when_the_activator_was_not_in_the_path() -> None:
    assert zero_at(Limits(), serving(proxy=False)) == 30.0


def test_retention_replaces_the_grace_period_when_it_is_longer() -> None:
    assert zero_at(Limits(retention_s=300), serving(proxy=True)) == 300.0


def test_once_retention_has_passed_a_long_time_behind_the_activator_counts_as_grace() -> None:
    limits = Limits(retention_s=20)
    status = Status(activity=Activity.INACTIVE, activity_since_s=0.0, initialized=True, proxied_since_s=-10.0)
    assert [scale(limits, status, now_s, 0).applied for now_s in (19.0, 20.0)] == [False, True]


def test_an_unreachable_revision_is_not_retained() -> None:
    assert zero_at(Limits(retention_s=300, reachable=False), serving(proxy=True)) == 3.0


def test_a_revision_active_for_less_than_the_stable_window_keeps_one_pod_until_then() -> None:
    status = Status(activity=Activity.ACTIVE, activity_since_s=0.0, initialized=True, replicas=4)
    after, outcome = reconcile(Limits(), status, 20.0, Decision(desired=0, excess_burst_capacity=IN_PATH), ready=4)
    assert (outcome.scale, outcome.applied, outcome.requeue_s, after.replicas) == (1, True, 40.0, 1)


def test_the_last_pod_stays_while_the_probe_does_not_reach_the_activator() -> None:
    status = Status(activity=Activity.INACTIVE, activity_since_s=0.0, initialized=True)
    assert not scale(Limits(), status, 500.0, 0, probe_ok=False).applied
    assert scale(Limits(target_burst_capacity=-1), status, 500.0, 0, probe_ok=False).applied


def test_a_new_revision_becomes_active_only_with_its_initial_scale() -> None:
    limits, status = Limits(initial_scale=3), Status(replicas=3)
    decision = Decision(desired=1, excess_burst_capacity=OUT_OF_PATH)
    seen = []
    for now_s, ready in ((0.0, 0), (20.0, 2), (25.0, 3), (27.0, 3)):
        status, outcome = reconcile(limits, status, now_s, decision, ready)
        seen.append((outcome.scale, status.activity, status.initialized))
    assert seen == [
        (3, Activity.ACTIVATING, False),
        (3, Activity.ACTIVATING, False),
        (3, Activity.ACTIVE, True),
        (1, Activity.ACTIVE, True),
    ]


def test_an_initial_scale_of_zero_starts_inactive_and_is_not_waited_for() -> None:
    decision = Decision(desired=-1, excess_burst_capacity=IN_PATH)
    status, outcome = reconcile(Limits(initial_scale=0), Status(replicas=0), 0.0, decision, ready=0)
    assert (status.activity, outcome.applied) == (Activity.INACTIVE, False)


def test_a_raised_min_scale_is_ignored_while_nothing_was_decided() -> None:
    """After a restart of the autoscaler a revision at zero stays there: a pre-warmer must send a request."""
    status = Status(activity=Activity.INACTIVE, initialized=True, replicas=0)
    assert not scale(Limits(min_scale=2), status, 0.0, -1).applied
    assert scale(Limits(min_scale=2), status, 0.0, 0).scale == 2


@pytest.mark.parametrize(
    ("wanted", "excess", "ready", "proxy", "proxied"),
    [(2, 5, 2, False, False), (2, -1, 2, True, True), (2, 5, 0, False, True), (0, 5, 1, True, True)],
)
def test_the_activator_is_in_the_path_for_want_of_capacity_or_of_pods(
    wanted: int, excess: int, ready: int, proxy: bool, proxied: bool
) -> None:
    decision = Decision(desired=wanted, excess_burst_capacity=excess)
    after, _ = reconcile(Limits(), serving(proxy=False), 5.0, decision, ready)
    assert (after.proxy, after.proxied_since_s is not None) == (proxy, proxied)


def test_a_failed_start_is_given_up_after_the_progress_deadline_and_half_a_minute() -> None:
    status = Status(activity=Activity.ACTIVATING, activity_since_s=0.0, initialized=True)
    assert [scale(Limits(), status, now_s, 0).applied for now_s in (630.0, 630.5)] == [False, True]


def test_activators_cover_all_ready_pods_and_the_burst() -> None:
    assert [activators(Limits(), ready) for ready in (0, 1, 10)] == [3, 4, 13]


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 100), st.sampled_from(Activity), st.floats(0, 1e4))
def test_a_scale_that_is_applied_lies_within_its_bounds_or_is_the_last_pod(
    low: int, room: int, desired: int, activity: Activity, now_s: float
) -> None:
    limits = Limits(min_scale=low, max_scale=low + room)
    outcome = scale(limits, Status(activity=activity, initialized=True), now_s, desired)
    assert outcome.scale >= low or not outcome.applied
    assert outcome.scale <= (low + room or max(1, desired))
