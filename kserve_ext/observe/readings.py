"""Counters of pods, and what two readings of them say was served in between. Pure.

A counter that fell was restarted and counts from 0; a pod that is new was not there before and counts whole. A pod that
went away takes what it served since the last reading with it.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Key = tuple[str, str]  # namespace, service


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A service to look at: pods as (name, address), revisions by name."""

    slo_s: float
    pods: tuple[tuple[str, str], ...] = ()
    revisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A pod's counters. `buckets` are (upper bound in seconds, requests up to it), ascending; empty: not known."""

    requests: float
    buckets: tuple[tuple[float, float], ...] = ()
    waiting: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one service answered since the last reading. `late` is None where no latencies are known."""

    requests: float
    late: float | None = None
    waiting: float = 0.0


class Source(Protocol):
    """Where counts come from."""

    def sample(self, asked: Mapping[Key, Asked], now_s: float) -> Mapping[Key, Counted]:
        """What was served since the last call, for each service of which something is known.

        Raises UnreachableError where nothing at all could be read.
        """

    def history(self, key: Key, asked: Asked, now_s: float, seconds: float) -> tuple[float, tuple[int, ...]] | None:
        """Requests by minute before now: where they begin, and the counts; None where nothing is remembered."""


def increase(before: Mapping[str, Reading], after: Mapping[str, Reading], slo_s: float) -> Counted:
    """What was served between two readings of a service's pods."""
    requests, late = 0.0, 0.0
    known = any(reading.buckets for reading in after.values())
    for pod, reading in after.items():
        old = before.get(pod)
        if old is None or old.requests > reading.requests:
            old = Reading(requests=0.0, buckets=tuple((bound, 0.0) for bound, _ in reading.buckets))
        requests += reading.requests - old.requests
        late += late_of(reading.buckets, slo_s) - late_of(old.buckets, slo_s)
    waiting = sum(reading.waiting for reading in after.values())
    return Counted(requests=requests, late=max(0.0, late) if known else None, waiting=waiting)


def late_of(buckets: Sequence[tuple[float, float]], slo_s: float) -> float:
    """Requests beyond the SLO, as if evenly spread within the bucket that it falls into."""
    if not buckets:
        return 0.0
    bounds, total = [bound for bound, _ in buckets], buckets[-1][1]
    place = bisect.bisect_left(bounds, slo_s)
    if place == len(buckets):
        return 0.0
    upper, below_upper = buckets[place]
    lower, below_lower = buckets[place - 1] if place else (0.0, 0.0)
    if upper == float("inf"):
        return total - below_lower
    return total - (below_lower + (below_upper - below_lower) * (slo_s - lower) / (upper - lower))
