"""What a simulated policy did: requests in time, replicas paid for, when it went wrong. Memory is flat in the requests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.arrivals import Times

# A latency's bin is the top of its bits as a float: exponent and eight binary places, so at most 0.4 % wide.
_SHIFT = 44
_LEAST = int(np.float64(2.0**-17).view(np.int64) >> _SHIFT)  # 7.6 us
_BINS = 30 * 2**8  # up to 2**13 s
MINUTE_S = 60
VIOLATED = 0.99  # a minute with fewer requests in time counts as violated


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One minute of one service."""

    t_s: int
    requests: int  # answered or dropped, begun in this minute
    in_time: int
    replicas: float  # mean ready
    billed: float  # mean paid for: ready, starting and draining


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One service under one policy."""

    requests: int
    attainment: float  # share within the SLO; a dropped or never answered request is late
    billed: float  # mean replicas paid for, start-up and drain included
    active: float  # mean ready replicas
    starts: int
    dropped: int
    p50_s: float
    p95_s: float
    p99_s: float
    worst_minute: float  # least attainment of a minute
    violation_share: float  # share of the minutes with traffic that are below 99 %
    minutes: tuple[Minute, ...]


class Book:
    """Counts a run as it goes."""

    def __init__(self, slo_s: float, duration_s: int) -> None:
        minutes = -(-duration_s // MINUTE_S)
        self._slo_s = slo_s
        self._duration_s = duration_s
        self._bins: NDArray[np.int64] = np.zeros(_BINS, dtype=np.int64)
        self._requests = np.zeros(minutes, dtype=np.int64)
        self._in_time = np.zeros(minutes, dtype=np.int64)
        self._ready = [0.0] * minutes
        self._billed = [0.0] * minutes
        self._minute = 0
        self._pending: list[Times] = []  # of this minute
        self._pending_drops = 0
        self.starts = 0
        self.dropped = 0

    def latencies(self, second: int, latencies_s: Times, dropped: int) -> None:
        """Requests begun or dropped in one second. Seconds come in order."""
        if second // MINUTE_S != self._minute:
            self._flush()
            self._minute = second // MINUTE_S
        self._pending.append(latencies_s)
        self._pending_drops += dropped

    def replicas(self, second: int, ready: float, billed: float) -> None:
        """Replica-seconds of one second."""
        self._ready[second // MINUTE_S] += ready
        self._billed[second // MINUTE_S] += billed

    def drain(self, second: int, seconds: float) -> None:
        """Replica-seconds of a replica that finishes what it serves after it was taken away."""
        self._billed[second // MINUTE_S] += seconds

    def close(self, unanswered: int) -> Outcome:
        """The outcome; requests still waiting at the end are late."""
        self._flush()
        requests = int(self._requests.sum()) + unanswered
        in_time = int(self._in_time.sum())
        with np.errstate(invalid="ignore"):
            shares = np.where(self._requests > 0, self._in_time / np.maximum(self._requests, 1), 1.0)
        busy = self._requests > 0
        return Outcome(
            requests=requests,
            attainment=in_time / requests if requests else 1.0,
            billed=math.fsum(self._billed) / self._duration_s,
            active=math.fsum(self._ready) / self._duration_s,
            starts=self.starts,
            dropped=self.dropped,
            p50_s=self._quantile(0.50),
            p95_s=self._quantile(0.95),
            p99_s=self._quantile(0.99),
            worst_minute=float(shares.min()) if busy.any() else 1.0,
            violation_share=float(np.mean(shares[busy] < VIOLATED)) if busy.any() else 0.0,
            minutes=self._minutes(),
        )

    def _minutes(self) -> tuple[Minute, ...]:
        lengths = [MINUTE_S] * len(self._ready)
        lengths[-1] = self._duration_s - MINUTE_S * (len(lengths) - 1)
        return tuple(
            Minute(
                t_s=index * MINUTE_S, requests=int(self._requests[index]), in_time=int(self._in_time[index]),
                replicas=self._ready[index] / length, billed=self._billed[index] / length,
            )
            for index, length in enumerate(lengths)
        )  # fmt: skip

    def _flush(self) -> None:
        """Count the requests of the minute."""
        latencies_s = np.concatenate((np.empty(0), *self._pending))
        self._requests[self._minute] = len(latencies_s) + self._pending_drops
        self._in_time[self._minute] = np.count_nonzero(latencies_s <= self._slo_s)
        places = (latencies_s.view(np.int64) >> _SHIFT) - _LEAST
        self._bins += np.bincount(np.clip(places, 0, _BINS - 1), minlength=_BINS)
        self.dropped += self._pending_drops
        self._pending.clear()
        self._pending_drops = 0

    def _quantile(self, share: float) -> float:
        """The middle of the bin that holds the quantile: within 0.2 %."""
        answered = int(self._bins.sum())
        if not answered:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._bins), share * answered))
        bits = (place + _LEAST << _SHIFT) + (1 << _SHIFT - 1)
        return float(np.int64(bits).view(np.float64))
