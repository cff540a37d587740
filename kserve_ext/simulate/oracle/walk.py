"""A path of replicas walked without a break: what a clairvoyant policy attains when queues cross from epoch to epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.engine import Workload
from kserve_ext.simulate.oracle.lateness import Count, count_reference, serve_all
from kserve_ext.simulate.oracle.requests import epochs
from kserve_ext.simulate.oracle.solve import Oracle, solve
from kserve_ext.simulate.oracle.table import LateTable

_ROUNDS = 20  # 2 to 4 are enough at 99 and 99.9 %


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """A path that can be taken, and what it attains and costs."""

    path: tuple[int, ...]
    late: NDArray[np.int64]  # by epoch
    attainment: float
    billed: float  # mean replicas, start-up and drain included


def walk(
    workload: Workload, path: Sequence[int], *, epoch_s: int, seed: int = 0, count: Count = count_reference
) -> Walk:
    """Serve every request with the path's replicas, dropping each one that cannot finish in time when its turn comes.

    A replica that is taken away finishes what it has been given; the one that is free first goes first.
    """
    free, late, requests = np.empty(0), [], 0
    paid_s = workload.cold_start.on_node_s * float(np.maximum(np.diff(path), 0).sum())
    for epoch, replicas in zip(epochs(workload, seed, epoch_s), path, strict=True):
        gone, kept = np.split(np.sort(free), [max(len(free) - replicas, 0)])
        free = np.append(kept, np.full(replicas - len(kept), epoch.start_s))
        paid_s += replicas * (epoch.end_s - epoch.start_s) + float(np.maximum(gone - epoch.start_s, 0.0).sum())
        missed, free = serve_all(count, epoch.arrivals_s, epoch.services_s, free, workload.slo_s)
        late.append(missed)
        requests += len(epoch.arrivals_s)
    return Walk(
        path=tuple(path), late=np.array(late), attainment=1.0 - sum(late) / requests if requests else 1.0,
        billed=paid_s / workload.arrivals.duration_s,
    )  # fmt: skip


def achieve(
    workload: Workload, table: LateTable, oracle: Oracle, *, seed: int = 0, count: Count = count_reference
) -> Walk:
    """The cheapest path found that attains what the oracle was asked for when it is walked; its attainment tells if none.

    Where a path falls short the oracle is asked for more, in proportion; when it can promise no more, the epochs with
    late requests get one replica each. With `oracle.bound` this brackets the best there is.
    """
    start_up_s = workload.cold_start.on_node_s
    asked, path = oracle.late_allowed, np.array(oracle.path)
    for _ in range(_ROUNDS):
        walked = walk(workload, path.tolist(), epoch_s=table.epoch_s, seed=seed, count=count)
        late = int(walked.late.sum())
        if late <= oracle.late_allowed:
            break
        if asked > table.hopeless:
            asked = max(asked * oracle.late_allowed // late, table.hopeless)
            path = np.array(solve(table, attainment=1.0 - asked / table.requests, start_up_s=start_up_s).path)
        else:
            path = path + (walked.late > table.late[:, -1])
            early = path[: max(1, math.ceil(start_up_s / table.epoch_s))]
            early[::-1] = np.maximum.accumulate(early[::-1])  # what no start-up could bring in time is there at time 0
    return walked
