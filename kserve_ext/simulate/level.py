"""How much longer executions take in service than a law says, told from the latencies of a loaded server.

A closed loop tells an execution's time to a few percent; near capacity a queue multiplies what is missing (at 85 % one
percent of service time is six of latency). So it is read there: the factor on the service times with all
instances busy with which the simulator, given the same arrivals, shows the latencies that were seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kserve_ext.simulate.batcher import Seconds, Stage, simulate
from kserve_ext.simulate.law import ServiceLaw

PROBABILITIES = (0.25, 0.5, 0.75, 0.9)  # of the latencies compared; above them one stall of the host would count
LEAST, MOST = 0.8, 1.25  # factors that are looked at
_STEPS = 10  # halvings of the range: to half a thousandth
_SEED = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A run of single-row requests: when they arrived, the quantiles at PROBABILITIES of their time in the server, and
    the mean size of the batches that formed."""

    arrivals_s: Seconds
    quantiles_s: tuple[float, ...]
    mean_batch: float


def levels(law: ServiceLaw, runs: Sequence[Served], *, max_batch: int, instances: int) -> tuple[float, ...] | None:
    """The factor for each batch size of the law; None where no run tells any. Sizes between those that formed in the runs
    are interpolated by their logarithm, sizes beyond take the nearest run's.

    `runs` are of a model that batches without a delay; `instances` is the number that served them, and the most that
    `law` knows.
    """
    told = sorted(
        (run.mean_batch, factor)
        for run in runs
        if (factor := level(law, run, max_batch=max_batch, instances=instances)) is not None
    )
    if not told:
        return None
    sizes, factors = zip(*told, strict=True)
    return tuple(np.interp(np.log(law.batches), np.log(sizes), factors).tolist())


def level(law: ServiceLaw, run: Served, *, max_batch: int, instances: int) -> float | None:
    """The factor for one run; None where none from LEAST to MOST explains it, or nothing can be told."""
    if min(run.quantiles_s) <= 0:  # a model may take less than a client's clock can tell
        return None
    low, high = LEAST, MOST
    if not _excess(law, low, run, max_batch, instances) <= 0 <= _excess(law, high, run, max_batch, instances):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _excess(law, middle, run, max_batch, instances) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _excess(law: ServiceLaw, factor: float, run: Served, max_batch: int, instances: int) -> float:
    """Mean logarithm of simulated over seen latencies: it grows with the factor."""
    all_busy = law.slowed([factor] * len(law.batches)).values_s[instances - 1]
    levelled = replace(law, values_s=(*law.values_s[: instances - 1], all_busy))
    stage = Stage(law=levelled, max_batch_size=max_batch, max_queue_delay_s=0.0, instances=instances)
    inside_s = simulate(run.arrivals_s, [stage], seed=_SEED).done_s - run.arrivals_s
    return float(np.mean(np.log(np.quantile(inside_s, PROBABILITIES) / np.asarray(run.quantiles_s))))
