"""The rehearsal of the autoscaler against the engine that serves every request, and its own laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from factories import intent, profile, request, stage_profile
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.domain import RateRange, Scaling
from kserve_ext.policy import Settings, plan
from kserve_ext.policy.load import rise
from kserve_ext.policy.rehearsal import Carried, rehearse, rehearse_all
from kserve_ext.policy.replica import build_replica, predict
from kserve_ext.policy.simulated import planned_service
from kserve_ext.simulate.arrivals import Rates
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scalers.kpa import from_plan

CARRIED = Carried(
    capacity_rps=100.0, saturated_rps=120.0, concurrency=(0.0, 1.0, 2.5, 5.0, 10.0), slo_s=0.1, start_s=6.0
)


def scaling(**changed: object) -> Scaling:
    usual = Scaling(
        min_replicas=1, max_replicas=20, metric="rps", target=100.0, target_utilization_percent=100.0,
        panic_threshold_percent=250.0, panic_window_percent=10.0, target_burst_capacity=-1, window_s=60.0,
        scale_down_delay_s=6.0, initial_scale=1,
    )  # fmt: skip
    return replace(usual, **changed)


def tried(setting: Scaling, rates_rps: np.ndarray, carried: Carried = CARRIED) -> tuple[float, float]:
    counts = np.random.default_rng(1).poisson(np.concatenate((np.full(120, rates_rps[0]), rates_rps)))
    scaler = from_plan(setting, 0)
    return rehearse(scaler, scaler.bounds, carried, rates_rps, counts)


@pytest.mark.parametrize("metric", ["concurrency", "rps"])
def test_it_shows_what_the_engine_shows_request_by_request(metric: str) -> None:
    """A rise to three replicas of a batching model: by requests in flight replicas come and go, by requests a second not."""
    measured = profile(stage_profile(fixed_s=0.04, row_s=0.005))
    wanted = intent(slo_s=0.5, low_rps=10, high_rps=240)
    decided = plan(request(wanted, measured))
    replica = build_replica(measured)
    capacity = decided.capacity_rps
    seen = [
        predict(replica, decided.stages, share * capacity, settings=Settings(), requests=2000).mean_concurrency
        for share in (0.25, 0.5, 0.75, 1.0)
    ]
    carried = Carried(
        capacity_rps=capacity, saturated_rps=replica.saturated_rps(decided.stages), concurrency=(0.0, *seen), slo_s=0.5,
        start_s=6.0,
    )  # fmt: skip
    setting = scaling(metric=metric, target=capacity if metric == "rps" else seen[-1])
    rates = rise(wanted.rate, 300)
    late, billed = tried(setting, rates, carried)
    workload = Workload(
        name="m", arrivals=Rates(rates_rps=(10.0,) * 12 + tuple(rates[::10].tolist()), step_s=10), slo_s=0.5,
        service=planned_service(measured, decided), cold_start=ColdStart(load_s=6.0),
    )  # fmt: skip
    (outcome,) = simulate_fleet([workload], [from_plan(setting, decided.concurrency_limit)], seed=3)
    after_settling = (outcome.billed * (120 + len(rates)) - 120) / len(rates)
    assert billed == pytest.approx(after_settling, rel=0.1)
    assert late == pytest.approx(1 - outcome.attainment, rel=0.4, abs=0.005)
    assert (late > 0.05) == (metric == "concurrency")


def test_within_one_replica_nothing_is_late_and_nothing_is_added() -> None:
    late, billed = tried(scaling(), rise(RateRange(low_rps=5.0, high_rps=60.0), 300))
    assert late < 0.001
    assert billed == 1.0


def test_a_load_that_no_one_adds_replicas_for_is_late() -> None:
    late, billed = tried(scaling(max_replicas=1), rise(RateRange(low_rps=5.0, high_rps=400.0), 300))
    assert late > 0.8
    assert billed == 1.0


def test_a_longer_start_makes_more_of_a_rise_late() -> None:
    rates = rise(RateRange(low_rps=10.0, high_rps=1000.0), 600)
    late = [tried(scaling(), rates, replace(CARRIED, start_s=start_s))[0] for start_s in (2.0, 30.0, 120.0)]
    assert late == sorted(late)
    assert late[0] < late[-1] / 5


def test_less_of_the_target_used_means_fewer_late_and_more_replicas() -> None:
    rates = rise(RateRange(low_rps=10.0, high_rps=1000.0), 600)
    shown = [tried(scaling(target_utilization_percent=percent), rates) for percent in (100.0, 85.0, 70.0)]
    assert [late for late, _ in shown] == sorted((late for late, _ in shown), reverse=True)
    assert [billed for _, billed in shown] == sorted(billed for _, billed in shown)


@settings(max_examples=15)
@given(st.floats(1.0, 200.0), st.floats(1.0, 20.0), st.sampled_from(("rps", "concurrency")))
def test_it_is_repeatable_and_within_its_bounds(low_rps: float, factor: float, metric: str) -> None:
    rates = rise(RateRange(low_rps=low_rps, high_rps=low_rps * factor), 60)
    setting = scaling(metric=metric, target=10.0 if metric == "concurrency" else 100.0)
    late, billed = tried(setting, rates)
    assert (late, billed) == tried(setting, rates)
    assert 0 <= late <= 1
    assert 1 <= billed <= 20


def test_the_cheapest_that_holds_comes_first_and_no_lower_utilization_is_tried_after_it() -> None:
    rates = rise(RateRange(low_rps=10.0, high_rps=1000.0), 600)
    found = rehearse_all(
        [scaling(), scaling(metric="concurrency", target=10.0)], 0, CARRIED, rates, utilizations=(100.0, 90.0, 80.0, 70.0),
        windows_s=(60.0, 30.0), seed=1,
    )  # fmt: skip
    best = found[0]
    assert best.holds
    used = {each.scaling.target_utilization_percent for each in found}
    assert min(used) == best.scaling.target_utilization_percent
    assert all(best.billed <= 1.02 * each.billed for each in found if each.holds)
    assert len(found) == 4 * len(used)


def test_where_none_holds_the_least_late_comes_first() -> None:
    found = rehearse_all(
        [scaling(max_replicas=2)], 0, CARRIED, rise(RateRange(low_rps=10.0, high_rps=900.0), 120),
        utilizations=(100.0, 70.0), windows_s=(60.0,), seed=1,
    )  # fmt: skip
    assert len(found) == 2
    assert not found[0].holds
    assert found[0].late <= found[1].late
