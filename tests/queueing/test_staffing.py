"""The staffing formula: textbook values, laws, and the simulator as a referee."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kserve_ext.errors import InfeasibleError
from kserve_ext.queueing.staffing import Staffing
from kserve_ext.simulate.arrivals import Arrivals, Exact, Rates
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scalers import StaticScaler
from kserve_ext.simulate.scalers.sizing import staffing_for
from kserve_ext.simulate.service_time import Constant, Lognormal, ServiceTime

LOGNORMAL = Lognormal(loc_s=0.08, scale_s=0.07, shape=0.42)
HEAVY = Lognormal(loc_s=0.01, scale_s=0.1, shape=1.0)  # squared coefficient of variation 1.5
EVEN = Constant(time_s=0.1)


def exponential(mean_s: float) -> NDArray[np.float64]:
    levels_s: NDArray[np.float64] = -mean_s * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    return levels_s


def test_a_single_exponential_server_answers_as_the_textbook_says() -> None:
    """M/M/1: the time in system is exponential with rate mu - lambda."""
    staffing = Staffing(service_s=exponential(0.1), slo_s=0.5, attainment=0.9)
    assert staffing.attained(5.0, 1) == pytest.approx(1 - np.exp(-(10 - 5) * 0.5), abs=2e-4)


def test_more_load_than_replicas_attains_nothing_and_no_load_needs_none() -> None:
    staffing = staffing_for(LOGNORMAL, 0.72, 0.99)
    assert staffing.attained(1000.0, 10) == 0.0
    assert staffing.replicas(0.0) == 0


def test_even_service_and_even_arrivals_never_wait() -> None:
    staffing = Staffing(service_s=np.full(10, 0.1), slo_s=0.1, attainment=0.99, arrival_cv2=0.0)
    assert staffing.replicas(99.0) == 10


@pytest.mark.parametrize("slo_s", [0.05, 0.2])
def test_service_times_that_alone_miss_the_slo_are_infeasible(slo_s: float) -> None:
    with pytest.raises(InfeasibleError) as caught:
        staffing_for(LOGNORMAL, slo_s, 0.99)
    assert caught.value.binding == "service-time"
    assert "ms or more" in caught.value.nearest


@settings(max_examples=60, deadline=None)
@given(
    rates=st.tuples(st.floats(0.01, 400.0), st.floats(0.01, 400.0)),
    slos=st.tuples(st.floats(0.4, 3.0), st.floats(0.4, 3.0)),
    attainments=st.tuples(st.floats(0.5, 0.995), st.floats(0.5, 0.995)),
    cv2=st.tuples(st.floats(0.0, 8.0), st.floats(0.0, 8.0)),
)
def test_more_of_anything_never_needs_fewer_replicas(
    rates: tuple[float, float], slos: tuple[float, float], attainments: tuple[float, float], cv2: tuple[float, float]
) -> None:
    """More traffic, a tighter SLO, a higher attainment, burstier arrivals."""
    levels_s = np.sort(LOGNORMAL.draw_s(np.random.default_rng(1), 500))

    def needed(rate: float, slo_s: float, attainment: float, arrival_cv2: float) -> int:
        staffing = Staffing(service_s=levels_s, slo_s=slo_s, attainment=attainment, arrival_cv2=arrival_cv2)
        return staffing.replicas(rate)

    easy = needed(min(rates), max(slos), min(attainments), min(cv2))
    assert needed(max(rates), max(slos), min(attainments), min(cv2)) >= easy
    assert needed(min(rates), min(slos), min(attainments), min(cv2)) >= easy
    assert needed(min(rates), max(slos), max(attainments), min(cv2)) >= easy
    assert needed(min(rates), max(slos), min(attainments), max(cv2)) >= easy


def test_the_replicas_found_are_enough_and_one_less_is_not() -> None:
    staffing = staffing_for(LOGNORMAL, 0.72, 0.99)
    for rate in (0.5, 7.0, 33.0, 240.0):
        found = staffing.replicas(rate)
        assert staffing.attained(rate, found) >= 0.99 > staffing.attained(rate, found - 1)


@pytest.mark.parametrize("attainment", [0.99, 0.999])
@pytest.mark.parametrize("rate_rps", [1.0, 5.0, 20.0, 100.0])
@pytest.mark.parametrize(("service", "slo_s"), [(LOGNORMAL, 0.72), (LOGNORMAL, 0.36), (EVEN, 0.3), (HEAVY, 3.0)])
def test_the_formula_is_within_one_replica_of_the_simulator(
    service: ServiceTime, slo_s: float, rate_rps: float, attainment: float
) -> None:
    replicas = staffing_for(service, slo_s, attainment).replicas(rate_rps)
    assert simulated(service, slo_s, poisson(rate_rps), replicas + 1) >= attainment
    if replicas - 2 > rate_rps * service.mean_s:
        assert simulated(service, slo_s, poisson(rate_rps), replicas - 2) < attainment


@pytest.mark.parametrize("arrival_cv2", [0.25, 4.0])
@pytest.mark.parametrize("rate_rps", [5.0, 20.0, 100.0])
def test_it_is_within_one_replica_for_arrivals_more_even_and_more_bursty_than_poisson(
    rate_rps: float, arrival_cv2: float
) -> None:
    levels_s = staffing_for(LOGNORMAL, 0.72, 0.99).service_s
    replicas = Staffing(service_s=levels_s, slo_s=0.72, arrival_cv2=arrival_cv2).replicas(rate_rps)
    gaps_s = np.random.default_rng(5).gamma(1 / arrival_cv2, arrival_cv2 / rate_rps, 50_000)
    arrivals = Exact(times_s=tuple(np.cumsum(gaps_s).tolist()))
    assert simulated(LOGNORMAL, 0.72, arrivals, replicas + 1) >= 0.99
    if replicas - 2 > rate_rps * LOGNORMAL.mean_s:
        assert simulated(LOGNORMAL, 0.72, arrivals, replicas - 2) < 0.99


@pytest.mark.parametrize(("rate_rps", "replicas"), [(5.0, 2), (20.0, 5), (100.0, 18)])
def test_at_the_size_it_finds_its_late_share_is_right_within_a_third(rate_rps: float, replicas: int) -> None:
    predicted = 1 - staffing_for(LOGNORMAL, 0.36, 0.98).attained(rate_rps, replicas)
    late = 1 - simulated(LOGNORMAL, 0.36, poisson(rate_rps, 400_000), replicas)
    assert predicted == pytest.approx(late, rel=1 / 3)


def poisson(rate_rps: float, requests: int = 50_000) -> Rates:
    return Rates(rates_rps=(rate_rps,) * min(300, int(requests / rate_rps / 60)))


def simulated(service: ServiceTime, slo_s: float, arrivals: Arrivals, replicas: int) -> float:
    workload = Workload(
        name="steady", arrivals=arrivals, service=service, slo_s=slo_s, cold_start=ColdStart(),
        initial_replicas=replicas,
    )  # fmt: skip
    (outcome,) = simulate_fleet([workload], [StaticScaler(replicas=replicas)], seed=3)
    return outcome.attainment
