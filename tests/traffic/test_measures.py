"""Each measure against loads whose truth is known: Poisson, modulated Poisson, a daily sine, ramps, planted spikes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from kserve_ext.traffic.dispersion import dispersion
from kserve_ext.traffic.measures import DAY_S, idle, level, swing, trend
from kserve_ext.traffic.seasons import noticed, seasons, shape
from kserve_ext.traffic.spikes import spikes

Counts = NDArray[np.int64]
DAY = 1440  # minutes


def poisson(rates: float | NDArray[np.float64], steps: int | None = None, seed: int = 1) -> Counts:
    return np.random.default_rng(seed).poisson(rates, steps).astype(np.int64)


def daily(mean: float, swing_share: float, days: int) -> NDArray[np.float64]:
    """Expected counts of a minute that swing as a sine once a day."""
    return mean * (1 + swing_share * np.sin(2 * np.pi * np.arange(days * DAY) / DAY))


def modulated(rates_rps: tuple[float, float], stays_s: tuple[float, float], seconds: int, seed: int) -> Counts:
    """Counts of seconds of a two-state Markov-modulated Poisson source."""
    rng = np.random.default_rng(seed)
    stays = rng.exponential(np.resize(stays_s, 4 * int(seconds / sum(stays_s))))
    ends, means = np.cumsum(stays), np.concatenate(([0.0], np.cumsum(stays * np.resize(rates_rps, len(stays)))))
    assert ends[-1] > seconds
    edges = np.interp(np.arange(seconds + 1), np.concatenate(([0.0], ends)), means)
    return rng.poisson(np.diff(edges)).astype(np.int64)


def test_the_level_is_that_of_the_rate() -> None:
    found = level(np.arange(101, dtype=np.int64) * 60, 60)
    assert (found.mean_rps, found.p50_rps, found.p95_rps, found.p99_rps, found.max_rps) == (50, 50, 95, 99, 100)


# ------------------------------------------------------------------------------------------------------- dispersion


def test_the_index_of_poisson_is_one_at_every_scale_and_lies_in_its_band_as_often_as_said() -> None:
    runs = [dispersion(poisson(4.0, 7200, seed), 1) for seed in range(40)]
    every = [scale for run in runs for scale in run]
    inside = np.mean([each.poisson_low <= each.index <= each.poisson_high for each in every])
    assert 0.92 < inside < 0.98
    for place, each in enumerate(runs[0]):
        indices = [run[place].index for run in runs]
        error = np.std(indices) / math.sqrt(len(runs))
        assert abs(np.mean(indices) - 1) < 3 * error, each.scale_s
        assert abs(np.mean([run[place].local for run in runs]) - 1) < 5 * error, each.scale_s


@pytest.mark.parametrize("scale_s", [1, 10, 60])
def test_the_index_of_a_modulated_source_is_its_formula(scale_s: int) -> None:
    high, low, stay_s, quiet_s = 20.0, 2.0, 5.0, 15.0
    leave = 1 / stay_s + 1 / quiet_s
    share = stay_s / (stay_s + quiet_s)
    mean = share * high + (1 - share) * low
    spread = 2 * share * (1 - share) * (high - low) ** 2 / (mean * leave)
    truth = 1 + spread * (1 - (1 - math.exp(-leave * scale_s)) / (leave * scale_s))
    found = [
        next(each.index for each in dispersion(modulated((high, low), (stay_s, quiet_s), 40_000, seed), 1)
             if each.scale_s == scale_s)
        for seed in range(4)
    ]  # fmt: skip
    assert np.mean(found) == pytest.approx(truth, rel=0.06)


def test_a_slow_swing_raises_the_index_and_not_that_of_neighbours() -> None:
    finest = dispersion(poisson(daily(600, 0.8, 7)), 60)[0]
    assert finest.scale_s == 60
    assert finest.index == pytest.approx(1 + 600 * 0.8**2 / 2, rel=0.02)
    assert finest.local == pytest.approx(1, abs=0.05)
    assert finest.jumps < 0.02


def test_jumps_are_the_standard_deviation_of_the_rate_itself() -> None:
    rates = 500 * np.random.default_rng(3).gamma(25, 1 / 25, 20_000)  # 20 % around the mean, independent
    assert dispersion(poisson(rates), 60)[0].jumps == pytest.approx(0.2, rel=0.03)


def test_a_constant_has_no_dispersion_and_too_few_steps_have_none_to_tell() -> None:
    assert {(each.index, each.local, each.jumps) for each in dispersion(np.full(600, 7), 1)} == {(0, 0, 0)}
    assert dispersion(np.full(9, 7), 1) == ()
    assert dispersion(np.zeros(600, dtype=np.int64), 1) == ()


def test_scales_are_multiples_of_the_step_with_ten_steps_at_least() -> None:
    assert [each.scale_s for each in dispersion(np.full(100, 7), 60)] == [60, 120, 300, 600]
    assert [each.scale_s for each in dispersion(np.full(100, 7), 7)] == [7]


def test_counts_of_billions_do_not_overflow() -> None:
    found = dispersion(np.array([10**12, 0] * 50), 60)[0]
    assert found.index == pytest.approx(0.5e12 * 100 / 99)


# ---------------------------------------------------------------------------------------------------------- seasons


@pytest.mark.parametrize(("mean", "part"), [(1000.0, 0.5), (30.0, 0.5), (10.0, 0.2)])
def test_a_daily_sine_is_explained_but_for_the_noise(mean: float, part: float) -> None:
    found = {season.name: season for season in seasons(poisson(daily(mean, part, 10)), 60)}
    signal, noise = (10 * mean * part) ** 2 / 2, 10 * mean  # in counts of ten minutes
    truth = 1 - noise * (1 + 1 / 8) / (signal + noise)  # nine days are left, eight of them tell of the ninth
    assert found["day"].explained == pytest.approx(truth, abs=0.02)
    assert found["day"].scale_s == 600
    assert noticed(tuple(found.values()))[0].name == "day"


@pytest.mark.parametrize(
    "counts",
    [
        poisson(50.0, 10 * DAY),
        np.arange(10 * DAY),
        np.arange(10 * DAY) ** 2,
        np.full(10 * DAY, 7),
        np.zeros(10 * DAY, dtype=np.int64),
        poisson(np.repeat(np.random.default_rng(5).gamma(2.0, 50.0, 10 * 24), 60)),
        poisson(100 * (1 + 0.9 * np.sin(2 * np.pi * np.arange(10 * DAY) / (DAY * 0.77)))),
    ],
    ids=["noise", "a line", "a parabola", "a constant", "nothing", "bursts of an hour", "a swing of 18.5 hours"],
)
def test_what_does_not_come_back_is_no_season(counts: Counts) -> None:
    assert [season.name for season in noticed(seasons(counts, 60))] == []


def test_what_is_explained_by_chance_is_rarely_exceeded_by_noise() -> None:
    bursts = [np.random.default_rng(seed).gamma(1.0, 1800.0, 5 * 48) for seed in range(40)]  # of half an hour
    found = [seasons(poisson(rates), 1800)[0] for rates in bursts]
    assert {season.name for season in found} == {"day"}
    assert sum(season.explained > max(0.02, season.by_chance) for season in found) <= 5


def test_five_minutes_that_repeat_are_not_told_again_as_hours() -> None:
    counts = poisson(np.tile([400.0, 100.0, 100.0, 100.0, 100.0], 12 * 24 * 4))
    assert [season.name for season in noticed(seasons(counts, 60))] == ["five minutes"]


def test_a_job_of_every_hour_is_an_hour_above_all() -> None:
    rates = np.full(DAY * 4, 20.0)
    rates[::60] = 400
    assert noticed(seasons(poisson(rates), 60))[0].name == "hour"


def test_a_weekend_is_told_by_the_week_and_not_by_the_day() -> None:
    weekend = np.repeat(np.resize([1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.3], 28), DAY)
    assert [season.name for season in noticed(seasons(poisson(50 * weekend), 60))] == ["week"]


@pytest.mark.parametrize(
    ("steps", "step_s", "names"),
    [
        (3 * DAY, 60, ["day", "hour", "half hour", "quarter hour", "five minutes"]),
        (3 * DAY - 1, 60, ["hour", "half hour", "quarter hour", "five minutes"]),
        (3600, 1, ["quarter hour", "five minutes"]),
        (24 * 21, 3600, ["week", "day"]),
        (1000, 7, []),
    ],
)
def test_only_seasons_are_looked_for_that_the_trace_can_show(steps: int, step_s: int, names: list[str]) -> None:
    assert [season.name for season in seasons(poisson(9.0, steps), step_s)] == names


def test_the_course_of_a_season_starts_where_time_is_a_multiple_of_the_period() -> None:
    rates = daily(300, 0.5, 6)
    (day,) = [season for season in seasons(poisson(rates), 60) if season.name == "day"]
    late = 6 * 60
    course = shape(poisson(rates)[late:], 60, late * 60, day)
    expected = rates[:DAY].reshape(-1, day.scale_s // 60).mean(axis=1) / 60
    assert np.max(np.abs(np.array(course.middle_rps) - expected)) < 0.35
    assert np.all(np.array(course.low_rps) <= course.middle_rps)
    assert np.all(np.array(course.middle_rps) <= course.high_rps)


# ------------------------------------------------------------------------------------------------------------ trend


def test_a_trend_through_days_is_not_misled_by_day_and_night() -> None:
    growth = np.linspace(0.8, 1.2, 10 * DAY)
    found = trend(poisson(daily(100, 0.9, 10) * growth), 60)
    assert found.over_s == 9 * DAY_S
    assert found.change == pytest.approx(0.4 * 0.9, abs=3 * found.error)
    assert found.significant


def test_a_load_without_trend_shows_one_in_one_of_twenty() -> None:
    found = [trend(poisson(100.0, 8 * DAY, seed), 60) for seed in range(80)]
    assert sum(each.significant for each in found) <= 10
    assert np.mean([each.change for each in found]) == pytest.approx(0, abs=0.002)


def test_a_short_trace_is_cut_into_twelve_parts() -> None:
    found = trend(poisson(np.linspace(50, 150, 3600)), 1)
    assert (found.over_s, found.significant) == (3300, True)
    assert found.change == pytest.approx(11 / 12, rel=0.05)


@pytest.mark.parametrize("counts", [[3, 3], [0] * 50, [7] * 50])
def test_two_steps_nothing_or_a_constant_have_no_trend(counts: list[int]) -> None:
    found = trend(np.array(counts), 60)
    assert (found.change, found.error, found.significant) == (0, 0, False)


# ------------------------------------------------------------------------------------------------------------ swing


@pytest.mark.parametrize("mean", [0.05, 2.0, 300.0])
def test_the_peak_and_the_growth_of_poisson_are_chance(mean: float) -> None:
    found = [swing(poisson(mean, 5000, seed), 60, 35.0) for seed in range(40)]
    assert sum(each.peak > each.peak_by_chance for each in found) <= 6  # 1 of 20
    assert np.mean([each.rise for each in found]) <= 1.25 * found[0].rise_by_chance + 1 / mean


def test_the_growth_by_chance_of_a_fine_trace_counts_what_both_means_share() -> None:
    found = [swing(poisson(40.0, 7200, seed), 1, 20.0) for seed in range(10)]
    assert np.mean([each.rise for each in found]) == pytest.approx(found[0].rise_by_chance, rel=0.1)


def test_the_growth_of_a_ramp_is_its_slope_times_the_start_up() -> None:
    found = swing(np.arange(1000, 4600, dtype=np.int64), 1, 50.0)
    assert (found.ahead_s, found.smooth_s) == (50, 60)
    assert found.rise == pytest.approx(50 / np.arange(1000, 4600).mean())


def test_a_start_up_within_a_step_looks_a_step_ahead() -> None:
    assert swing(np.full(100, 5), 60, 35.0).ahead_s == 60
    assert swing(np.full(100, 5), 60, 61.0).ahead_s == 120


# ------------------------------------------------------------------------------------------------------------- idle


def test_idle_spells_longer_than_a_replica_is_kept_are_spared_and_their_end_is_late() -> None:
    counts = np.zeros(10_000, dtype=np.int64)
    counts[1000:1100] = 2  # after 1000 s of nothing
    counts[1150:2000] = 2  # after 50 s: still kept
    counts[6000:] = 1  # after 4000 s
    found = idle(counts, 1, start_up_s=35.0, kept_s=90.0)
    assert (found.longest_s, found.spells, found.share) == (4000, 2, pytest.approx(0.505))
    assert found.spared == pytest.approx((1000 - 90 + 4000 - 90) / 10_000)
    assert found.late == pytest.approx((2 * 35 + 35) / counts.sum())


def test_one_request_wakes_a_replica_even_where_steps_are_coarse() -> None:
    found = idle(np.array([0, 0, 0, 1, 0, 0, 0, 0]), 60, start_up_s=6.0, kept_s=90.0)
    assert (found.spells, found.late, found.longest_s) == (2, 1.0, 240)


def test_a_load_that_never_comes_is_idle_all_the_time() -> None:
    found = idle(np.zeros(100, dtype=np.int64), 60, 35.0, 90.0)
    assert (found.share, found.longest_s, found.late) == (1, 6000, 0)
    assert found.spared == pytest.approx(1 - 90 / 6000)


# ----------------------------------------------------------------------------------------------------------- spikes


@pytest.mark.parametrize(("times", "lead_s"), [(3.0, 0), (4.0, 120), (6.0, 300), (2.5, 600)])
def test_planted_spikes_are_found_with_their_size_and_lead(times: float, lead_s: int) -> None:
    rates = np.full(86_400 // 10, 200.0)
    starts = np.arange(1000, len(rates) - 1000, 1000)
    rise = np.linspace(1.0, times, lead_s // 10 + 1) if lead_s else np.array([times])
    for start in starts:
        rates[start : start + len(rise)] *= rise
        rates[start + len(rise) : start + len(rise) + 12] *= times  # stays there for two minutes
    found = spikes(poisson(rates), 10)
    assert len(found.found) == len(starts)
    assert found.per_day == pytest.approx(len(starts))
    assert found.median_size == pytest.approx(times, rel=0.1)
    first_sign_s = lead_s * max(0.1, 2 / math.sqrt(200)) / (times - 1)
    for spike, start in zip(found.found, starts, strict=True):
        assert abs(spike.start_s - start * 10 - first_sign_s) <= 0.15 * lead_s + 10
        assert 0.75 * lead_s - 10 <= spike.peak_s - start * 10 <= lead_s + 60


@pytest.mark.parametrize(
    "rates",
    [
        np.full(8640, 200.0),
        np.full(8640, 0.3),
        np.repeat([100.0, 150.0, 100.0], 2880),
        np.concatenate((np.full(2000, 100.0), np.linspace(100, 900, 1500), np.full(2000, 900.0))),
        np.where(np.isin(np.arange(5000), (800, 1700)), 3.0, 1.0) * np.geomspace(10, 2000, 5000),
    ],
    ids=["Poisson", "hardly anything", "a step of 50 %", "a rise of four hours", "spikes below the mean, and a rise"],
)
def test_what_is_no_spike_is_not_found(rates: NDArray[np.float64]) -> None:
    assert spikes(poisson(rates), 10).found == ()


def test_steps_of_an_hour_show_no_spikes() -> None:
    assert spikes(np.array([1, 1, 1, 1, 100, 1, 1, 1] * 10), 3600).found == ()
