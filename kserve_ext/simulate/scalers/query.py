"""What a query tells an autoscaler: one number over all replicas, from the last seconds, and the target for each.

The mean over the seconds there are, as `rate(...[1m])` gives it; zero where nothing came. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.simulate.scaler import Second

Seen = tuple[Second, ...]  # the last seconds, oldest first


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRate:
    """Requests per second."""

    target_rps: float
    window_s: int = 60

    @property
    def target(self) -> float:
        return self.target_rps

    def total(self, seen: Seen, replicas: int, slots: float) -> float:
        del replicas, slots
        return _mean(tuple(second.arrivals for second in seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyShare:
    """The share of its places that a replica has busy, added up over the replicas: 1 is one replica that is full."""

    target_share: float
    window_s: int = 60

    @property
    def target(self) -> float:
        return self.target_share

    def total(self, seen: Seen, replicas: int, slots: float) -> float:
        return min(float(replicas), _mean(tuple(second.busy for second in seen)) / slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTime:
    """The mean time in the queue, added up over the replicas. By Little's law: time in the system less `served_s`."""

    target_s: float
    served_s: float  # of a request that does not wait
    window_s: int = 60

    @property
    def target(self) -> float:
        return self.target_s

    def total(self, seen: Seen, replicas: int, slots: float) -> float:
        del slots
        arrived = sum(second.arrivals for second in seen)
        inside_s = sum(second.concurrency for second in seen) / arrived if arrived else 0.0
        return replicas * max(0.0, inside_s - self.served_s)


Query = RequestRate | BusyShare | QueueTime


def recent(seen: Seen, seconds: Sequence[Second], window_s: int) -> Seen:
    """The last `window_s` seconds, those of a new tick among them."""
    return (*seen, *seconds)[-window_s:]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
