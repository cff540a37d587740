"""The forecaster: counts in, the most requests to be expected in one bin of a coming window out, with its quantiles.

`observe` learns, `forecast` answers or stays silent. State is one frozen value of bounded size. A forecast is made
for each whole bin; models are fitted anew every `refit_bins`. Pure: same counts, same forecasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kserve_ext.policy.forecast.calibration import (
    LEAST_SCORES,
    LEVELS,
    SCORE_DAYS,
    Calibration,
    expecting,
    learn,
    quantiles,
    spread,
    uncalibrated,
)  # fmt: skip
from kserve_ext.policy.forecast.features import Shape, levels
from kserve_ext.policy.forecast.history import DAY_S, History, append, empty
from kserve_ext.policy.forecast.regression import NAMES, Model, fit, plain_errors, predict

Values = NDArray[np.float64]

_LEAST_BINS = 45  # to fit the first model
_FORGET = 0.5 ** (1 / 120)  # of each model's error: half in two hours of minutes
GROWTH = 1.25  # no forecast is further above the most ever seen: what has not been seen cannot be learned
_TRUST = 4.0  # a model weighs its error to the power -4: one that is 20 % worse counts half


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSettings:
    """What to forecast, and how much to remember."""

    bin_s: int = 60
    first: int = 1  # the window, in bins ahead
    last: int = 1
    keep_bins: int = 14 * 1440
    learn_bins: int = 7 * 1440
    refit_bins: int = 60

    @property
    def shape(self) -> Shape:
        """What the models are asked for."""
        return Shape(bin_s=self.bin_s, first=self.first, last=self.last)

    @property
    def needed_s(self) -> float:
        """Seconds of counts before the first forecast: to fit, and to learn how far off forecasts are."""
        return float(self.bin_s * (_LEAST_BINS + 2 * self.last + LEAST_SCORES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The most requests in one bin of [from_s, until_s), as known at `made_s`."""

    made_s: float
    from_s: float
    until_s: float
    bin_s: int
    expected: float
    quantiles: tuple[float, ...]  # at LEVELS, ascending
    history_s: float
    weights: tuple[tuple[str, float], ...]  # by name, how far each of the forecasts combined is believed; sum 1

    def requests(self, level: float) -> float:
        """Requests in one bin, not exceeded with probability `level`."""
        return float(np.interp(level, LEVELS, self.quantiles))

    def rate_rps(self, level: float) -> float:
        """The same as a rate."""
        return self.requests(level) / self.bin_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A forecast as made at the end of a bin, kept until its time has come."""

    level: float  # what errors of the models are measured against
    each: Values  # by model, shortest first
    weights: Values
    point: float
    spread: float
    quantiles: Values  # NaN: too few errors known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForecastState:
    """All the forecaster knows."""

    settings: ForecastSettings
    history: History
    calibration: Calibration
    model: Model | None = None
    age_bins: int = 0  # of the model
    most: float = 0.0  # requests in one bin, so far
    errors: Values  # discounted, by model
    made: tuple[Made, ...] = ()  # oldest first, at most `last`


def start(settings: ForecastSettings) -> ForecastState:
    """A forecaster that has seen nothing. Raises ValueError for a window it cannot forecast."""
    day = settings.shape.day
    if not 1 <= settings.first <= settings.last < day // 2:
        raise ValueError(f"a window of 1 <= first <= last < {day // 2} bins, not {settings.first} to {settings.last}")
    if DAY_S % settings.bin_s:
        raise ValueError(f"bins that divide a day, not {settings.bin_s} s")
    return ForecastState(
        settings=settings, history=empty(settings.bin_s, settings.keep_bins), calibration=uncalibrated(day),
        errors=np.zeros(0),
    )  # fmt: skip


def observe(state: ForecastState, start_s: float, counts: Sequence[int], step_s: float = 1.0) -> ForecastState:
    """The state after `counts` requests, one number for each `step_s` from `start_s` on.

    After a gap of a day or more it starts anew. Of a long history only the last days are forecast in retrospect, to
    learn how far off forecasts are; all of it is learned from. Raises ValueError when counts overlap what is known.
    """
    end_s = state.history.end_s
    if end_s is not None and start_s - end_s >= DAY_S:
        state = start(state.settings)
    history, grown = append(state.history, start_s, counts, step_s)
    state = replace(state, history=history)
    if not grown:
        return state
    bins, settings = history.bins, state.settings
    begin = max(bins - grown, bins - SCORE_DAYS * settings.shape.day, _LEAST_BINS + settings.last - 1)
    while begin < bins:
        state = _refit(state, begin + 1) if _due(state) else state
        end = min(bins, begin + settings.refit_bins - state.age_bins)
        state = _work_through(state, begin, end)
        begin = end
    return state


def forecast(state: ForecastState) -> Forecast | None:
    """The newest forecast; None while too little is known (see `needed_s`)."""
    if not state.made or np.isnan(state.made[-1].quantiles[0]):
        return None
    made, settings = state.made[-1], state.settings
    made_s = float(state.history.last_s)
    return Forecast(
        made_s=made_s, from_s=made_s + (settings.first - 1) * settings.bin_s,
        until_s=made_s + settings.last * settings.bin_s, bin_s=settings.bin_s, expected=made.point,
        quantiles=tuple(made.quantiles.tolist()), history_s=float(state.history.bins * settings.bin_s),
        weights=tuple(zip(NAMES, made.weights.tolist(), strict=False)),
    )  # fmt: skip


def _due(state: ForecastState) -> bool:
    return state.model is None or state.age_bins >= state.settings.refit_bins


def _refit(state: ForecastState, bins: int) -> ForecastState:
    """The state with a model of the first `bins` bins. A forecast that is new starts with the error of the plainest."""
    totals = state.history.totals[: bins + 1]
    model = fit(totals, state.settings.shape, state.settings.learn_bins)
    errors, calibration = state.errors, state.calibration
    if not len(errors):
        errors = plain_errors(totals, state.settings.shape)
        calibration = expecting(calibration, float(errors.min()))
    errors = np.append(errors, np.full(max(0, model.forecasts - len(errors)), errors[0]))
    most = float(np.diff(totals).max())
    return replace(state, model=model, age_bins=0, calibration=calibration, errors=errors, most=most)


def _work_through(state: ForecastState, begin: int, end: int) -> ForecastState:
    """Forecast at the end of each bin from `begin` to before `end`, after learning from what that bin showed."""
    assert state.model is not None
    totals, settings = state.history.totals, state.settings
    at = np.arange(begin, end)
    limits = GROWTH * np.maximum.accumulate(np.maximum(np.diff(totals[begin : end + 1]), state.most))
    each, level = np.minimum(predict(state.model, totals, at), limits[:, None]), levels(totals, at)
    calibration, errors, made = state.calibration, state.errors, state.made
    for row, newest in enumerate(range(begin, end)):
        if len(made) == settings.last:
            actual = float(np.diff(totals[newest - settings.last + settings.first : newest + 2]).max())
            oldest, made = made[0], made[1:]
            errors = _judge(errors, oldest, actual)
            calibration = learn(calibration, actual, oldest.point, oldest.spread, oldest.quantiles)
        made = (*made, _make(calibration, errors, each[row], float(level[row]), float(limits[row]), settings.last))
    return replace(
        state, calibration=calibration, errors=errors, made=made, age_bins=state.age_bins + end - begin,
        most=float(limits[-1]) / GROWTH,
    )  # fmt: skip


def _make(calibration: Calibration, errors: Values, each: Values, level: float, limit: float, ahead: int) -> Made:
    weights = (1.0 / np.maximum(errors[: len(each)], 1e-6)) ** _TRUST
    weights = weights / weights.sum()
    point = float(weights @ each)
    width = spread(calibration, point, ahead)
    found = quantiles(calibration, point, width, limit, ahead)
    return Made(level=level, each=each, weights=weights, point=point, spread=width, quantiles=found)


def _judge(errors: Values, made: Made, actual: float) -> Values:
    """Discounted mean error of each model, in roots of the level; a model that made none keeps its own."""
    seen = np.abs(made.each - actual) / np.sqrt(made.level)
    known = len(seen)
    return np.concatenate((_FORGET * errors[:known] + (1 - _FORGET) * seen, errors[known:]))
