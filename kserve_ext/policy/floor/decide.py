"""The predictive floor: what was observed in, the fewest replicas to keep ready out, with the reason.

For every whole bin the forecast and the calendar say what to be ready for until a replica started now would be; ways to
turn that into replicas are tried on what then came, and the cheapest that would have held the SLO is followed. Between
forecasts a rise, or a queue, is met at once. It can only ask for replicas. A floor that was too high loses its lead
by itself, one that was too low is watched more strictly. Silent (0) until the forecaster has seen enough. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kserve_ext.domain import Reason
from kserve_ext.policy.floor.balance import expected_late, late_shares, only
from kserve_ext.policy.floor.calendar import same_time
from kserve_ext.policy.floor.ripple import swing
from kserve_ext.policy.floor.trials import GUIDES, ask, best, judge, untried
from kserve_ext.policy.floor.types import Decision, FloorSettings, Observation, Record, ScalerState
from kserve_ext.policy.forecast import Forecast, forecast, observe
from kserve_ext.policy.forecast import start as start_forecasts

_AIM = 0.6  # of the allowance: what the trials leave out comes on top
_STRICTEST = 0.2
_KEPT_S = 86_400.0  # half-life of the record
_TRIED_S = 2 * 86_400  # of what is learned at once, the last so long is tried on
_RISE_S = 20.0
_DRAIN_S = 60.0
_LAST_BINS = 5


def start(settings: FloorSettings) -> ScalerState:
    """A floor that has seen nothing."""
    each = settings.ways
    return ScalerState(forecasts=start_forecasts(settings.forecast), ways=each, trials=untried(each))


def learn(
    state: ScalerState, start_s: float, counts: Sequence[int], step_s: float, settings: FloorSettings
) -> ScalerState:
    """The state after counts from before it was in charge: an earlier trace, or what a metrics store remembers."""
    steps = max(1, round(settings.bin_s / step_s))
    first = max(0, len(counts) - math.ceil(_TRIED_S / step_s)) // steps * steps
    state = _count(state, start_s, counts[:first], step_s, settings)
    for at in range(first, len(counts), steps):
        state = _count(state, start_s + at * step_s, counts[at : at + steps], step_s, settings)
        found = forecast(state.forecasts)
        if found is not None and (state.decided is None or found.made_s > state.decided.made_s):
            state = _try(state, found, settings)
    return replace(state, record=Record())  # it was not in charge


def step(state: ScalerState, observation: Observation, settings: FloorSettings) -> tuple[ScalerState, Decision]:
    """The next state, and the floor from `observation.now_s` on."""
    state = _see(state, observation, settings)
    found = forecast(state.forecasts)
    if found is None:
        return state, _silent(state, observation, settings)
    if state.decided is None or found.made_s > state.decided.made_s:
        state = _follow(_try(state, found, settings), settings)
    elif not state.floor:  # it has only learned so far
        state = _follow(state, settings)
    state = replace(state, raised=max(state.raised, _rise(state, observation, settings)))
    return state, _decision(state, found, observation, settings)


def _see(state: ScalerState, seen: Observation, settings: FloorSettings) -> ScalerState:
    """Learn from the counts, and from what was late."""
    if not seen.arrivals:
        return state
    requests = sum(seen.arrivals)
    late = seen.late
    if late is None:
        rate_rps = requests / (len(seen.arrivals) * seen.step_s)
        late = requests * float(late_shares(rate_rps, state.ripple, settings.sizing)[min(seen.ready, settings.most)])
    kept = 0.5 ** ((seen.now_s - seen.start_s) / _KEPT_S)
    record = state.record
    record = Record(
        requests=kept * record.requests + requests, late=kept * record.late + late, foreseen=kept * record.foreseen
    )
    recent = (*state.recent, (seen.now_s - seen.start_s, requests))
    while sum(seconds for seconds, _ in recent[1:]) >= _RISE_S:
        recent = recent[1:]
    state = replace(state, record=record, recent=recent)
    return _count(state, seen.start_s, seen.arrivals, seen.step_s, settings)


def _count(
    state: ScalerState, start_s: float, counts: Sequence[int], step_s: float, settings: FloorSettings
) -> ScalerState:
    """Add counts to what is known; once a bin is whole, judge every way by it."""
    before = state.forecasts.history.last_s if state.forecasts.history.bins else None
    forecasts = observe(state.forecasts, start_s, counts, step_s)
    state = replace(state, forecasts=forecasts, ripple=swing(state.ripple, counts, step_s, settings.bin_s))
    if before is None or state.decided is None or forecasts.history.last_s == before:
        return state
    requests = float(forecasts.history.last(1)[0])
    shares = late_shares(requests / settings.bin_s, state.ripple, settings.sizing)
    trials = judge(state.trials, state.ways, settings.sizing, requests, shares, forecasts.history.bins)
    record = replace(state.record, foreseen=state.record.foreseen + float(trials.newest[state.way]))
    return replace(state, trials=trials, record=record)


def _try(state: ScalerState, found: Forecast, settings: FloorSettings) -> ScalerState:
    """Let every way say what it wants for a new forecast."""
    history = state.forecasts.history
    last = history.last(_LAST_BINS) / settings.bin_s
    if settings.foresee:
        calendar = same_time(history, settings.forecast.shape.middle)
        late_rps, rates_rps = expected_late(found, last, calendar, state.ripple, settings.sizing)
    else:
        late_rps, rates_rps = only(last, state.ripple, settings.sizing)
    return replace(state, trials=ask(state.trials, state.ways, late_rps, rates_rps), decided=found, raised=0)


def _follow(state: ScalerState, settings: FloorSettings) -> ScalerState:
    """The way that leads now, and what it asks for."""
    allowed = settings.allowed_late * _strictness(state.record, settings)
    way = best(state.trials, state.ways, allowed, state.forecasts.history.bins)
    return replace(state, way=way, floor=int(state.trials.asked[-1, way]))


def _strictness(record: Record, settings: FloorSettings) -> float:
    """Less than the aim where more came late than the trials say."""
    grace = settings.allowed_late * record.requests * _AIM + 1.0
    return _AIM * max(_STRICTEST, min(1.0, (record.foreseen + grace) / (record.late + grace)))


def _rise(state: ScalerState, seen: Observation, settings: FloorSettings) -> int:
    """Replicas for the rate of the last seconds, as far as it is not chance, and for the queue that there will be."""
    seconds, requests = (sum(part) for part in zip(*state.recent, strict=True)) if state.recent else (0.0, 0)
    if seconds < _RISE_S:
        return 0
    rate_rps = max(0.0, requests - math.sqrt(requests)) / seconds
    late_rps = late_shares(rate_rps, state.ripple, settings.sizing) * rate_rps
    costs = np.arange(len(late_rps)) + state.ways.prices_s[state.way] * late_rps
    served_rps = seen.ready * settings.sizing.saturated_rps
    queue = seen.waiting + (rate_rps - served_rps) * settings.start_up_s if seen.waiting > served_rps else 0.0
    more = max(0.0, queue) / (_DRAIN_S * settings.sizing.saturated_rps)
    return min(settings.most, int(costs.argmin()) + math.ceil(more))


def _decision(state: ScalerState, found: Forecast, seen: Observation, settings: FloorSettings) -> Decision:
    numbers = {
        "expected_rps": found.expected / found.bin_s, "p99_rps": found.rate_rps(0.99),
        "price_s": float(state.ways.prices_s[state.way]), "held_s": float(state.ways.hold_bins[state.way] * settings.bin_s),
        "known_s": found.history_s,
    }  # fmt: skip
    text = (
        f"about {numbers['expected_rps']:.4g} rps are expected in the busiest {found.bin_s} s until a replica started now is "
        f"ready, at most {numbers['p99_rps']:.4g} with 99 %, from {found.history_s / 3600:.3g} h of traffic; of the ways tried, "
        f"the {GUIDES[state.ways.guides[state.way]]} with {numbers['price_s']:.3g} replica-seconds for a late request was "
        f"the cheapest that held the SLO"
    )
    reasons = [Reason(field="scaling.min_replicas", code="floor-forecast", text=text, numbers=numbers)]
    if state.raised > state.floor:
        rise = f"the last {_RISE_S:.0f} s ask for {state.raised} replicas already"
        reasons.append(Reason(field="scaling.min_replicas", code="floor-rise", text=rise))
    return Decision(
        replicas=max(state.floor, state.raised), expires_s=seen.now_s + settings.ttl_s, forecast=found,
        reasons=tuple(reasons),
    )  # fmt: skip


def _silent(state: ScalerState, seen: Observation, settings: FloorSettings) -> Decision:
    known_s = state.forecasts.history.bins * settings.bin_s
    needed_s = settings.forecast.needed_s
    text = f"{known_s:.0f} s of traffic are known, {needed_s:.0f} s are needed before the first forecast: no floor"
    numbers = {"known_s": float(known_s), "needed_s": needed_s}
    reason = Reason(field="scaling.min_replicas", code="floor-silent", text=text, numbers=numbers)
    return Decision(replicas=0, expires_s=seen.now_s + settings.ttl_s, forecast=None, reasons=(reason,))
