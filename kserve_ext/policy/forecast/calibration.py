"""How far off forecasts have been, as quantiles: of their errors over the last days, kept at their nominal coverage.

An error is measured in units of the spread expected at that moment: root of the forecast (Poisson), times how far off
forecasts were lately and at this time of earlier days. Conformal: a quantile of past errors, whatever their law; its
level is corrected a little by every miss and every hit (adaptive conformal inference), so that coverage holds when the
traffic changes character.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)
_LEVELS = np.array(LEVELS)
_UNKNOWN = np.full(len(LEVELS), np.nan)
_POISSON_FLOOR = 4.0  # requests: below it the root is no measure of spread
_GAIN = 0.005  # of the level, for each miss or hit: a miss at 0.99 raises it to 0.995, a hundred hits bring it back
_EARLY = 4.0  # errors known times gain, while they are few: faster until there are 800
_LOWEST = np.maximum(_LEVELS - np.minimum(2 * (1 - _LEVELS), 0.25), 0.01)  # idle hours, all hits, must not wear it out
_HIGHEST = _LEVELS + 0.95 * (1 - _LEVELS)
_FAST, _SLOW = 0.5 ** (1 / 15), 0.5 ** (1 / 120)  # half-lives in bins
_STIFF = 0.5
_CALM = 0.3  # least spread, in roots
_DAYS, _NEAR = 7, 3  # earlier days, bins either side
# Errors of windows that overlap say little more than one. A quantile of few is too near their middle: it is moved away by
# this over the windows side by side, about as Student's law does.
_FEW = 1.5
_MIDDLE = LEVELS.index(0.5)
SCORE_DAYS = 3  # of errors whose quantiles are taken
LEAST_SCORES = 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Errors so far, newest last: `errors` in roots of the forecast, `scores` in spreads."""

    day: int  # bins
    errors: Values
    scores: Values
    fast: float = 0.0  # recent mean error
    slow: float = 0.0
    levels: Values  # what quantile of the scores to take, for each of LEVELS


def uncalibrated(day: int) -> Calibration:
    """Nothing known."""
    return Calibration(day=day, errors=np.zeros(0), scores=np.zeros(0), levels=_LEVELS)


def expecting(calibration: Calibration, error: float) -> Calibration:
    """Before the first error: forecasts are off by so many roots. A spread too small would blow up every early score."""
    return replace(calibration, fast=error, slow=error)


def spread(calibration: Calibration, forecast: float, ahead: int) -> float:
    """Requests per bin by which a forecast is usually off, for a target that is the `ahead`-th error from now."""
    known = [calibration.fast, calibration.slow]
    places = len(calibration.errors) - 1 + ahead - calibration.day * np.arange(1, _DAYS + 1)
    places = places[places >= _NEAR]
    if len(places):
        around = places[:, None] + np.arange(-_NEAR, _NEAR + 1)
        known.append(float(np.abs(calibration.errors[around]).mean()))
    return root(forecast) * float((_CALM + sum(known) / len(known)) ** _STIFF)


def root(forecast: float) -> float:
    """Poisson spread of so many requests."""
    return float(np.sqrt(forecast + _POISSON_FLOOR))


def quantiles(calibration: Calibration, forecast: float, spread_now: float, limit: float, overlap: int) -> Values:
    """Requests per bin at each of LEVELS: ascending, between zero and `limit`; NaN while too few errors are known.

    Each error is of a window that shares bins with `overlap` - 1 others.
    """
    count = len(calibration.scores)
    if count < LEAST_SCORES:
        return _UNKNOWN
    places = np.clip(np.ceil(calibration.levels * (count + 1)).astype(np.intp) - 1, 0, count - 1)
    scores = np.partition(calibration.scores, np.unique(places))[places]
    scores = scores[_MIDDLE] + (1.0 + _FEW * overlap / count) * (scores - scores[_MIDDLE])
    return np.maximum.accumulate(np.clip(forecast + spread_now * scores, 0.0, limit))


def learn(calibration: Calibration, actual: float, forecast: float, spread_then: float, shown: Values) -> Calibration:
    """The calibration after a forecast's time has come. `shown` are the quantiles given then, NaN where there were none."""
    error = (actual - forecast) / root(forecast)
    missed = (actual > shown).astype(np.float64)
    gain = max(_GAIN, _EARLY / (len(calibration.scores) + 100))
    levels = np.clip(calibration.levels + gain * (missed - (1.0 - _LEVELS)), _LOWEST, _HIGHEST)
    size = abs(error)
    return replace(
        calibration,
        errors=_push(calibration.errors, error, _DAYS * calibration.day),
        scores=_push(calibration.scores, (actual - forecast) / spread_then, SCORE_DAYS * calibration.day),
        fast=_FAST * calibration.fast + (1 - _FAST) * size,
        slow=_SLOW * calibration.slow + (1 - _SLOW) * size,
        levels=calibration.levels if np.isnan(shown).any() else levels,
    )


def _push(values: Values, value: float, most: int) -> Values:
    return np.append(values[-most + 1 :], value)
