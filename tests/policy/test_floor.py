"""The predictive floor: silent without history, ahead of a rhythm it knows, and never a reason to remove replicas."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from kserve_ext.errors import InputError
from kserve_ext.policy.floor import FloorSettings, Observation, ScalerState, learn, sizing_from_capacity, start, step
from kserve_ext.policy.floor.calendar import same_time
from kserve_ext.policy.floor.trials import best, untried, ways
from kserve_ext.policy.forecast.history import append, empty

HOUR = 60


def settings() -> FloorSettings:
    return FloorSettings(sizing=sizing_from_capacity(8.0, 10.0, 0.01, 40), start_up_s=120.0)


def rhythm(minutes: int, seed: int = 0) -> list[int]:
    """Counts by the minute that swing once a day between 60 and 1,200 requests."""
    phase = 2 * np.pi * np.arange(minutes) / 1440
    return np.random.default_rng(seed).poisson(630 - 570 * np.cos(phase)).tolist()


def after(counts: list[int]) -> ScalerState:
    return _after(tuple(counts))


@functools.cache
def _after(counts: tuple[int, ...]) -> ScalerState:
    return learn(start(settings()), 0.0, counts, 60.0, settings())


def ask(state: ScalerState, counts: list[int], minutes: int) -> list[int]:
    """The floor after each further minute."""
    floors = []
    for offset in range(minutes):
        begin_s = 60.0 * (len(counts) - minutes + offset)
        seen = Observation(
            start_s=begin_s, now_s=begin_s + 60, arrivals=(counts[len(counts) - minutes + offset],), ready=1
        )
        state, decision = step(state, seen, settings())
        floors.append(decision.replicas)
        assert decision.expires_s == seen.now_s + settings().ttl_s
        assert decision.reasons
    return floors


def test_a_floor_without_history_is_silent_and_says_how_much_it_needs() -> None:
    seen = Observation(start_s=0.0, now_s=60.0, arrivals=(100,), ready=1)
    _, decision = step(start(settings()), seen, settings())
    assert (decision.replicas, decision.forecast) == (0, None)
    assert decision.reasons[0].code == "floor-silent"
    assert decision.reasons[0].numbers["needed_s"] > 60


def test_a_floor_that_knows_the_day_is_ahead_of_one_that_only_sees_the_last_bins() -> None:
    counts = rhythm(2 * 1440)
    known = counts[: 1440 + 4 * HOUR]
    foreseeing = ask(after(known), counts[: len(known) + 4 * HOUR], 4 * HOUR)
    assert foreseeing[-1] > foreseeing[0] >= known[-1] / 60 / 10.0
    reached = next(minute for minute, floor in enumerate(foreseeing) if floor == foreseeing[-1])
    assert reached < 4 * HOUR - 5


def test_a_rise_within_a_bin_raises_the_floor_at_once() -> None:
    counts = rhythm(6 * HOUR)
    state, now_s = after(counts), 6 * 3600.0
    quiet = Observation(start_s=now_s, now_s=now_s + 10, arrivals=(1,) * 10, ready=1)
    state, before = step(state, quiet, settings())
    for offset in (10.0, 20.0):
        loud = Observation(start_s=now_s + offset, now_s=now_s + 10 + offset, arrivals=(60,) * 10, ready=1)
        state, after_rise = step(state, loud, settings())
    assert after_rise.replicas >= 60 / 10 > before.replicas
    assert after_rise.reasons[-1].code == "floor-rise"


def test_requests_that_wait_ask_for_more_than_their_rate_does() -> None:
    state, floors, now_s = after(rhythm(6 * HOUR)), [], 6 * 3600.0
    for waiting in (0.0, 4_000.0):
        seen = Observation(start_s=now_s, now_s=now_s + 20, arrivals=(20,) * 20, ready=2, waiting=waiting)
        floors.append(step(state, seen, settings())[1].replicas)
    assert floors[1] > floors[0]


def test_more_late_than_the_trials_say_makes_the_floor_stricter() -> None:
    floors = []
    counts = [3 * count if minute % 25 == 0 else count for minute, count in enumerate(rhythm(6 * HOUR))]
    small = FloorSettings(sizing=sizing_from_capacity(0.8, 1.0, 0.01, 80), start_up_s=120.0, attainment=0.9)
    for share in (0.0, 0.2):
        state = learn(start(small), 0.0, counts[:-HOUR], 60.0, small)
        for minute in range(len(counts) - HOUR, len(counts)):
            late, count, begin_s = share * counts[minute], counts[minute], 60.0 * minute
            seen = Observation(start_s=begin_s, now_s=begin_s + 60, arrivals=(count,), ready=3, late=late)
            state, decision = step(state, seen, small)
        floors.append(decision.replicas)
    assert floors[1] > floors[0]
    assert state.record.late > state.record.foreseen


def test_the_calendar_holds_what_came_at_this_time_of_earlier_days() -> None:
    known, fresh = (append(empty(60, 9999), 0.0, rhythm(days * 1440 + 12 * HOUR), 60.0)[0] for days in (2, 0))
    assert same_time(known, 1).mean() == pytest.approx(1200 / 60, rel=0.05)
    assert not len(same_time(fresh, 1))


def test_a_floor_follows_the_size_of_the_traffic() -> None:
    counts = rhythm(12 * HOUR)  # to noon, when it is busiest
    half = [count // 2 for count in counts]
    assert max(ask(after(counts[:-HOUR]), counts, HOUR)) > max(ask(after(half[:-HOUR]), half, HOUR)) > 0


def test_the_same_observations_give_the_same_floor() -> None:
    counts = rhythm(6 * HOUR)
    assert ask(after(counts[:-30]), counts, 30) == ask(after(counts[:-30]), counts, 30)


@pytest.mark.parametrize(
    ("field", "value"), [("start_up_s", 0.0), ("attainment", 1.0), ("attainment", 0.0), ("ttl_s", -1.0)]
)
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        FloorSettings(**{"sizing": settings().sizing, "start_up_s": 60.0, field: value})


@pytest.mark.parametrize(("busy", "chosen"), [(0.5, 1), (100.0, 0)], ids=["a small pool", "a large one"])
def test_many_fewer_late_are_worth_a_tenth_more_in_a_small_pool_only(busy: float, chosen: int) -> None:
    """Two ways that both hold 99 %: one at 0.9 % late, one a tenth dearer at 0.05 %."""
    each, bins = ways(settings().sizing, 120.0, 60, 3, 1), 1e6
    requests = busy * bins * each.bin_s / each.request_s
    late, paid_s = np.full(len(each.guides), requests), np.full(len(each.guides), 1e9)
    late[:2], paid_s[:2] = (0.009 * requests, 0.0005 * requests), (1.0e8, 1.1e8)
    tried = replace(untried(each), requests=requests, bins=bins, late=late, paid_s=paid_s)
    assert best(tried, each, 0.01, int(bins)) == chosen
