"""Go's arithmetic, where Python's own would give another number or an exception."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.kpa.gofloat import ceil, clamp, floor, int32, nanoseconds, power, round_digits, whole_second
from kserve_ext.simulate.kpa.window import smoothing_coefficient

SMALLEST = -(2**31)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (2.9, 2),
        (-2.9, -2),
        (2147483647.5, 2147483647),
        (2147483648.0, SMALLEST),
        (-2147483648.9, SMALLEST),
        (-2147483649.0, SMALLEST),
        (1e300, SMALLEST),
        (math.inf, SMALLEST),
        (-math.inf, SMALLEST),
        (math.nan, SMALLEST),
    ],
)
def test_int32_of_what_does_not_fit_is_the_smallest(x: float, expected: int) -> None:
    """The right column was printed by Go 1.26 on amd64."""
    assert int32(x) == expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (324.2971875, 324.297188),
        (83.4757875, 83.475788),
        (-324.2971875, -324.297188),
        (0.0000005, 0.000001),
        (0.00000049999, 0.0),
        (1.0000025, 1.000002),  # 1.0000025 lies below the half
        (1e300, 1e300),
        (math.inf, math.inf),
    ],
)
def test_six_decimals_round_halves_away_from_zero(x: float, expected: float) -> None:
    assert round_digits(6, x) == expected


@given(st.floats(-1e9, 1e9))
def test_a_rounded_number_is_at_most_half_a_millionth_away(x: float) -> None:
    assert abs(round_digits(6, x) - x) <= 0.5e-6 + abs(x) * 1e-15


def test_what_is_no_number_stays_what_it_is() -> None:
    assert all(math.isnan(f(math.nan)) for f in (ceil, floor, lambda x: round_digits(6, x), lambda x: clamp(x, 0, 1)))
    assert [f(-math.inf) for f in (ceil, floor)] == [-math.inf, -math.inf]


def test_the_upper_limit_wins_over_a_lower_one_above_it() -> None:
    assert clamp(5, 10, 3) == 3


@given(st.floats(0.01, 0.99), st.integers(0, 4000))
def test_powers_are_right_up_to_the_last_places(x: float, exponent: int) -> None:
    assert power(x, exponent) == pytest.approx(x**exponent, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("buckets", range(1, 61))
def test_the_coefficients_follow_the_formula(buckets: int) -> None:
    assert smoothing_coefficient(buckets) == pytest.approx(max(1 - 0.0001 ** (1 / buckets), 0.2), rel=1e-14)


@pytest.mark.parametrize(("t_s", "second"), [(0, 0), (7, 7), (1.999, 1), (2.0, 2), (-0.5, -1), (-3, -3)])
def test_a_time_falls_into_its_whole_second(t_s: float, second: int) -> None:
    assert whole_second(t_s) == second


def test_a_time_is_cut_to_nanoseconds() -> None:
    assert [nanoseconds(t_s) for t_s in (3, 0.1, 1e-10)] == [3_000_000_000, 100_000_000, 0]
