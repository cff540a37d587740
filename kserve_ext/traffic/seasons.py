"""What comes back every week, day, hour and parts of it, and how much of the traffic it explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.traffic.measures import DAY_S, Counts, Values, coarse
from kserve_ext.traffic.types import Season

PERIODS = {"week": 7 * DAY_S, "day": DAY_S, "hour": 3600, "half hour": 1800, "quarter hour": 900, "five minutes": 300}
LEAST_PERIODS = 3  # one is lost with the swings that are slower
_STEPS = (5, 144)  # of a period: fewer show no shape, more show noise
_SHUFFLES = 200
_ROWS = 500  # more periods only make chance smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A period as the trace shows it: quantiles over all periods, `values[i]` from `i * scale_s` on."""

    scale_s: int
    low_rps: tuple[float, ...]  # 10 %
    middle_rps: tuple[float, ...]
    high_rps: tuple[float, ...]  # 90 %


def seasons(counts: Counts, step_s: int) -> tuple[Season, ...]:
    """Seasons that the trace is long and fine enough to show, longest first."""
    found = []
    for name, period_s in PERIODS.items():
        scale_s = _scale_s(period_s, step_s)
        periods = len(counts) * step_s // period_s
        if scale_s is None or periods < LEAST_PERIODS:
            continue
        table = _table(_without_swing(coarse(counts, step_s, scale_s), period_s // scale_s), period_s // scale_s)
        found.append(Season(
            name=name, period_s=period_s, scale_s=scale_s, periods=periods, explained=max(0.0, _explained(table)),
            by_chance=max(0.0, _by_chance(table[:_ROWS])),
        ))  # fmt: skip
    return tuple(found)


def noticed(found: tuple[Season, ...]) -> tuple[Season, ...]:
    """Those beyond chance, strongest first; not an hour that only repeats its quarters."""
    real = [season for season in found if season.explained > max(0.02, season.by_chance)]
    new = [one for one in real if not any(_within(other, one) for other in real)]
    return tuple(sorted(new, key=lambda season: -season.explained))


def shape(counts: Counts, step_s: int, start_s: int, season: Season) -> Shape:
    """The season's course, from where `t_s` is a multiple of the period."""
    first = -start_s % season.period_s // step_s
    values = coarse(counts[first:], step_s, season.scale_s) / season.scale_s
    low, middle, high = np.quantile(_table(values, season.period_s // season.scale_s), (0.1, 0.5, 0.9), axis=0)
    return Shape(
        scale_s=season.scale_s, low_rps=tuple(low.tolist()), middle_rps=tuple(middle.tolist()),
        high_rps=tuple(high.tolist()),
    )  # fmt: skip


def _within(shorter: Season, longer: Season) -> bool:
    return shorter.period_s < longer.period_s and longer.explained <= shorter.explained + 0.05


def _scale_s(period_s: int, step_s: int) -> int | None:
    """The finest step that the period is a multiple of and that shows no more than is wanted."""
    fewest, most = _STEPS
    for parts in range(min(most, period_s // step_s), fewest - 1, -1):
        if period_s % parts == 0 and period_s // parts % step_s == 0:
            return period_s // parts
    return None


def _table(values: Values, period: int) -> Values:
    whole = len(values) // period
    return values[: whole * period].reshape(whole, period)


def _without_swing(values: Values, period: int) -> Values:
    """Less the mean of the period around each value; half a period is lost at both ends. Rounding is no season."""
    weights = np.full(period + 1 - period % 2, 1.0 / period)
    if period % 2 == 0:
        weights[[0, -1]] /= 2
    smooth = np.convolve(values, weights, mode="valid")
    first = len(weights) // 2
    fast = values[first : first + len(smooth)] - smooth
    fast -= fast.mean()
    left: Values = np.where(np.abs(fast) > 1e-9 * values.max(), fast, 0.0)
    return left


def _explained(table: Values) -> float:
    """Share of the variance that each period has in common with the mean of the others: 0 or less for noise."""
    total = float(np.mean(table**2))
    others = (table.sum(axis=0) - table) / (len(table) - 1)
    return 1.0 - float(np.mean((table - others) ** 2)) / total if total > 0 else 0.0


def _by_chance(table: Values) -> float:
    """What is explained in 1 of 20 when each period begins anywhere: keeps its bursts, loses what is in step."""
    rows, period = table.shape
    rng = np.random.default_rng(rows)
    places = np.arange(period)
    shuffled = [_explained(_turned(table, rng.integers(period, size=rows), places)) for _ in range(_SHUFFLES)]
    return float(np.quantile(shuffled, 0.95))


def _turned(table: Values, by: NDArray[np.int64], places: NDArray[np.int64]) -> Values:
    turned: Values = np.take_along_axis(table, (places + by[:, None]) % table.shape[1], axis=1)
    return turned
