"""Laws of the predictive floor: never negative, only adds, deterministic, and more of the same pattern never breaks it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.policy.floor import FloorSettings, Observation, learn, sizing_from_capacity, start, step
from kserve_ext.policy.floor.trials import enough
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.simulate.scaler import Second, Tick
from kserve_ext.simulate.scalers.fixed import StaticScaler

SHORT = FloorSettings(sizing=sizing_from_capacity(8.0, 10.0, 0.01, 20), start_up_s=20.0, bin_s=10)
history = st.lists(st.integers(0, 2000), max_size=140)
few = settings(max_examples=25, deadline=None)


@few
@given(history=history, arrivals=st.lists(st.integers(0, 500), min_size=1, max_size=30), ready=st.integers(0, 40))
def test_a_floor_is_never_negative_never_above_what_the_sizing_knows_and_always_the_same(
    history: list[int], arrivals: list[int], ready: int
) -> None:
    state = learn(start(SHORT), 0.0, history, 10.0, SHORT)
    begin_s = 10.0 * len(history)
    seen = Observation(start_s=begin_s, now_s=begin_s + len(arrivals), arrivals=tuple(arrivals), ready=ready)
    first, again = step(state, seen, SHORT)[1], step(state, seen, SHORT)[1]
    assert first == again
    assert 0 <= first.replicas <= SHORT.most
    assert first.forecast is not None or first.replicas == 0


@few
@given(history=history, reactive=st.integers(0, 30), arrivals=st.lists(st.integers(0, 200), min_size=10, max_size=10))
def test_a_floor_only_adds_to_what_the_reactive_scaler_wants(
    history: list[int], reactive: int, arrivals: list[int]
) -> None:
    scaler = FlooredScaler(
        reactive=StaticScaler(replicas=reactive), floor=SHORT, late_above=5.0, history=tuple(history), history_step_s=10
    )
    seconds = tuple(Second(t_s=at, arrivals=count, concurrency=1.0, busy=1.0) for at, count in enumerate(arrivals))
    tick = Tick(now_s=10.0, ready=reactive, starting=0, seconds=seconds, slots_per_replica=1.0)
    assert scaler.step(scaler.start(reactive), tick)[1] >= reactive


@settings(max_examples=8, deadline=None)
@given(level=st.integers(50, 1500), periods=st.integers(1, 3), seed=st.integers(0, 99))
def test_more_history_of_the_same_pattern_keeps_the_floor_at_what_the_pattern_needs(
    level: int, periods: int, seed: int
) -> None:
    counts = np.random.default_rng(seed).poisson(level, size=120 * periods).tolist()
    state = learn(start(SHORT), 0.0, counts, 10.0, SHORT)
    begin_s = 10.0 * len(counts)
    floor = step(state, Observation(start_s=begin_s, now_s=begin_s, arrivals=(), ready=1), SHORT)[1].replicas
    needed = SHORT.sizing.needed(level / 10.0, 0.5)
    assert min(needed, SHORT.most) <= floor <= min(SHORT.most, 2 * SHORT.sizing.needed(level / 10.0, 0.01) + 2)


shares = st.floats(0, 1)


@given(surest=shares, stricter=shares, looser=shares)
def test_what_is_good_enough_for_a_strict_allowance_is_good_enough_for_a_looser_one(
    surest: float, stricter: float, looser: float
) -> None:
    stricter, looser = sorted((stricter, looser))
    assert surest <= enough(surest, stricter) <= enough(surest, looser)
    assert looser <= enough(surest, looser)
