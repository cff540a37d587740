"""The predictive floor: what was observed in, the fewest replicas to keep ready out, with the reason.

The forecast's distribution of the busiest bin until a new replica could be ready → the replicas for which one more
would cost more than the late requests it saves. The price of a late request follows what was late: each one beyond the
allowance raises it, each one in time lets it sink, so a floor that is always too high shrinks by itself. It can only
ask for replicas. Silent (0) until the forecaster has seen enough. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kserve_ext.domain import Reason
from kserve_ext.policy.floor.balance import replicas_worth
from kserve_ext.policy.floor.ripple import swing
from kserve_ext.policy.floor.types import Decision, FloorSettings, Observation, Record, ScalerState
from kserve_ext.policy.forecast import Forecast, forecast, observe
from kserve_ext.policy.forecast import start as start_forecasts

_GAIN = 0.3  # of the price's logarithm, for as many late requests as come in a mean bin
_MOST_RISE = 0.5  # of a bin, so that one outage does not decide the day
_RANGE = 30.0  # the price stays within so many times the first one
_AIM = 0.8  # of the allowance
_FORGET = 0.5 ** (1 / 360)
_BUSY_DAY = 1440
HOLD = 1.0


def start(settings: FloorSettings) -> ScalerState:
    """A floor that has seen nothing."""
    return ScalerState(forecasts=start_forecasts(settings.forecast), price_s=settings.first_price_s)


def learn(
    state: ScalerState, start_s: float, counts: Sequence[int], step_s: float, settings: FloorSettings
) -> ScalerState:
    """The state after counts from before it was in charge: an earlier trace, or what a metrics store remembers."""
    forecasts = observe(state.forecasts, start_s, counts, step_s)
    return replace(state, forecasts=forecasts, ripple=swing(state.ripple, counts, step_s, settings.bin_s))


def step(state: ScalerState, observation: Observation, settings: FloorSettings) -> tuple[ScalerState, Decision]:
    """The next state, and the floor from `observation.now_s` on."""
    state = _see(state, observation, settings)
    found = forecast(state.forecasts)
    if found is None:
        return state, _silent(state, observation, settings)
    if state.decided is None or found.made_s > state.decided.made_s:
        state = _decide(state, found, observation, settings)
    return state, _decision(state, found, observation, settings)


def _see(state: ScalerState, seen: Observation, settings: FloorSettings) -> ScalerState:
    """Learn from the counts; once a bin is whole, from how the floor did in it."""
    if not seen.arrivals:
        return state
    requests = sum(seen.arrivals)
    late = seen.late
    if late is None:
        rate_rps = requests / (len(seen.arrivals) * seen.step_s)
        shares = settings.sizing.late_share(np.array([rate_rps]))
        late = requests * float(shares[min(seen.ready, settings.sizing.max_replicas), 0])
    record = replace(state.record, requests=state.record.requests + requests, late=state.record.late + late)
    before = state.forecasts.history.last_s
    forecasts = observe(state.forecasts, seen.start_s, seen.arrivals, seen.step_s)
    ripple = swing(state.ripple, seen.arrivals, seen.step_s, settings.bin_s)
    state = replace(state, forecasts=forecasts, ripple=ripple, record=record)
    return state if forecasts.history.last_s == before else _judge(state, settings)


def _judge(state: ScalerState, settings: FloorSettings) -> ScalerState:
    """Let the price follow what was late in the last bin."""
    record, history = state.record, state.forecasts.history
    mean = max(1.0, float(np.mean(history.last(_BUSY_DAY)))) if history.bins else 1.0
    change = _GAIN * (record.late - _AIM * settings.allowed_late * record.requests) / mean
    price_s = state.price_s * math.exp(min(change, _MOST_RISE))
    first = settings.first_price_s
    need = settings.sizing.needed(record.requests / settings.bin_s, settings.allowed_late)
    judged = Record(
        floor=_FORGET * record.floor + (1 - _FORGET) * state.floor, need=_FORGET * record.need + (1 - _FORGET) * need,
    )  # fmt: skip
    return replace(state, price_s=min(max(price_s, first / _RANGE), first * _RANGE), record=judged)


def _decide(state: ScalerState, found: Forecast, seen: Observation, settings: FloorSettings) -> ScalerState:
    """The floor for a new forecast: up at once, down only when no forecast of the hold time wants more."""
    wanted = replicas_worth(found, state.ripple, settings.sizing, state.price_s)
    held = tuple(entry for entry in state.wanted if entry[0] > seen.now_s - HOLD * settings.hold_s - settings.bin_s / 2)
    held = (*held, (seen.now_s, wanted))
    return replace(state, wanted=held, decided=found, floor=max(replicas for _, replicas in held))


def _decision(state: ScalerState, found: Forecast, seen: Observation, settings: FloorSettings) -> Decision:
    numbers = {
        "expected_rps": found.expected / found.bin_s, "p99_rps": found.rate_rps(0.99), "price_s": state.price_s,
        "held_s": HOLD * settings.hold_s,
    }  # fmt: skip
    text = (
        f"about {numbers['expected_rps']:.4g} rps are expected in the busiest {found.bin_s} s until a replica started now is "
        f"ready, at most {numbers['p99_rps']:.4g} with 99 %; one replica more would cost more than the late requests it saves"
    )
    reason = Reason(field="scaling.min_replicas", code="floor-forecast", text=text, numbers=numbers)
    return Decision(
        replicas=state.floor, expires_s=seen.now_s + settings.ttl_s, forecast=found, reasons=(reason,)
    )  # fmt: skip


def _silent(state: ScalerState, seen: Observation, settings: FloorSettings) -> Decision:
    known_s = state.forecasts.history.bins * settings.bin_s
    needed_s = settings.forecast.needed_s
    text = f"{known_s:.0f} s of traffic are known, {needed_s:.0f} s are needed before the first forecast: no floor"
    numbers = {"known_s": float(known_s), "needed_s": needed_s}
    reason = Reason(field="scaling.min_replicas", code="floor-silent", text=text, numbers=numbers)
    return Decision(replicas=0, expires_s=seen.now_s + settings.ttl_s, forecast=None, reasons=(reason,))
