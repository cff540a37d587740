"""The forecaster: silent until it knows enough, calibrated on traffic it has not seen, the same on every run."""

from __future__ import annotations

import numpy as np
import pytest

from kserve_ext.policy.forecast import ForecastSettings, ForecastState, forecast, observe, start

SETTINGS = ForecastSettings(last=5)


def daily(days: int, seed: int) -> list[int]:
    phase = 2 * np.pi * np.arange(days * 1440) / 1440
    return np.random.default_rng(seed).poisson(600 - 400 * np.cos(phase)).tolist()


def known(counts: list[int]) -> ForecastState:
    return observe(start(SETTINGS), 0.0, counts, 60.0)


def test_there_is_no_forecast_before_enough_is_known() -> None:
    assert forecast(start(SETTINGS)) is None
    assert forecast(known([100] * 10)) is None
    assert forecast(known([100] * (int(SETTINGS.needed_s) // 60 + 1))) is not None


def test_quantiles_rise_and_lie_around_what_is_expected() -> None:
    found = forecast(known(daily(2, 0)))
    assert found is not None
    assert list(found.quantiles) == sorted(found.quantiles)
    assert found.requests(0.05) <= found.expected <= found.requests(0.99)


def test_counts_given_at_once_or_one_by_one_lead_to_the_same_forecast() -> None:
    counts = daily(1, 1)
    state = known(counts[:-20])
    for minute, count in enumerate(counts[-20:], start=len(counts) - 20):
        state = observe(state, 60.0 * minute, [count], 60.0)
    at_once, one_by_one = forecast(known(counts)), forecast(state)
    assert at_once is not None
    assert one_by_one is not None
    assert at_once.quantiles == pytest.approx(one_by_one.quantiles)


def test_quantiles_cover_what_they_say_of_days_not_seen_before() -> None:
    counts, window, levels = daily(4, 2), SETTINGS.last, (0.95, 0.99)
    state, covered = known(counts[: 2 * 1440]), []
    for minute in range(2 * 1440, len(counts) - window):
        found = forecast(state)
        assert found is not None
        covered.append([max(counts[minute : minute + window]) <= found.requests(level) for level in levels])
        state = observe(state, 60.0 * minute, [counts[minute]], 60.0)
    assert np.mean(covered, axis=0) == pytest.approx(levels, abs=0.02)


def there_and_back(seed: int) -> list[int]:
    """Counts of 10 s: up in half an hour, down in the next."""
    rates = np.concatenate((np.linspace(1000, 4000, 180), np.linspace(4000, 1000, 180)))
    return np.random.default_rng(seed).poisson(rates).tolist()


def test_a_rise_that_was_learned_is_not_expected_of_a_level_that_falls() -> None:
    """Five minutes ahead: the most to come is now, give or take a tenth, although nothing but a rise was learned from."""
    counts = there_and_back(3)
    state = observe(start(ForecastSettings(bin_s=10, last=31)), 0.0, counts[:300], 10.0)
    found = forecast(state)
    assert found is not None
    assert found.expected == pytest.approx(max(counts[300:331]), rel=0.1)
    assert dict(found.weights)["trend"] > dict(found.weights)["recent"]


def test_the_first_forecasts_do_not_widen_all_that_follow() -> None:
    """In a steady rise errors are small: the .99 quantile stays within a fifth of what then comes."""
    counts = there_and_back(4)
    found = forecast(observe(start(ForecastSettings(bin_s=10, last=31)), 0.0, counts[:145], 10.0))
    assert found is not None
    assert max(counts[145:176]) <= found.requests(0.99) <= 1.2 * max(counts[145:176])


def test_counts_that_overlap_what_is_known_are_refused() -> None:
    with pytest.raises(ValueError, match=r"overlap|before|known"):
        observe(known([1] * 100), 60.0, [1], 60.0)
