"""The reference and the compiled request loop: equal outcomes, and which one answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.domain import Quantiles
from kserve_ext.errors import MissingExtraError
from kserve_ext.simulate import compiled
from kserve_ext.simulate.arrivals import Arrivals, Counts, Exact, Modulated, Rates
from kserve_ext.simulate.batch_pool import BatchService
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.compiled import serve_compiled, serve_fastest
from kserve_ext.simulate.engine import ColdStart, Fleet, Workload, simulate_fleet
from kserve_ext.simulate.law import constant_law
from kserve_ext.simulate.scaler import Scaler, Tick
from kserve_ext.simulate.scalers import (
    CpuUtilization,
    HpaScaler,
    KedaScaler,
    RequestRate,
    StaticScaler,
    kpa_cc1,
    kpa_default,
)
from kserve_ext.simulate.service_time import Constant, Lognormal, Measured, ServiceTime
from kserve_ext.simulate.slots import serve_reference

DURATION_S = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Erratic:
    """Wants these numbers in turn, whatever happens."""

    wanted: tuple[int, ...]
    interval_s: float

    def start(self, replicas: int) -> int:
        del replicas
        return 0

    def step(self, state: int, tick: Tick) -> tuple[int, int]:
        del tick
        return state + 1, self.wanted[state % len(self.wanted)]


rates = st.floats(0.0, 25.0)
arrivals: st.SearchStrategy[Arrivals] = st.one_of(
    st.builds(
        lambda rates_rps, step_s: Rates(rates_rps=tuple(rates_rps)[: DURATION_S // step_s], step_s=step_s),
        st.lists(rates, min_size=15, max_size=15), st.integers(10, 70),
    ),
    st.builds(lambda counts: Counts(counts=tuple(counts)), st.lists(st.integers(0, 20), min_size=1, max_size=DURATION_S)),
    st.builds(
        lambda rates_rps: Modulated(rates_rps=rates_rps, stays_s=(9.0, 30.0), duration_s=DURATION_S),
        st.tuples(rates, rates),
    ),
    st.builds(
        lambda times_s: Exact(times_s=tuple(sorted(times_s))), st.lists(st.floats(0, DURATION_S), min_size=1, max_size=60)
    ),
)  # fmt: skip
one_at_a_time: st.SearchStrategy[ServiceTime] = st.one_of(
    st.builds(Constant, time_s=st.floats(0.0, 4.0)),
    st.builds(Lognormal, loc_s=st.floats(0.0, 0.5), scale_s=st.floats(0.01, 0.5), shape=st.floats(0.0, 1.5)),
    st.builds(
        lambda values: Measured(quantiles_s=Quantiles(probabilities=(0.0, 0.5, 1.0), values=tuple(sorted(values)))),
        st.lists(st.floats(0.001, 2.0), min_size=3, max_size=3),
    ),
)
batching = st.builds(
    lambda times_s, delay_s, limit: BatchService(
        stages=(Stage(law=constant_law(sorted(times_s)), max_batch_size=4, max_queue_delay_s=delay_s, instances=1),),
        concurrency_limit=limit,
    ),
    st.lists(st.floats(0.01, 0.5), min_size=4, max_size=4),
    st.sampled_from((None, 0.0, 0.02)), st.integers(1, 12),
)  # fmt: skip
scalers: st.SearchStrategy[Scaler[Any]] = st.one_of(
    st.sampled_from(
        [
            kpa_default(), kpa_cc1(), HpaScaler(metric=CpuUtilization(target_percent=60)),
            KedaScaler(metric=RequestRate(target_rps=4.0), cooldown_s=30.0), StaticScaler(replicas=3),
        ]
    ),
    st.builds(
        Erratic, wanted=st.lists(st.integers(0, 12), min_size=1, max_size=9).map(tuple),
        interval_s=st.integers(1, 20).map(float),
    ),
)  # fmt: skip
workloads = st.builds(
    Workload,
    name=st.just("any"), arrivals=arrivals, service=st.one_of(one_at_a_time, one_at_a_time, batching),
    slo_s=st.floats(0.05, 3.0),
    cold_start=st.builds(ColdStart, load_s=st.floats(0.0, 20.0), node_s=st.floats(0.0, 40.0)),
    initial_replicas=st.integers(0, 10), timeout_s=st.sampled_from((0.3, 2.5, 40.0, 300.0)),
)  # fmt: skip
fleets = st.builds(Fleet, warm=st.integers(0, 10), most=st.integers(1, 25))


@settings(max_examples=80)
@given(st.lists(st.tuples(workloads, scalers), min_size=1, max_size=3), fleets, st.integers(0, 99))
def test_the_compiled_loop_has_the_reference_s_outcomes_to_the_bit(
    services: list[tuple[Workload, Scaler[Any]]], fleet: Fleet, seed: int
) -> None:
    pytest.importorskip("numba")
    loads, policies = zip(*services, strict=True)
    plain = simulate_fleet(loads, policies, fleet=fleet, seed=seed, serve=serve_reference)
    fast = simulate_fleet(loads, policies, fleet=fleet, seed=seed, serve=serve_compiled())
    assert fast == plain


@given(st.lists(st.floats(0.0, 9.0), min_size=1, max_size=40), st.lists(st.floats(0.0, 99.0), max_size=60))
def test_the_compiled_heap_step_takes_the_least_and_keeps_the_rest(heap: list[float], values: list[float]) -> None:
    times = np.array(sorted(heap))
    kept = sorted(heap)
    for value in values:
        assert times[0] == kept[0]
        compiled.replace_least(times, len(times), value)
        kept = sorted([*kept[1:], value])
    assert sorted(times.tolist()) == kept


def steady() -> Workload:
    return Workload(
        name="steady", arrivals=Counts(counts=(40,) * 90), service=Lognormal(loc_s=0.08, scale_s=0.07, shape=0.42),
        slo_s=0.72, cold_start=ColdStart(load_s=10.0), initial_replicas=10,
    )  # fmt: skip


def test_with_numba_the_fastest_loop_is_machine_code_and_takes_every_request() -> None:
    numba = pytest.importorskip("numba")
    served = 0

    def counted(*arguments: Any) -> tuple[int, int, int, float]:
        nonlocal served
        after = serve_fastest()(*arguments)
        served += after[1] + after[2]
        return after

    (outcome,) = simulate_fleet([steady()], [kpa_cc1()], serve=counted)
    loop: Any = serve_fastest()
    assert isinstance(loop, numba.core.registry.CPUDispatcher)
    assert loop.nopython_signatures
    assert served == outcome.requests == 3600


def test_without_numba_the_reference_answers_and_the_compiled_loop_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(compiled, "serve_compiled", serve_compiled.__wrapped__)
    with pytest.raises(MissingExtraError, match="numba") as raised:
        compiled.serve_compiled()
    assert "kserve-ext[fast]" in raised.value.remedy
    assert serve_fastest() is serve_reference
    (outcome,) = simulate_fleet([steady()], [kpa_cc1()], serve=serve_fastest())
    assert outcome.requests == 3600
