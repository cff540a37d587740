"""The predictive floor: silent without history, ahead of a rhythm it knows, and never a reason to remove replicas."""

from __future__ import annotations

import numpy as np
import pytest

from kserve_ext.errors import InputError
from kserve_ext.policy.floor import FloorSettings, Observation, ScalerState, learn, sizing_from_capacity, start, step
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.simulate.arrivals import Rates
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scalers.fixed import StaticScaler
from kserve_ext.simulate.service_time import Constant

HOUR = 60


def settings() -> FloorSettings:
    return FloorSettings(sizing=sizing_from_capacity(8.0, 10.0, 0.01, 40), start_up_s=120.0)


def rhythm(minutes: int, seed: int = 0) -> list[int]:
    """Counts by the minute that swing once a day between 60 and 1,200 requests."""
    phase = 2 * np.pi * np.arange(minutes) / 1440
    return np.random.default_rng(seed).poisson(630 - 570 * np.cos(phase)).tolist()


def after(counts: list[int]) -> ScalerState:
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


def test_a_floor_that_knows_the_day_rises_before_the_traffic_does() -> None:
    counts = rhythm(5 * 1440)
    known = counts[: 4 * 1440 + 6 * HOUR]
    rising = ask(after(known), counts[: len(known) + HOUR], HOUR)
    now_rps, later_rps = counts[len(known)] / 60, counts[len(known) + HOUR] / 60
    assert later_rps > 1.2 * now_rps
    assert rising[-1] > rising[0] >= now_rps / 10.0


def test_a_floor_follows_the_size_of_the_traffic() -> None:
    counts = rhythm(2 * 1440 + 12 * HOUR)  # to noon, when it is busiest
    half = [count // 2 for count in counts]
    assert max(ask(after(counts[:-HOUR]), counts, HOUR)) > max(ask(after(half[:-HOUR]), half, HOUR)) > 0


def test_the_same_observations_give_the_same_floor() -> None:
    counts = rhythm(2 * 1440)
    assert ask(after(counts[:-30]), counts, 30) == ask(after(counts[:-30]), counts, 30)


def test_a_floored_scaler_never_wants_fewer_than_the_reactive_one() -> None:
    counts = rhythm(2 * 1440)
    workload = Workload(
        name="w", arrivals=Rates(rates_rps=tuple(count / 60 for count in counts[-30:])), service=Constant(time_s=0.1),
        slo_s=0.5, cold_start=ColdStart(load_s=60.0), initial_replicas=3,
    )  # fmt: skip
    floored = FlooredScaler(
        reactive=StaticScaler(replicas=3), floor=settings(), late_above=3.0, history=tuple(counts[:-30])
    )
    plain, ahead = (simulate_fleet([workload], [scaler])[0] for scaler in (StaticScaler(replicas=3), floored))
    assert ahead.active >= plain.active
    assert ahead.attainment >= plain.attainment


@pytest.mark.parametrize(
    ("field", "value"), [("start_up_s", 0.0), ("attainment", 1.0), ("attainment", 0.0), ("ttl_s", -1.0)]
)
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        FloorSettings(**{"sizing": settings().sizing, "start_up_s": 60.0, field: value})
