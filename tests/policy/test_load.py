from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import RateRange
from kserve_ext.errors import InputError
from kserve_ext.policy.load import Load, course, rate_range, rise, steepest

loads = st.builds(
    Load,
    rates_rps=st.lists(st.integers(0, 10**6).map(lambda hundredths: hundredths / 100), min_size=1, max_size=60)
    .filter(any)
    .map(tuple),
    step_s=st.sampled_from((1, 10, 60, 300)),
)


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [(1.0, 1.0, 100.0), (0.999, 1.0, 100.0), (0.9, 1.0, 10.0), (0.5, 1.0, 10.0)],
)
def test_the_busy_rate_is_that_up_to_which_the_share_of_the_requests_comes(
    share: float, low: float, high: float
) -> None:
    """90 minutes at 10 rps hold 90.8 % of the requests, one at 100 rps another 10 %, 9 at 1 rps the rest."""
    load = Load(rates_rps=(10.0,) * 90 + (100.0,) + (1.0,) * 9, step_s=60)
    found = rate_range(load, share)
    assert found.high_rps == high
    assert found.low_rps == (low if share > 0.95 else found.low_rps)


def test_bursts_within_a_minute_are_left_to_the_queue() -> None:
    load = Load(rates_rps=(0.0, 120.0) * 60, step_s=1)
    assert rate_range(load) == RateRange(low_rps=60.0, high_rps=60.0)


def test_steps_that_do_not_fill_the_last_minute_count_by_themselves() -> None:
    load = Load(rates_rps=(1.0,) * 6 + (5.0,), step_s=10)
    rates, step_s = load.minutes_rps()
    assert (rates.tolist(), step_s) == ([1.0, 5.0], 60)


@given(loads, st.floats(0.5, 1.0), st.floats(0.5, 1.0))
def test_a_larger_share_never_has_a_lower_busy_rate_nor_a_higher_quiet_one(
    load: Load, one: float, other: float
) -> None:
    less, more = (rate_range(load, share) for share in sorted((one, other)))
    assert less.high_rps <= more.high_rps <= max(load.rates_rps) * (1 + 1e-9)
    assert more.low_rps <= less.low_rps
    assert less.low_rps <= less.high_rps
    assert less.high_rps > 0


@pytest.mark.parametrize(
    ("rates_rps", "step_s", "says"),
    [
        ((0.0, 0.0), 60, "no requests at all: there is nothing to plan for"),
        ((), 60, "not a load; found 0 steps of 60 s"),
        ((1.0, -1.0), 60, "not a load"),
        ((1.0, float("nan")), 60, "not a load"),
        ((1.0,), 0, "not a load; found 1 steps of 0 s"),
    ],
)
def test_what_is_no_load_is_refused(rates_rps: tuple[float, ...], step_s: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Load(rates_rps=rates_rps, step_s=step_s)


@pytest.mark.parametrize("share", [0.0, 0.49, 1.01, 99.9])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"not a share of the requests; found .*; allowed: 50% to 100%"):
        rate_range(Load(rates_rps=(1.0,), step_s=60), share)


def test_the_steepest_piece_begins_where_the_load_rises_most_and_goes_on_for_a_third_of_the_rise() -> None:
    rates = [10.0] * 50 + [10.0 + 5 * minute for minute in range(29)] + [150.0] * 60
    piece = steepest(Load(rates_rps=tuple(rates), step_s=60), 1800)
    assert piece[0] == 10.0
    assert piece.max() == 150.0
    assert len(piece) == 60 * (1 + 30 + 10)


@given(loads, st.sampled_from((60, 600, 1800)))
def test_a_load_of_any_length_has_a_steepest_piece_of_its_own_rates(load: Load, rise_s: int) -> None:
    piece = steepest(load, rise_s)
    minutes, _ = load.minutes_rps()
    assert len(piece) >= 1
    assert set(piece.tolist()) <= set(minutes.tolist())


def test_a_rise_goes_straight_from_the_quiet_to_the_busy_rate_and_stays_there() -> None:
    rates = rise(RateRange(low_rps=2.0, high_rps=20.0), 600)
    assert (rates[0], rates[599], rates[-1], len(rates)) == (2.0, 20.0, 20.0, 800)
    assert np.diff(rates[:600]) == pytest.approx(18 / 599)


def test_replicas_over_the_day_are_told_by_spans_of_four_hours_from_midnight() -> None:
    hours = [1.0] * 8 + [10.0] * 4 + [25.0] * 8 + [1.0] * 4
    day = Load(rates_rps=tuple(hours), step_s=3600)
    found = course(day, 10.0)
    assert (found.least, found.most, found.by_day) == (1, 3, True)
    assert found.parts == (1.0, 1.0, 1.0, 3.0, 3.0, 1.0)
    assert found.mean == pytest.approx((16 + 8 * 3) / 24)
    later = Load(rates_rps=(*hours[6:], *hours[:6]), step_s=3600, start_s=6 * 3600)
    assert course(later, 10.0) == found


def test_less_than_a_day_is_told_by_sixths() -> None:
    found = course(Load(rates_rps=(1.0, 2.0, 3.0), step_s=60), 1.0)
    assert (found.by_day, found.parts) == (False, (1.0, 2.0, 3.0))
