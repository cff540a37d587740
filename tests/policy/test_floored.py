"""A reactive scaler under the floor: never fewer than either, the same again, and learned once for every attainment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kserve_ext.policy.floor import FloorSettings, sizing_from_capacity
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.simulate.arrivals import Rates
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scalers.fixed import StaticScaler
from kserve_ext.simulate.service_time import Constant

COUNTS = np.random.default_rng(0).poisson(630 - 570 * np.cos(2 * np.pi * np.arange(600 + 30) / 1440)).tolist()
WORKLOAD = Workload(
    name="w", arrivals=Rates(rates_rps=tuple(count / 60 for count in COUNTS[-30:])), service=Constant(time_s=0.1),
    slo_s=0.5, cold_start=ColdStart(load_s=60.0), initial_replicas=3,
)  # fmt: skip
FLOORED = FlooredScaler(
    reactive=StaticScaler(replicas=3), late_above=3.0, history=tuple(COUNTS[:-30]),
    floor=FloorSettings(sizing=sizing_from_capacity(8.0, 10.0, 0.01, 40), start_up_s=60.0),
)  # fmt: skip


def test_it_never_wants_fewer_than_the_reactive_one() -> None:
    plain, ahead = (simulate_fleet([WORKLOAD], [scaler])[0] for scaler in (StaticScaler(replicas=3), FLOORED))
    assert ahead.active >= plain.active
    assert ahead.attainment >= plain.attainment


def test_what_was_learned_serves_every_attainment() -> None:
    strict = replace(FLOORED, floor=replace(FLOORED.floor, attainment=0.999))
    again = replace(strict, learned=FLOORED.learn())
    assert simulate_fleet([WORKLOAD], [strict]) == simulate_fleet([WORKLOAD], [again])


def test_without_history_only_the_reactive_one_speaks() -> None:
    alone = replace(FLOORED, history=())
    assert simulate_fleet([WORKLOAD], [alone]) == simulate_fleet([WORKLOAD], [StaticScaler(replicas=3)])
