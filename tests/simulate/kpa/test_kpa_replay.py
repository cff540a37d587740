"""Replays: what a tick sees, what no data means, how a restart behaves, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kserve_ext.errors import InputError
from kserve_ext.simulate.kpa import replay

CC4: dict[str, Any] = {
    "TargetValue": 2.8,
    "TotalValue": 4.0,
    "TargetBurstCapacity": 211,
    "MaxScaleUpRate": 1000,
    "MaxScaleDownRate": 2,
    "PanicThreshold": 2,
    "Reachable": True,
    "ActivationScale": 0,
    "ScalingMetric": "concurrency",
    "stable_window_s": 60,
    "panic_window_s": 6,
    "aggregation": "linear",
    "scale_down_delay_s": 0,
    "initial_ready": 0,
}


def test_a_tick_sees_records_up_to_its_own_time_only() -> None:
    rows = replay(CC4, [(0.1, 3.0), (0.6, 2.5), (2.0, 5.0)], [(0, 2), (0.5, 2), (2, 2)])
    assert [row[0] for row in rows] == [0.0, 3.0, pytest.approx(10.5 / 3)]


def test_a_late_record_counts_in_its_own_second_unless_it_is_a_window_old() -> None:
    rows = replay(CC4 | {"stable_window_s": 10}, [(20, 6.0), (15, 3.0), (10, 100.0)], [(20, 1)])
    assert rows[0][0] == pytest.approx(9 / 6)


def test_without_a_scrape_target_no_data_is_no_load() -> None:
    assert replay(CC4, [], [(0, 4)]) == [(0.0, 0.0, 2, -195, True)]


@pytest.mark.parametrize(("t_s", "valid"), [(60, True), (61, False), (1000, False)])
def test_with_a_scrape_target_a_silent_window_makes_the_tick_invalid(t_s: int, valid: bool) -> None:
    rows = replay(CC4 | {"ScrapeTarget": "private"}, [(0, 5.0)], [(0, 4), (t_s, 4)])
    assert rows[1] == ((0.0, 0.0, 2, -195, True) if valid else (0.0, 0.0, 0, 0, False))


def test_panic_outlasts_ticks_without_data() -> None:
    """Nothing is scraped for 200 s in the middle of a panic: the first sample after it still finds 40 pods wanted."""
    rows = replay(CC4 | {"ScrapeTarget": "private"}, [(0, 112.0), (200, 0.0)], [(0, 1), (100, 1), (200, 40)])
    assert [(row[2], row[4]) for row in rows] == [(40, True), (0, False), (20, True)]


@pytest.mark.parametrize(("ready", "desired"), [(1, 0), (2, 2), (7, 7)])
def test_a_restart_keeps_two_or_more_ready_pods_for_a_stable_window(ready: int, desired: int) -> None:
    rows = replay(CC4 | {"initial_ready": ready}, [(0, 0.0), (60, 0.0)], [(60, ready)])
    assert rows[0][2] == desired


def test_a_restart_ends_its_panic_after_the_stable_window() -> None:
    rows = replay(CC4 | {"initial_ready": 7}, [(t, 0.0) for t in range(64)], [(t, 7) for t in range(0, 64, 2)])
    assert [row[2] for row in rows] == [7] * 31 + [3]


def test_one_request_from_zero_at_one_slot_and_70_percent_asks_for_two_pods() -> None:
    rows = replay(CC4 | {"TargetValue": 0.7, "TotalValue": 1}, [(0, 1.0)], [(0, 0)])
    assert rows == [(1.0, 1.0, 2, -212, True)]


def test_settings_not_given_are_those_of_knative() -> None:
    assert replay({}, [(0, 700.0)], [(0, 10)]) == [(700.0, 700.0, 10, 89, True)]


def test_keys_of_no_use_here_are_left_alone() -> None:
    assert replay(CC4 | {"ActivatorCapacity": 100, "note": "x"}, [(0, 1)], [(0, 1)]) == replay(CC4, [(0, 1)], [(0, 1)])


def test_all_faults_of_a_config_are_named_at_once() -> None:
    wrong = {
        "TargetValue": 0,
        "TotalValue": "4",
        "TargetBurstCapacity": -2,
        "PanicThreshold": math.nan,
        "Reachable": "yes",
        "ActivationScale": 1.5,
        "ScalingMetric": "cpu",
        "stable_window_s": -60,
        "scale_down_delay": 30,
    }
    with pytest.raises(InputError) as raised:
        replay(wrong, [], [])
    assert [problem.field for problem in raised.value.problems] == [f"config.{key}" for key in wrong]
    assert raised.value.problems[-1].allowed == "scale_down_delay_s"


@pytest.mark.parametrize(
    ("records", "ticks", "message"),
    [
        ([(0, "3")], [(0, 1)], "records[0]: not a number; found '3'"),
        ([(0, 1.0), (math.nan, 3.0)], [(2, 1)], "records[1]: not a time in seconds; found nan"),
        ([(None, 3.0)], [(2, 1)], "records[0]: not a time in seconds; found None"),
        ([], [(2, 1), (0, 1)], "ticks[1]: the time goes back; found 0; allowed: >= 2"),
        ([], [(math.inf, 1)], "ticks[0]: not a time in seconds; found inf"),
        ([], [(0, -1)], "ticks[0]: not a number of pods; found -1; allowed: a whole number >= 0"),
        ([], [(0, 1.5)], "ticks[0]: not a number of pods; found 1.5; allowed: a whole number >= 0"),
    ],
)
def test_what_cannot_be_replayed_is_refused(records: list[Any], ticks: list[Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        replay(CC4, records, ticks)
    assert str(raised.value) == message


@pytest.mark.parametrize("key", ["stable_window_s", "panic_window_s", "scale_down_delay_s"])
def test_a_length_of_time_is_cut_to_nanoseconds(key: str) -> None:
    """0.07 * 100 is 7.000000000000001 s: seven buckets, or four slots of a delay of 8 s, not one more."""
    base = CC4 | {"stable_window_s": 12}
    records = [(second, 28.0 + second % 5 if second < 20 else 0.0) for second in range(60)]
    ticks = [(second, 10) for second in range(0, 60, 2)]
    exact, above, longer = (replay(base | {key: span_s}, records, ticks) for span_s in (8, 8.000000000000002, 10))
    assert above == exact != longer
