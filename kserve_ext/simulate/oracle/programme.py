"""The cheapest path of replicas when a late request has a price, by dynamic programming over epochs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.oracle.table import LateTable

Path = NDArray[np.int64]
Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Priced:
    """A path of replicas, one number per epoch, and what comes of it."""

    path: Path
    cost_s: float  # replica-seconds, start-up included
    late: int


class Programme:
    """All paths of 0 to so many replicas. One replica more costs its epochs and, once, its start-up.

    The first epoch's replicas have no start-up, so no cheapest path adds one before the first start-up could have
    passed: to have had it from the beginning costs less. Nor does it add again within a start-up of taking away.
    """

    def __init__(self, table: LateTable, start_up_s: float) -> None:
        self._late = table.late
        epochs, columns = self._late.shape
        states = np.arange(columns)
        self._epochs = np.arange(epochs)
        self._hold_s: Seconds = table.lengths_s[:, None] * states
        self._start_up_s = start_up_s
        self._ramp_s: Seconds = start_up_s * states
        self._climb_s = start_up_s * np.maximum(states[:, None] - states, 0)  # [to, from]

    def best(self, price_s: float) -> Priced:
        """The cheapest path where a late request costs `price_s` replica-seconds."""
        values = self._hold_s + price_s * self._late  # becomes the least cost of coming to a state and paying its epoch
        falling, rising = np.empty_like(values[0]), np.empty_like(values[0])
        for epoch in range(1, len(values)):
            before_s = values[epoch - 1]
            np.minimum.accumulate(before_s[::-1], out=falling[::-1])  # from above, for nothing
            np.subtract(before_s, self._ramp_s, out=rising)
            np.minimum.accumulate(rising, out=rising)
            np.add(rising, self._ramp_s, out=rising)  # from below, with start-ups
            values[epoch] += np.minimum(falling, rising)
        return self.price(self._trace_back(values))

    def price(self, path: Path) -> Priced:
        """What a path costs."""
        return Priced(
            path=path, cost_s=float(self._costs_s(path).sum()), late=int(self._late[self._epochs, path].sum())
        )

    def climbs(self, path: Path) -> Path:
        """Replicas that are new in each epoch; those of the first are there at time 0."""
        new: Path = np.maximum(np.diff(path, prepend=path[0]), 0)
        return new

    def exchange(self, kept: Priced, other: Priced, allowed: int) -> Priced:
        """`kept` with spans of `other` in it, the best saving per late request first, as far as the allowance goes.

        Between the spans in which they differ both paths agree, so each span is judged alone.
        """
        edges = np.flatnonzero(np.diff(kept.path != other.path, prepend=False, append=False))
        saved_s = self._costs_s(kept.path) - self._costs_s(other.path)
        extra = self._late[self._epochs, other.path] - self._late[self._epochs, kept.path]
        spans = [
            (float(saved_s[first : last + 1].sum()), int(extra[first:last].sum()), first, last)
            for first, last in edges.reshape(-1, 2).tolist()
        ]
        path, late = kept.path.copy(), kept.late
        for saving_s, more, first, last in sorted(spans, key=lambda span: span[1] / max(span[0], 1e-9)):
            if saving_s > 0 and late + more <= allowed:
                path[first:last] = other.path[first:last]
                late += more
        return self.price(path)

    def _costs_s(self, path: Path) -> Seconds:
        costs_s: Seconds = self._hold_s[self._epochs, path] + self._start_up_s * self.climbs(path)
        return costs_s

    def _trace_back(self, values: Seconds) -> Path:
        state = int(values[-1].argmin())
        path = [state]
        for epoch in range(len(values) - 1, 0, -1):
            state = int((values[epoch - 1] + self._climb_s[state]).argmin())
            path.append(state)
        return np.array(path[::-1])
