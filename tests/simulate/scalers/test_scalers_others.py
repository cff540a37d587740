"""A fixed count and the rate known ahead, and policies by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kserve_ext.errors import InfeasibleError, InputError
from kserve_ext.simulate.arrivals import Counts, Exact, Modulated, Rates, per_second
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scalers import (
    SCALER_NAMES,
    Bounds,
    Context,
    CpuUtilization,
    HpaScaler,
    KedaScaler,
    PerfectRateScaler,
    StaticScaler,
    perfect_rate,
    scaler_named,
    static_peak,
)
from kserve_ext.simulate.scalers.sizing import staffing_for
from kserve_ext.simulate.service_time import Constant, Lognormal

LOGNORMAL = Lognormal(loc_s=0.08, scale_s=0.07, shape=0.42)
STAFFING = staffing_for(LOGNORMAL, 0.72, 0.99)
SWINGING = Rates(rates_rps=(10.0, 40.0, 80.0, 40.0, 10.0, 5.0))


def workload(arrivals: Any = SWINGING, *, slo_s: float = 0.72, start_s: float = 35.0, replicas: int = 5) -> Workload:
    return Workload(
        name="answers", arrivals=arrivals, service=LOGNORMAL, slo_s=slo_s, cold_start=ColdStart(load_s=start_s),
        initial_replicas=replicas,
    )  # fmt: skip


def attained(replicas: int, arrivals: Any, slo_s: float = 0.72) -> float:
    (outcome,) = simulate_fleet(
        [workload(arrivals, slo_s=slo_s, replicas=replicas)], [StaticScaler(replicas=replicas)], seed=4
    )
    return outcome.attainment


# ----------------------------------------------------------------------------------------------------------------- fixed


def test_a_fixed_count_is_fixed(story: Callable[..., Any]) -> None:
    story(StaticScaler(replicas=7), 1).goes_on(50, concurrency=100.0).expect(at=10, replicas=7).expect(
        at=50, replicas=7
    )


@pytest.mark.parametrize("attainment", [0.9, 0.99, 0.999])
def test_the_static_peak_is_the_smallest_count_that_is_enough(attainment: float) -> None:
    found = static_peak(workload(), SWINGING, attainment=attainment, seed=4).replicas
    assert attained(found, SWINGING) >= attainment > attained(found - 1, SWINGING)


def test_a_burst_far_above_the_busiest_minute_is_found_from_below() -> None:
    burst = Counts(counts=(1,) * 50 + (300,) + (1,) * 50)
    found = static_peak(workload(), burst, attainment=0.99, seed=4).replicas
    assert found > STAFFING.replicas(400 / 60) + 10
    assert attained(found, burst) >= 0.99 > attained(found - 1, burst)


@pytest.mark.parametrize(("minimum", "replicas"), [(0, 0), (2, 2)])
def test_no_traffic_needs_no_more_than_the_minimum(minimum: int, replicas: int) -> None:
    quiet = Counts(counts=(0,) * 120)
    assert static_peak(workload(), quiet, attainment=0.99, bounds=Bounds(min_replicas=minimum)).replicas == replicas


def test_an_slo_below_the_service_time_has_no_fixed_count() -> None:
    with pytest.raises(InfeasibleError):
        static_peak(workload(slo_s=0.1), SWINGING, attainment=0.99)


def test_a_history_whose_own_draws_miss_the_attainment_is_said_to_be_infeasible() -> None:
    """60 requests and a law that is late for one in 200: the one late draw of this seed is already too many."""
    slo_s, few = 0.28, Exact(times_s=tuple(float(at) for at in range(60)))
    staffing_for(LOGNORMAL, slo_s, 0.99)
    assert attained(60, few, slo_s) == 59 / 60
    with pytest.raises(InfeasibleError, match="on this history"):
        static_peak(workload(slo_s=slo_s), few, attainment=0.99, seed=4)


# ------------------------------------------------------------------------------------------------------------ perfect rate


def test_it_scales_a_start_up_before_the_rate_rises_and_holds_until_it_has_fallen(story: Callable[..., Any]) -> None:
    scaler = perfect_rate([10] * 200 + [100] * 100 + [10] * 300, STAFFING, ahead_s=35.0)
    low, high = STAFFING.replicas(10.0), STAFFING.replicas(100.0)
    told = story(scaler, low, cold_start_s=35).goes_on(600)
    told.expect(at=150, replicas=low).expect(at=160, replicas=high)  # 160 + 10 + 35 = 205 > 200
    told.expect(at=290, replicas=high).expect(at=310, replicas=low)


def test_a_second_counts_with_the_busiest_seconds_around_it() -> None:
    scaler = perfect_rate(
        [0, 0, 0, 0, 50, 0, 0, 0, 0, 0], STAFFING, ahead_s=0.0, bounds=Bounds(min_replicas=0), span_s=3
    )
    busy = STAFFING.replicas(50 / 3)
    assert scaler.needed == (0, 0, busy, busy, busy, busy, busy, 0, 0, 0)


def test_it_stays_with_the_last_known_second_beyond_the_end(story: Callable[..., Any]) -> None:
    scaler = PerfectRateScaler(needed=(1, 2, 3), ahead_s=5.0)
    story(scaler, 1).goes_on(40).expect(at=10, replicas=3).expect(at=40, replicas=3)


BURSTS_OF_40_S = Modulated(rates_rps=(20.0, 150.0), stays_s=(120.0, 40.0), duration_s=900)
BURSTS_OF_5_S = Modulated(rates_rps=(20.0, 60.0), stays_s=(5.0, 5.0), duration_s=900)


@pytest.mark.parametrize(
    ("arrivals", "less"),
    [(SWINGING, True), (BURSTS_OF_40_S, True), (BURSTS_OF_5_S, False)],
    ids=["slow", "40 s", "5 s"],
)
def test_the_perfect_rate_keeps_the_slo_and_saves_where_the_rate_moves_slower_than_a_start(
    arrivals: Any, less: bool
) -> None:
    context = Context(workload=workload(arrivals, replicas=30), seed=4)
    perfect, static = (
        simulate_fleet([context.workload], [scaler_named(name, context)], seed=4)[0]
        for name in ("perfect-rate", "static-peak")
    )
    assert perfect.attainment >= 0.99
    assert (perfect.billed < static.billed) is less


# --------------------------------------------------------------------------------------------------------------- by name


def test_every_name_makes_a_scaler_that_stays_within_the_bounds(watched: Callable[..., Any]) -> None:
    bounds = Bounds(min_replicas=2, max_replicas=20)
    context = Context(workload=workload(), bounds=bounds)
    assert len(SCALER_NAMES) == 7
    for name in SCALER_NAMES:
        scaler = watched(scaler_named(name, context))
        simulate_fleet([context.workload], [scaler])
        assert {bounds.within(wanted) - wanted for _, wanted in scaler.steps} == {0}, name


def test_names_carry_their_numbers() -> None:
    context = Context(workload=workload())
    hpa, keda = scaler_named("hpa-cpu-60", context), scaler_named("keda-rps", context)
    assert isinstance(hpa, HpaScaler)
    assert hpa.metric == CpuUtilization(target_percent=60)
    assert isinstance(keda, KedaScaler)
    assert keda.metric.target == pytest.approx(0.7 / LOGNORMAL.mean_s)


def test_the_static_peak_learns_from_the_history_and_not_from_what_comes() -> None:
    context = Context(workload=workload(), history=Rates(rates_rps=(10.0,) * 3))
    learned, knowing = scaler_named("static-peak", context), scaler_named("static-peak", Context(workload=workload()))
    assert isinstance(learned, StaticScaler)
    assert isinstance(knowing, StaticScaler)
    assert learned.replicas < knowing.replicas


def test_the_perfect_rate_knows_the_arrivals_of_the_run() -> None:
    scaler = scaler_named("perfect-rate", Context(workload=workload(), seed=9))
    assert scaler == perfect_rate(per_second(SWINGING, 9).tolist(), STAFFING, ahead_s=35.0)


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InputError) as caught:
        scaler_named("hpa-cpu-90", Context(workload=workload()))
    assert "kpa-cc1" in caught.value.message
    assert caught.value.remedy == "did you mean hpa-cpu-80?"


@pytest.mark.parametrize(
    ("low", "high", "field"), [(5, 4, "max_replicas"), (0, 0, "max_replicas"), (-1, 3, "min_replicas")]
)
def test_impossible_bounds_are_named(low: int, high: int, field: str) -> None:
    with pytest.raises(InputError) as caught:
        Bounds(min_replicas=low, max_replicas=high)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_constant_service_time_can_be_sized() -> None:
    assert staffing_for(Constant(time_s=0.1), 0.3, 0.99).replicas(100.0) == 12
