"""The best path of replicas for a given price of a late request, by dynamic programming over epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.oracle.table import LateTable

Path = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Priced:
    """A path of replicas, one number per epoch, and what comes of it."""

    path: Path
    cost_s: float  # replica-seconds, start-up included
    late: int


class Programme:
    """Paths from 0 to the table's last column, where a replica more costs its epoch and, once, its start-up."""

    def __init__(self, table: LateTable, start_up_s: float, initial: int | None, most: int | None) -> None:
        self._late = table.late if most is None else table.late[:, : most + 1]
        epochs, columns = self._late.shape
        self._states = np.arange(columns)
        self._hold_s = table.lengths_s[:, None] * self._states
        self._start_up_s = start_up_s
        # What starts after time 0 is ready after the start-up at the earliest: until then nothing can be added.
        self._may_climb = np.arange(epochs) * table.epoch_s >= start_up_s
        self._climb_s = start_up_s * np.maximum(self._states[:, None] - self._states, 0)  # [to, from]
        self._barred_s = np.where(self._states[:, None] > self._states, np.inf, 0.0)
        self._initial = None if initial is None else min(initial, columns - 1)

    def best(self, price_s: float) -> Priced:
        """The cheapest path where a late request costs `price_s` replica-seconds."""
        values = self._hold_s + price_s * self._late  # becomes: cheapest way to be in this state, this epoch paid
        if self._initial is not None:
            values[0] += (self._climb_s if self._may_climb[0] else self._barred_s)[:, self._initial]
        for epoch in range(1, len(values)):
            values[epoch] += self._arrive_s(values[epoch - 1], bool(self._may_climb[epoch]))
        return self.price(self._trace_back(values))

    def price(self, path: Path) -> Priced:
        """What a path costs."""
        epochs = np.arange(len(path))
        return Priced(path=path, cost_s=float(self._costs_s(path).sum()), late=int(self._late[epochs, path].sum()))

    def _costs_s(self, path: Path) -> NDArray[np.float64]:
        costs_s: NDArray[np.float64] = self._hold_s[np.arange(len(path)), path] + self._start_up_s * self.climbs(path)
        return costs_s

    def climbs(self, path: Path) -> Path:
        """Replicas that are new in each epoch."""
        first = path[0] if self._initial is None else self._initial
        new: Path = np.maximum(np.diff(path, prepend=first), 0)
        return new

    def _arrive_s(self, before_s: NDArray[np.float64], may_climb: bool) -> NDArray[np.float64]:
        """Least cost to come into each state: from above for nothing, from below with start-ups. Running minima."""
        falling: NDArray[np.float64] = np.minimum.accumulate(before_s[::-1])[::-1]
        if not may_climb:
            return falling
        ramp_s = self._climb_s[:, 0]
        rising: NDArray[np.float64] = np.minimum.accumulate(before_s - ramp_s) + ramp_s
        return np.minimum(falling, rising)

    def _trace_back(self, values: NDArray[np.float64]) -> Path:
        path = np.empty(len(values), dtype=np.int64)
        path[-1] = np.argmin(values[-1])
        for epoch in range(len(values) - 1, 0, -1):
            step_s = self._climb_s if self._may_climb[epoch] else self._barred_s
            path[epoch - 1] = np.argmin(values[epoch - 1] + step_s[path[epoch]])
        return path

    def exchange(self, kept: Priced, other: Priced, allowed: int) -> Priced:
        """`kept` with spans of `other` in it, the best saving per late request first, as far as the allowance goes.

        Between spans where they differ both paths agree, so each span can be judged alone.
        """
        edges = np.flatnonzero(np.diff(kept.path != other.path, prepend=False, append=False))
        if not edges.size:
            return kept
        epochs = np.arange(len(kept.path))
        saved_s = np.zeros(len(epochs) + 1)
        extra = np.zeros(len(epochs) + 1, dtype=np.int64)
        saved_s[:-1] = self._costs_s(kept.path) - self._costs_s(other.path)
        extra[:-1] = self._late[epochs, other.path] - self._late[epochs, kept.path]
        path, late = kept.path.copy(), kept.late
        spans = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
        gains = [(float(saved_s[a : b + 1].sum()), int(extra[a:b].sum()), a, b) for a, b in spans]
        for saving_s, more, first, last in sorted(gains, key=lambda gain: (gain[1] / max(gain[0], 1e-9), gain[2])):
            if saving_s > 0 and late + more <= allowed:
                path[first:last] = other.path[first:last]
                late += more
        return self.price(path)
