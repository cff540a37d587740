"""How many requests come late with so many replicas at such a rate: what turns a forecast into replicas.

A table by replicas and utilization, so that a plan, a queueing formula or measurements can fill it. No function is
kept: two equal tables are two equal sizings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kserve_ext.errors import InputError, Problem

Values = NDArray[np.float64]

_UTILIZATIONS = (*np.linspace(0.05, 0.7, 14).tolist(), *np.linspace(0.72, 0.98, 14).tolist(), 0.99)
_STEPS = 200  # of a utilization of 1, in the table that is looked up
# Above saturation a queue grows that is past the SLO after some seconds: shares of a minute that are late then.
_OVERLOAD = ((1.0, 0.3), (1.02, 0.6), (1.05, 0.8), (1.1, 0.9), (1.2, 0.95), (1.5, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """`late[n - 1][k]`: share late with n replicas at `utilizations[k]` of n x `saturated_rps`. The last n is the most."""

    saturated_rps: float  # that one replica can answer at all
    utilizations: tuple[float, ...]  # ascending, to 1.2 or beyond
    late: tuple[tuple[float, ...], ...]
    _fine: Values = field(init=False, repr=False, compare=False)  # the same at every whole step of utilization, flat

    def __post_init__(self) -> None:
        table = np.array(self.late, dtype=np.float64)
        fine = (
            self.saturated_rps > 0 and table.ndim == 2 and table.shape[1] == len(self.utilizations) > 1
            and bool(np.all(np.diff(self.utilizations) > 0)) and bool(np.all((table >= 0) & (table <= 1)))
            and bool(np.all(np.diff(table, axis=1) >= 0))
        )  # fmt: skip
        if not fine:
            raise InputError(
                Problem(what="not a sizing", field="sizing", found=f"{table.shape} shares, {len(self.utilizations)} utilizations",
                        allowed="one row for each replica count, one share from 0 to 1 for each utilization, neither falling")
            )  # fmt: skip
        steps = np.arange(self._columns) / _STEPS
        object.__setattr__(self, "_fine", np.concatenate([np.interp(steps, self.utilizations, row) for row in table]))

    @property
    def _columns(self) -> int:
        """Steps up to where nothing changes any more, and one beyond."""
        return math.ceil(self.utilizations[-1] * _STEPS) + 2

    @property
    def max_replicas(self) -> int:
        """The most the table knows."""
        return len(self.late)

    def late_share(self, rates_rps: Values) -> Values:
        """Row n, column i: share late with n replicas at `rates_rps[i]`, n from 0, where all are late."""
        counts, columns = np.arange(1, self.max_replicas + 1)[:, None], self._columns
        place = np.minimum(rates_rps * (_STEPS / self.saturated_rps) / counts, columns - 2)
        left = place.astype(np.intp)
        part = place - left
        left += (counts - 1) * columns
        lower = self._fine.take(left)
        left += 1
        shares = np.ones((self.max_replicas + 1, len(rates_rps)))
        shares[1:] = lower + part * (self._fine.take(left) - lower)
        return shares

    def needed(self, rate_rps: float, late: float) -> int:
        """Fewest replicas with at most that share late; the most there are where none is enough; none without traffic."""
        if rate_rps <= 0:
            return 0
        enough = np.flatnonzero(self.late_share(np.array([rate_rps]))[:, 0] <= late)
        return int(enough[0]) if len(enough) else self.max_replicas


def sizing_from(attained: Callable[[float, int], float], saturated_rps: float, max_replicas: int) -> Sizing:
    """The table of a queueing formula: `attained(rate_rps, replicas)` is the share in time at a steady rate."""
    rows = []
    for replicas in range(1, max_replicas + 1):
        shares = [1.0 - attained(used * replicas * saturated_rps, replicas) for used in _UTILIZATIONS]
        rows.append(_row(shares))
    return Sizing(saturated_rps=saturated_rps, utilizations=_grid(), late=tuple(rows))


def sizing_from_capacity(capacity_rps: float, saturated_rps: float, late: float, max_replicas: int) -> Sizing:
    """The table of a plan: each replica has that share late at its capacity, a tenth of it for each tenth of rate less."""
    at_capacity = capacity_rps / saturated_rps
    shares = [min(1.0, late * 10.0 ** (10.0 * (used / at_capacity - 1.0))) for used in _UTILIZATIONS]
    return Sizing(saturated_rps=saturated_rps, utilizations=_grid(), late=(_row(shares),) * max_replicas)


def _grid() -> tuple[float, ...]:
    return (*_UTILIZATIONS, *(used for used, _ in _OVERLOAD))


def _row(shares: list[float]) -> tuple[float, ...]:
    known = np.clip(np.array([*shares, *(share for _, share in _OVERLOAD)]), 0.0, 1.0)
    row: list[float] = np.maximum.accumulate(known).tolist()
    return tuple(row)
