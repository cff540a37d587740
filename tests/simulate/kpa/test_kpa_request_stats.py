"""Reports of queue-proxies and activators, where the order of events is awkward."""

from __future__ import annotations

import pytest

from kserve_ext.simulate.kpa import Metric, Stat
from kserve_ext.simulate.kpa.request_stats import ActivatorStats, RequestStats


def test_an_event_that_comes_late_does_not_turn_the_clock_back() -> None:
    stats = RequestStats(0.0)
    stats.arrive(1.0)
    stats.arrive(0.5)
    assert stats.report(2.0) == Stat(concurrency=1.0, requests=2)


def test_a_request_that_came_through_an_activator_is_not_recorded_again() -> None:
    stats = RequestStats(0.0)
    stats.arrive(0.0, proxied=True)
    stats.arrive(0.5)
    report = stats.report(1.0)
    assert (report.value(Metric.CONCURRENCY), report.value(Metric.RPS)) == (0.5, 1)


def test_a_request_that_arrives_with_the_report_keeps_the_revision_known() -> None:
    stats = ActivatorStats()
    assert stats.arrive(1.0) == Stat(concurrency=1.0, requests=1.0)
    assert stats.report(1.0) == Stat(concurrency=0.0, requests=0.0)
    assert stats.arrive(1.5) is None
    assert stats.report(2.0) == Stat(concurrency=1.5, requests=1.0)


def test_a_revision_idle_for_a_whole_report_is_announced_anew() -> None:
    stats = ActivatorStats()
    stats.arrive(0.0)
    stats.leave(0.5)
    reports = [stats.report(float(second)) for second in (1, 2, 3)]
    assert reports == [Stat(), Stat(), None]
    assert stats.arrive(3.5) is not None


@pytest.mark.parametrize("requests", [2, 5])
def test_the_announced_request_is_counted_once(requests: int) -> None:
    stats = ActivatorStats()
    announced = [stats.arrive(0.0) for _ in range(requests)]
    report = stats.report(1.0)
    assert report is not None
    assert sum(stat.requests for stat in (*announced, report) if stat is not None) == requests
