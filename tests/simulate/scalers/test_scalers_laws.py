"""Laws that hold for every scaler: bounds, determinism, and more load never asks for fewer replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.domain import Scaling
from kserve_ext.simulate.arrivals import Modulated
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scaler import Scaler, Second, Tick
from kserve_ext.simulate.scalers import (
    Behavior,
    Bounds,
    CpuUtilization,
    HpaScaler,
    KedaScaler,
    RequestRate,
    from_plan,
    kpa_cc1,
    kpa_default,
)
from kserve_ext.simulate.service_time import Lognormal


def planned(bounds: Bounds) -> Scaler[Any]:
    scaling = Scaling(
        min_replicas=bounds.min_replicas, max_replicas=bounds.max_replicas or 0, metric="concurrency", target=2.0,
        target_utilization_percent=100.0, panic_threshold_percent=210.0, panic_window_percent=10.0,
        target_burst_capacity=-1, window_s=60.0, scale_down_delay_s=30.0, initial_scale=1,
    )  # fmt: skip
    return from_plan(scaling, concurrency_limit=4)


MAKERS: dict[str, Callable[[Bounds], Scaler[Any]]] = {
    "kpa-default": kpa_default,
    "kpa-cc1": kpa_cc1,
    "planned": planned,
    "hpa-cpu": lambda bounds: HpaScaler(metric=CpuUtilization(target_percent=60), bounds=bounds),
    "hpa-rps": lambda bounds: HpaScaler(metric=RequestRate(target_rps=4.0), bounds=bounds, behavior=Behavior()),
    "keda": lambda bounds: KedaScaler(metric=RequestRate(target_rps=4.0), bounds=bounds),
}
everyone = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
bounds = st.integers(0, 4).flatmap(
    lambda low: st.builds(Bounds, min_replicas=st.just(low), max_replicas=st.integers(max(1, low), 12))
)


@everyone
@settings(max_examples=12, deadline=None)
@given(bounds=bounds, burst_rps=st.floats(0.0, 60.0), replicas=st.integers(0, 15), seed=st.integers(0, 99))
def test_it_stays_within_its_bounds_and_does_the_same_again(
    make: Callable[[Bounds], Scaler[Any]], watched: Callable[..., Any], bounds: Bounds, burst_rps: float, replicas: int,
    seed: int,
) -> None:  # fmt: skip
    workload = Workload(
        name="any", arrivals=Modulated(rates_rps=(2.0, burst_rps, 0.0), stays_s=(40.0, 30.0, 60.0), duration_s=240),
        service=Lognormal(loc_s=0.08, scale_s=0.07, shape=0.42), slo_s=0.72, cold_start=ColdStart(load_s=10.0),
        initial_replicas=replicas,
    )  # fmt: skip
    first, second = watched(make(bounds)), watched(make(bounds))
    outcomes = simulate_fleet([workload], [first], seed=seed), simulate_fleet([workload], [second], seed=seed)
    assert outcomes[0] == outcomes[1]
    assert first.steps == second.steps
    held = range(bounds.min_replicas, (bounds.max_replicas or 0) + 1)
    from_zero = replicas == 0 and not isinstance(make(bounds), KedaScaler)  # the HPA is disabled there
    outside = [wanted for tick, wanted in first.steps if wanted not in held and tick.now_s >= 30]
    assert not outside or (from_zero and set(outside) == {0})


@everyone
@settings(max_examples=80, deadline=None)
@given(
    ready=st.integers(1, 30), starting=st.integers(0, 10), loads=st.tuples(st.floats(0.0, 300.0), st.floats(0.0, 300.0)),
    before=st.floats(0.0, 300.0),
)  # fmt: skip
def test_more_load_never_asks_for_fewer(
    make: Callable[[Bounds], Scaler[Any]], ready: int, starting: int, loads: tuple[float, float], before: float
) -> None:
    scaler = make(Bounds(min_replicas=0, max_replicas=None))
    state, _ = scaler.step(scaler.start(ready), loaded(scaler, 0, ready, starting, before))
    less, more = (scaler.step(state, loaded(scaler, 1, ready, starting, load))[1] for load in (min(loads), max(loads)))
    assert less <= more


def loaded(scaler: Scaler[Any], index: int, ready: int, starting: int, load: float) -> Tick:
    """One step under a load that is the same in every second."""
    length = int(scaler.interval_s)
    seconds = tuple(
        Second(t_s=index * length + t, arrivals=int(load), concurrency=load, busy=min(load, float(ready)))
        for t in range(length)
    )
    return Tick(
        now_s=float((index + 1) * length), ready=ready, starting=starting, seconds=seconds, slots_per_replica=1.0
    )
