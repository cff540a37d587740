"""The predictive floor: what was observed in, the fewest replicas to keep ready out, with the reason.

The forecast's quantile of the busiest bin until a new replica could be ready → replicas by the sizing → held for the
break-even time. It can only ask for replicas, never for fewer than anyone else wants. The quantile follows what was
late: every late request beyond the allowance raises it, every one in time lets it sink, so a floor that is always too
high shrinks by itself. Silent (0) until the forecaster has seen enough. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kserve_ext.domain import Reason
from kserve_ext.policy.floor.ripple import swing
from kserve_ext.policy.floor.types import Decision, FloorSettings, Observation, Record, ScalerState
from kserve_ext.policy.forecast import Forecast, forecast, observe
from kserve_ext.policy.forecast import start as start_forecasts

_GAIN = 1.0  # logits for as many late requests as come in a mean bin
_MOST_RISE = 0.5  # of a bin, so that one outage does not decide the day
_FORGET = 0.5 ** (1 / 360)
_BUSY_DAY = 1440


def start(settings: FloorSettings) -> ScalerState:
    """A floor that has seen nothing."""
    return ScalerState(forecasts=start_forecasts(settings.forecast), logit=_logit(settings.first_level))


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
    carried = settings.sizing.carried_rps(seen.ready) * len(seen.arrivals) * seen.step_s
    late = max(0.0, requests - carried) if seen.late is None else seen.late
    record = replace(state.record, requests=state.record.requests + requests, short=state.record.short + late)
    before = state.forecasts.history.last_s
    forecasts = observe(state.forecasts, seen.start_s, seen.arrivals, seen.step_s)
    ripple = swing(state.ripple, seen.arrivals, seen.step_s, settings.bin_s)
    state = replace(state, forecasts=forecasts, ripple=ripple, record=record)
    return state if forecasts.history.last_s == before else _judge(state, settings)


def _judge(state: ScalerState, settings: FloorSettings) -> ScalerState:
    """Let the quantile follow what was late in the last bins."""
    record, history = state.record, state.forecasts.history
    mean = max(1.0, float(np.mean(history.last(_BUSY_DAY)))) if history.bins else 1.0
    allowed = (1 - settings.attainment) * record.requests
    logit = state.logit + min(_GAIN * (record.short - allowed) / mean, _MOST_RISE)
    logit = min(max(logit, _logit(settings.least_level)), _logit(settings.most_level))
    need = settings.sizing.needed(record.requests / settings.bin_s * state.ripple.factor)
    judged = Record(
        late_share=record.late_share, surplus=_FORGET * record.surplus + (1 - _FORGET) * (state.floor - need),
        need=_FORGET * record.need + (1 - _FORGET) * need,
    )  # fmt: skip
    return replace(state, logit=logit, record=judged)


def _decide(state: ScalerState, found: Forecast, seen: Observation, settings: FloorSettings) -> ScalerState:
    """The floor for a new forecast: up at once, down only when no forecast of the hold time wants more."""
    rate_rps = found.rate_rps(_level(state.logit)) * state.ripple.factor
    wanted = settings.sizing.needed(rate_rps) if rate_rps * settings.bin_s >= 1.0 else 0
    held = tuple(entry for entry in state.wanted if entry[0] > seen.now_s - settings.hold_s - settings.bin_s / 2)
    held = (*held, (seen.now_s, wanted))
    floor = max(replicas for _, replicas in held)
    if settings.max_replicas is not None:
        floor = min(floor, settings.max_replicas)
    return replace(state, wanted=held, decided=found, floor=floor)


def _decision(state: ScalerState, found: Forecast, seen: Observation, settings: FloorSettings) -> Decision:
    level = _level(state.logit)
    reasons: tuple[Reason, ...] = ()
    return Decision(
        replicas=state.floor, expires_s=seen.now_s + settings.ttl_s, level=level, forecast=found, reasons=reasons
    )  # fmt: skip


def _silent(state: ScalerState, seen: Observation, settings: FloorSettings) -> Decision:
    return Decision(
        replicas=0, expires_s=seen.now_s + settings.ttl_s, level=_level(state.logit), forecast=None, reasons=()
    )  # fmt: skip


def _logit(level: float) -> float:
    return math.log(level / (1 - level))


def _level(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
