"""Small traffic for the oracle's tests: exact arrival times in blocks of any length, and tables written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.arrivals import Block
from kserve_ext.simulate.engine import ColdStart, Workload
from kserve_ext.simulate.oracle import LateTable, Work
from kserve_ext.simulate.service_time import Constant, ServiceTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """These arrivals, in blocks that end at `ends_s`."""

    times_s: tuple[float, ...]
    ends_s: tuple[int, ...]

    @property
    def duration_s(self) -> int:
        return self.ends_s[-1]

    def blocks(self, seed: int) -> Iterator[Block]:
        del seed
        times_s = np.array(self.times_s)
        for start_s, end_s in zip((0, *self.ends_s[:-1]), self.ends_s, strict=True):
            yield Block(start_s, end_s, times_s[(times_s >= start_s) & (times_s < end_s)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """These service times, in this order, for traffic that comes in one block."""

    times_s: tuple[float, ...]

    @property
    def mean_s(self) -> float:
        return sum(self.times_s) / len(self.times_s)

    @property
    def least_s(self) -> float:
        return min(self.times_s)

    def draw_s(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        del rng
        assert count == len(self.times_s)
        return np.array(self.times_s)


def workload(
    times_s: Sequence[float],
    duration_s: int,
    *,
    service: ServiceTime | None = None,
    slo_s: float = 2.0,
    start_up_s: float = 0.0,
) -> Workload:
    """Requests that take a second each and have two, unless said otherwise."""
    return Workload(
        name="given",
        arrivals=Given(times_s=tuple(sorted(times_s)), ends_s=(duration_s,)),
        service=service or Constant(time_s=1.0),
        slo_s=slo_s,
        cold_start=ColdStart(load_s=start_up_s),
    )


def table(rows: Sequence[Sequence[int]], *, epoch_s: int = 10, requests: int | None = None) -> LateTable:
    """A table of late requests as given, of requests that take no time."""
    late = np.array(rows)
    return LateTable(
        late=late,
        lengths_s=np.full(len(late), float(epoch_s)),
        epoch_s=epoch_s,
        requests=int(late[:, 0].sum()) if requests is None else requests,
        work=Work(counts=np.zeros(1, dtype=np.int64), sums_s=np.zeros(1)),
    )


def cost_s(path: Sequence[int], epoch_s: float, start_up_s: float) -> float:
    """Replica-seconds of a path, counted one replica at a time."""
    total = 0.0
    for place, replicas in enumerate(path):
        total += replicas * epoch_s
        total += start_up_s * max(replicas - path[place - 1], 0) if place else 0.0
    return total
