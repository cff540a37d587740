"""The path with an autoscaler: what it is told, when its replicas come and go, and that without it nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.path.stages import one_by_one, stage

from kserve_ext.bench.arrivals import poisson
from kserve_ext.domain import Scaling
from kserve_ext.simulate.path import Ending, Scaled, serve_path, serve_scaled
from kserve_ext.simulate.scaler import Second, Tick
from kserve_ext.simulate.scalers import StaticScaler
from kserve_ext.simulate.scalers.kpa import from_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """Wants these numbers one after the other, then the last one; keeps what it is told."""

    wanted: tuple[int, ...]
    interval_s: float = 2.0
    told: list[Tick] = field(default_factory=list)

    def start(self, replicas: int) -> int:
        del replicas
        return 0

    def step(self, state: int, tick: Tick) -> tuple[int, int]:
        self.told.append(tick)
        return state + 1, self.wanted[min(state, len(self.wanted) - 1)]

    @property
    def seconds(self) -> tuple[Second, ...]:
        return tuple(second for tick in self.told for second in tick.seconds)


def scaled(times_s: Sequence[float], scaler: Scripted, *, seconds: int = 20, start_up_s: float = 1.5) -> Scaled:
    return serve_scaled(
        np.array(times_s, np.float64), scaler, stages=[one_by_one(1.0)], limit=1, start_up_s=start_up_s,
        duration_s=seconds,
    )  # fmt: skip


def test_a_replica_that_is_wanted_takes_requests_after_its_start_up() -> None:
    seen = scaled([1.9, 1.9, 1.9], Scripted(wanted=(2,)), start_up_s=0.5)
    assert seen.ended_s == pytest.approx([2.9, 3.5, 3.9])  # the second waits for 2.0 + 0.5


def test_a_replica_that_is_not_wanted_answers_what_it_has_and_takes_no_more() -> None:
    seen = scaled([1.5, 1.5, 2.1, 2.1], Scripted(wanted=(2, 2, 1)), start_up_s=0.0)
    assert seen.ended_s == pytest.approx([2.5, 3.0, 3.5, 4.0])
    away = scaled([4.5, 4.6, 6.1, 6.2], Scripted(wanted=(2, 2, 1)), start_up_s=0.0)
    assert away.ended_s == pytest.approx([5.5, 5.6, 7.1, 8.1])  # from 6.0 on there is one


def test_a_replica_that_is_still_starting_is_the_first_to_be_given_up() -> None:
    scaler = Scripted(wanted=(3, 1, 1))
    scaled([], scaler, start_up_s=5.0)
    assert [(tick.ready, tick.starting) for tick in scaler.told[:3]] == [(1, 0), (1, 2), (1, 0)]


def test_the_autoscaler_is_told_the_mean_concurrency_of_each_second_and_when_it_is_asked() -> None:
    scaler = Scripted(wanted=(1,))
    scaled([0.25, 0.5], scaler, seconds=4)  # one served from 0.25 to 1.25, the other waits and is served to 2.25
    assert [second.concurrency for second in scaler.seconds] == pytest.approx([1.25, 1.25, 0.25, 0.0])
    assert [second.arrivals for second in scaler.seconds] == [2, 0, 0, 0]
    assert [tick.now_s for tick in scaler.told] == [2.0, 4.0]


def test_wanted_replicas_hold_from_their_decision_to_the_next() -> None:
    seen = scaled([], Scripted(wanted=(2, 3, 1)))
    assert [seen.wanted_at(moment) for moment in (0.0, 1.9, 2.0, 3.9, 4.0, 6.0, 19.0)] == [1, 1, 2, 2, 3, 1, 1]


def test_what_is_not_answered_at_the_end_is_marked() -> None:
    seen = scaled([0.0, 0.0, 0.0], Scripted(wanted=(1,)), seconds=2)
    assert seen.endings.tolist() == [Ending.ANSWERED, Ending.ANSWERED, 0]
    assert seen.ended_s[2] == np.inf


@given(seed=st.integers(0, 10_000), replicas=st.integers(1, 4), limit=st.integers(1, 16))
def test_with_a_fixed_number_of_replicas_it_is_the_path_alone(seed: int, replicas: int, limit: int) -> None:
    times_s = poisson(40.0, 3.0, seed)
    each = stage()
    alone = serve_path(times_s, replicas, limit, stages=[each], proxied=True)
    seen = serve_scaled(
        times_s, StaticScaler(replicas=replicas), stages=[each], limit=limit, start_up_s=1.0, duration_s=15,
        replicas=replicas,
    )  # fmt: skip
    assert seen.ended_s.tolist() == alone.ended_s.tolist()
    assert seen.endings.tolist() == alone.endings.tolist()


def test_knative_brings_replicas_for_a_load_and_takes_them_away_after_it() -> None:
    scaling = Scaling(
        min_replicas=1, max_replicas=4, metric="concurrency", target=8, target_utilization_percent=70,
        panic_threshold_percent=200, panic_window_percent=10, target_burst_capacity=211, window_s=60,
        scale_down_delay_s=0, initial_scale=1,
    )  # fmt: skip
    times_s = 60.0 + poisson(100.0, 60.0, 3)
    seen = serve_scaled(
        times_s, from_plan(scaling, 16), stages=[stage(fixed_s=0.1, row_s=0.01)], limit=16, start_up_s=2.0,
        duration_s=240,
    )  # fmt: skip
    assert [seen.wanted_at(moment) for moment in (59.0, 119.0, 239.0)] == [1, 4, 1]
    assert (seen.endings == Ending.ANSWERED).all()
