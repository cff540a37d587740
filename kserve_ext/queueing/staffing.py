"""How many replicas hold an SLO at a steady rate when each serves one request at a time from one first-come queue.

M/G/n approximated: Erlang C says how many requests wait, Allen and Cunneen's correction of Kingman's formula how long.
Rate, service times and SLO in; attainment and replicas out. Bursts and start-up are not in it: it is for one steady rate.
Against the simulator (lognormal, constant and heavy-tailed service times, 1 to 500 rps, 99 and 99.9 %): within one replica.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kserve_ext.errors import InfeasibleError
from kserve_ext.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staffing:
    """Replicas for a rate. Raises InfeasibleError when the service times alone miss the SLO too often."""

    service_s: NDArray[np.float64]  # equally likely service times
    slo_s: float
    attainment: float = 0.99
    arrival_cv2: float = 1.0  # squared coefficient of variation between arrivals: 1 for Poisson, more when bursty
    mean_s: float = field(init=False)
    _spread: float = field(init=False)  # (ca2 + cs2) / 2
    _room_s: NDArray[np.float64] = field(init=False)  # what the SLO leaves for waiting, where it leaves anything

    def __post_init__(self) -> None:
        mean_s = float(np.mean(self.service_s))
        room_s = self.slo_s - self.service_s
        object.__setattr__(self, "mean_s", mean_s)
        object.__setattr__(self, "_spread", (self.arrival_cv2 + float(np.var(self.service_s)) / mean_s**2) / 2)
        object.__setattr__(self, "_room_s", room_s[room_s >= 0])
        if (reached := len(self._room_s) / len(self.service_s)) < self.attainment:
            raise InfeasibleError(
                f"{self.attainment:.4g} of the requests within {format_duration(self.slo_s)} cannot be had: without any "
                f"waiting only {reached:.4g} of them take no longer",
                binding="service-time",
                nearest=f"an SLO of {format_duration(float(np.quantile(self.service_s, self.attainment)))} or more",
            )

    def attained(self, rate_rps: float, replicas: int) -> float:
        """Share of requests within the SLO at a steady rate: P(wait + service <= SLO); 0 when the queue never ends."""
        load = rate_rps * self.mean_s
        return self._share(load, replicas, _erlang_b(load, replicas)) if load < replicas else 0.0

    def replicas(self, rate_rps: float) -> int:
        """Fewest replicas that hold the SLO at a steady rate."""
        load = rate_rps * self.mean_s
        if load <= 0.0:
            return 0
        blocked, replicas = 1.0, 0
        while True:
            replicas += 1
            blocked = load * blocked / (replicas + load * blocked)
            if replicas > load and self._share(load, replicas, blocked) >= self.attainment:
                return replicas

    def _share(self, load: float, replicas: int, blocked: float) -> float:
        waits = blocked / (1.0 - load / replicas * (1.0 - blocked))  # Erlang C from Erlang B
        mean_wait_s = self._spread * self.mean_s / (replicas - load)  # of those that wait
        late = waits * float(np.sum(np.exp(-self._room_s / mean_wait_s))) if mean_wait_s > 0.0 else 0.0
        return (len(self._room_s) - late) / len(self.service_s)


def _erlang_b(load: float, replicas: int) -> float:
    blocked = 1.0
    for count in range(1, replicas + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked
