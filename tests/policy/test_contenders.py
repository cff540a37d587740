"""Every policy of a comparison can be set up by its name, and runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import intent, profile, request, stage_profile

from kserve_ext.domain import Scaler
from kserve_ext.errors import InputError
from kserve_ext.policy import plan
from kserve_ext.policy.contenders import CONTENDERS, Sized, contender
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.policy.replica import build_replica
from kserve_ext.policy.simulated import planned_service
from kserve_ext.simulate.arrivals import Rates
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scalers import Context, HpaScaler, KedaScaler
from kserve_ext.simulate.service_time import Lognormal

HISTORY = Rates(rates_rps=(12.0,) * 40)
WORKLOAD = Workload(
    name="w", arrivals=Rates(rates_rps=(12.0, 14.0, 12.0)), service=Lognormal(loc_s=0.08, scale_s=0.07, shape=0.42),
    slo_s=0.72, cold_start=ColdStart(load_s=20.0), initial_replicas=4,
)  # fmt: skip
CONTEXT = Context(workload=WORKLOAD, history=HISTORY)


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_policy_runs_and_does_the_same_again(name: str) -> None:
    first, again = (simulate_fleet([WORKLOAD], [contender(name, CONTEXT)]) for _ in range(2))
    assert first == again
    assert first[0].billed >= 1.0


def test_an_unknown_policy_names_the_nearest_known_one() -> None:
    with pytest.raises(InputError) as caught:
        contender("our", CONTEXT)
    assert "did you mean ours" in caught.value.remedy


def test_ours_without_a_forecast_differs_only_in_that() -> None:
    ours, reactive = contender("ours", CONTEXT), contender("ours-reactive", CONTEXT)
    assert isinstance(ours, FlooredScaler)
    assert isinstance(reactive, FlooredScaler)
    assert (ours.floor.foresee, reactive.floor.foresee) == (True, False)
    assert ours.reactive == reactive.reactive


def test_the_net_below_the_floor_holds_the_attainment_at_the_busiest_minute() -> None:
    ours = contender("ours", CONTEXT)
    assert isinstance(ours, FlooredScaler)
    target_rps = ours.reactive.config.target
    assert 0.6 / WORKLOAD.service_time.mean_s <= target_rps < 1.0 / WORKLOAD.service_time.mean_s


@pytest.mark.parametrize("scaler", [Scaler.HPA, Scaler.KEDA_RPS, Scaler.KEDA_QUEUE])
def test_ours_is_the_scaler_that_the_plan_has(scaler: Scaler) -> None:
    measured = replace(profile(stage_profile(fixed_s=0.4, row_s=0.05)), cpu_per_request_s=0.02)
    decided = plan(request(intent(slo_s=5, low_rps=1, high_rps=40, scaler=scaler), measured))
    assert decided.horizontal is not None
    sized = Sized(plan=decided, saturated_rps=build_replica(measured).saturated_rps(decided.stages))
    service = planned_service(measured, decided)
    workload = replace(
        WORKLOAD, arrivals=Rates(rates_rps=(1.0, 40.0, 40.0)), service=service, slo_s=5, initial_replicas=1
    )
    context = replace(CONTEXT, workload=workload, history=None)
    ours = contender("ours-reactive", context, sized)
    assert isinstance(ours, FlooredScaler)
    assert isinstance(ours.reactive, HpaScaler if scaler.on_cpu else KedaScaler)
    (outcome,) = simulate_fleet([workload], [ours.reactive], seed=1)
    assert max(minute.replicas for minute in outcome.minutes) > 1
