"""Five forecasts of one thing: the level stays, it goes on as it went, a regression on what was recent, on days, on weeks.

Each regression is fitted on the history, weighted, relative to the level of each row, and shrunk towards "the level
stays", the more so the fewer independent rows there are. Which forecast is believed is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.policy.forecast.features import Shape, Values, levels, plain, rows, targets

_SHRINK = 0.1  # of the mean diagonal, for one independent row
_PERSISTENT = 5  # column: mean of the last five bins
NAMES = ("level", "trend", "recent", "daily", "weekly")
_PLAIN = 2  # of them need no fit
DAYS_FOR_DAILY = 2
DAYS_FOR_WEEKLY = 9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Coefficients of each forecast that the history allows, shortest first."""

    shape: Shape
    coefficients: tuple[Values, ...]

    @property
    def forecasts(self) -> int:
        """How many there are, those that need no fit included."""
        return _PLAIN + len(self.coefficients)

    @property
    def columns(self) -> int:
        """Features of the longest."""
        return len(self.coefficients[-1])


def fit(totals: NDArray[np.int64], shape: Shape, learn_bins: int) -> Model:
    """The model of the last `learn_bins` bins. Rows need a target, and with it `last` bins after them."""
    bins = len(totals) - 1
    count = 1 + (bins >= DAYS_FOR_DAILY * shape.day) + (bins >= DAYS_FOR_WEEKLY * shape.day)
    first = shape.day if count > 1 else 0  # the first day has no earlier one
    at = np.arange(max(first, bins - learn_bins), bins - shape.last)
    scale = levels(totals, at)
    x = rows(totals, at, shape, shape.blocks[count - 1]) / scale[:, None]
    y = targets(totals, at, shape) / scale
    # Errors grow with the level, faster than its root and slower than itself: weighing by it lies in between.
    weighted = x * scale[:, None]
    gram, moment = weighted.T @ x, weighted.T @ y
    shrink = _SHRINK * shape.last**1.5 / len(at)
    return Model(
        shape=shape, coefficients=tuple(_solve(gram, moment, columns, shrink) for columns in shape.blocks[:count]),
    )  # fmt: skip


def predict(model: Model, totals: NDArray[np.int64], at: NDArray[np.intp]) -> Values:
    """One row for each bin of `at`, one column for each forecast of the model; never below zero."""
    x = rows(totals, at, model.shape, model.columns)
    fitted = [x[:, : len(c)] @ c for c in model.coefficients]
    return np.maximum(np.column_stack([plain(totals, at, model.shape), *fitted]), 0.0)


def plain_errors(totals: NDArray[np.int64], shape: Shape) -> Values:
    """Mean error, in roots of the level, that each forecast without a fit would have made so far."""
    at = np.arange(_PERSISTENT, len(totals) - 1 - shape.last)
    wrong = np.abs(plain(totals, at, shape) - targets(totals, at, shape)[:, None])
    errors: Values = (wrong / np.sqrt(levels(totals, at))[:, None]).mean(axis=0)
    return errors


def _solve(gram: Values, moment: Values, columns: int, shrink: float) -> Values:
    part = gram[:columns, :columns]
    weight = shrink * float(np.trace(part)) / columns + 1e-12
    prior = np.zeros(columns)
    prior[_PERSISTENT] = 1.0
    return np.linalg.solve(part + weight * np.eye(columns), moment[:columns] + weight * prior)
