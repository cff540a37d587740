"""Late requests by epoch and number of replicas: what the oracle knows of the traffic, once for all questions.

late[k, m] is the fewest requests of epoch k that come late with m replicas up through the epoch. It is counted in the
oracle's favour: each epoch starts with an empty queue, and arrivals in its last SLO are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.errors import InputError, Problem
from kserve_ext.simulate.engine import Workload
from kserve_ext.simulate.oracle.lateness import Count, count_reference, serve_all
from kserve_ext.simulate.oracle.requests import Epoch, epochs
from kserve_ext.simulate.oracle.work import Work, WorkCount


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LateTable:
    """One service's traffic as the oracle sees it."""

    late: NDArray[np.int64]  # by epoch and replicas 0, 1, ...; more replicas than the last column change nothing
    lengths_s: NDArray[np.float64]  # of the epochs: epoch_s, the last one may be shorter
    epoch_s: int
    requests: int  # all, counted or not
    work: Work  # of all requests whose answer is due before the end

    @property
    def duration_s(self) -> float:
        return float(self.lengths_s.sum())

    @property
    def hopeless(self) -> int:
        """Requests that no number of replicas answers in time."""
        return int(self.late[:, -1].sum())

    def late_allowed(self, attainment: float) -> int:
        """How many requests may be late at this attainment."""
        return int((1.0 - attainment) * self.requests + 1e-6)  # (1 - 0.99) x 100 is 1.0000000000000009


def late_table(
    workload: Workload, *, seed: int = 0, epoch_s: int = 60, pooled: bool = False, count: Count = count_reference
) -> LateTable:
    """Count late requests for every epoch and every number of replicas that makes a difference.

    The i-th service of a fleet simulated with `seed` has the seed `seed + 1000 i` here. `pooled` counts m replicas as
    one that is m times as fast: with the constant service time `cheapest_request_s` this bounds batching replicas.
    """
    if epoch_s <= workload.slo_s:
        raise InputError(
            Problem(
                what="an epoch has to be longer than the SLO, or no request is counted", field="epoch_s",
                found=f"{epoch_s} s", allowed=f"more than {workload.slo_s:g} s, better 20 times that",
            )
        )  # fmt: skip
    due_s = workload.arrivals.duration_s - workload.slo_s
    rows, lengths, requests, work = [], [], 0, WorkCount()
    for epoch in epochs(workload, seed, epoch_s):
        rows.append(_row(epoch, workload.slo_s, pooled, count))
        lengths.append(epoch.end_s - epoch.start_s)
        requests += len(epoch.arrivals_s)
        work.add(epoch.services_s[: np.searchsorted(epoch.arrivals_s, due_s, side="right")])
    late = np.empty((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, row in enumerate(rows):
        late[place, : len(row)], late[place, len(row) :] = row, row[-1]
    return LateTable(
        late=late, lengths_s=np.array(lengths), epoch_s=epoch_s, requests=requests, work=work.total()
    )  # fmt: skip


def _row(epoch: Epoch, slo_s: float, pooled: bool, count: Count) -> list[int]:
    """Late requests with 0, 1, ... replicas, until more replicas do not help."""
    counted = int(np.searchsorted(epoch.arrivals_s, epoch.end_s - slo_s, side="right"))
    arrivals, services = epoch.arrivals_s[:counted], epoch.services_s[:counted]
    hopeless = 0 if pooled else int(np.count_nonzero((arrivals + services) - arrivals > slo_s))
    row = [counted]
    while row[-1] > hopeless:
        replicas = len(row)
        free = np.full(1 if pooled else replicas, epoch.start_s)
        late, _ = serve_all(count, arrivals, services / replicas if pooled else services, free, slo_s)
        row.append(min(late, row[-1]))  # a replica may idle: one more is never worse
    return row
