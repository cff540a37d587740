"""The work bound: replica-seconds that any policy has to spend, however clever, on the requests it answers in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.errors import InfeasibleError
from kserve_ext.simulate.arrivals import Times
from kserve_ext.simulate.law import ServiceLaw

_LEAST_S = 1e-6
_STEP = math.log(1.005)  # bins of half a percent
_BINS = 4608  # up to 9,500 s
_EDGES_S: Times = _LEAST_S * np.exp(_STEP * np.arange(_BINS + 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """How many requests take how long, by bins of half a percent, and what each bin adds up to."""

    counts: NDArray[np.int64]
    sums_s: NDArray[np.float64]

    @property
    def requests(self) -> int:
        return int(self.counts.sum())

    def least_s(self, requests: int) -> float:
        """Service time of the `requests` shortest ones together: exact, but for one bin, where it is a lower bound."""
        if requests <= 0:
            return 0.0
        upto = np.cumsum(self.counts)
        place = int(np.searchsorted(upto, requests))
        some = requests - int(upto[place] - self.counts[place])
        rest = int(self.counts[place]) - some
        of_bin = max(some * _EDGES_S[place], self.sums_s[place] - rest * _EDGES_S[place + 1])
        return float(self.sums_s[:place].sum() + of_bin)


class WorkCount:
    """Adds up service times as they come."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self._sums_s = np.zeros(_BINS)

    def add(self, services_s: Times) -> None:
        places = np.searchsorted(_EDGES_S[1:-1], services_s, side="right")
        self._counts += np.bincount(places, minlength=_BINS)
        self._sums_s += np.bincount(places, weights=services_s, minlength=_BINS)

    def total(self) -> Work:
        return Work(counts=self._counts, sums_s=self._sums_s)


def cheapest_request_s(law: ServiceLaw, slo_s: float) -> float:
    """Fewest replica-seconds that a batching replica spends on one request in time, at the best batch it may choose.

    With k instances busy on batches of b, a replica finishes k b requests every s(b, k), and the share P(s <= SLO) of
    them in time; no policy does better on the mean. Raises InfeasibleError if nothing finishes in time.
    """
    costs = [
        float(times_s.mean()) / (busy * batch * in_time)
        for busy in range(1, law.instances + 1)
        for batch in range(1, law.batches[-1] + 1)
        if (in_time := float(np.mean((times_s := np.array(law.levels_s(batch, busy))) <= slo_s))) > 0
    ]
    if not costs:
        least_s = min(min(law.levels_s(law.batches[0], busy)) for busy in range(1, law.instances + 1))
        raise InfeasibleError(
            f"no batch finishes within {slo_s:g} s",
            binding="service time",
            nearest=f"an SLO of at least {least_s:g} s",
        )
    return min(costs)
