"""One replica: its stages, its fixed overhead, and what it does at a given rate.

Where one instance of one stage answers without a queue delay the answer is computed exactly, from the law of its batch
queue; everywhere else it is simulated request by request. Both use the same measured laws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kserve_ext.domain import IDLE_S, Prediction, Profile, StagePlan, StageProfile
from kserve_ext.policy.request import Settings
from kserve_ext.profile.fit import fit
from kserve_ext.queueing.batch_queue import BatchQueue, solve, states
from kserve_ext.queueing.batch_sojourn import sojourn
from kserve_ext.simulate.batcher import Seconds, Stage, simulate
from kserve_ext.simulate.law import LEVELS, ServiceLaw, spread

_WARM_UP = 0.05  # share of the simulated requests left out: the replica starts empty
_MOST_STATES = 800  # queue lengths of an exact prediction: from there on a simulation takes no longer
_RARELY = 1e-4  # of the batches: a limit that is met no more often than that moves no p99


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """Laws of the stages and the overhead of one replica on one kind of hardware."""

    models: tuple[str, ...]
    laws: tuple[ServiceLaw, ...]
    max_batches: tuple[int, ...]  # 0: cannot be batched
    overhead_levels_s: tuple[float, ...]
    overhead_after_idle_extra_s: float = 0.0

    @property
    def instances(self) -> int:
        """Most instances every stage was measured with."""
        return min(law.instances for law in self.laws)

    @property
    def overhead_p99_s(self) -> float:
        return float(np.quantile(self.overhead_levels_s, 0.99))

    def saturated_rps(self, stages: Sequence[StagePlan]) -> float:
        """Requests per second the slowest stage can take with every batch full."""
        return min(
            law.saturated_rps(max(1, stage.max_batch_size), stage.instances)
            for law, stage in zip(self.laws, stages, strict=True)
        )


def build_replica(profile: Profile) -> Replica:
    """The replica that a profile describes. Raises ProfileError for points that do not make a curve."""
    return Replica(
        models=tuple(stage.model for stage in profile.stages),
        laws=tuple(stage_law(stage) for stage in profile.stages),
        max_batches=tuple(stage.max_batch for stage in profile.stages),
        overhead_levels_s=spread(profile.overhead_s.probabilities, profile.overhead_s.values),
        overhead_after_idle_extra_s=profile.overhead_after_idle_extra_s,
    )


def stage_law(stage: StageProfile) -> ServiceLaw:
    """The law of a measured stage. Raises ProfileError for points that do not make a curve."""
    curves = fit(stage)
    return ServiceLaw(
        batches=curves[0].batches,
        values_s=tuple(
            tuple(
                spread(shape.probabilities, shape.values, mean)
                for mean, shape in zip(curve.means_s, curve.shapes, strict=True)
            )
            for curve in curves
        ),
        after_idle_extra_s=curves[0].after_idle_extra_s,
    )


def latencies_s(
    replica: Replica,
    stages: Sequence[StagePlan],
    arrivals_s: Seconds,
    *,
    batching: bool = True,
    concurrency_limit: int | None = None,
    seed: int,
) -> tuple[Seconds, tuple[tuple[int, ...], ...]]:
    """Client latency of each request, and batch sizes by stage, of one replica under the given arrivals.

    Latency = time in the server + a draw of the measured overhead. With `batching` False every request runs alone.
    """
    trace = simulate(
        arrivals_s,
        [
            Stage(
                law=law,
                max_batch_size=stage.max_batch_size,
                max_queue_delay_s=stage.max_queue_delay_s if batching and stage.max_batch_size > 1 else None,
                instances=stage.instances,
            )
            for law, stage in zip(replica.laws, stages, strict=True)
        ],
        concurrency_limit=concurrency_limit,
        seed=seed,
    )
    draws = np.random.default_rng((seed, 1 << 20)).integers(0, LEVELS, size=len(arrivals_s))
    overhead = np.asarray(replica.overhead_levels_s)[draws]
    overhead = overhead + replica.overhead_after_idle_extra_s * _coldness(arrivals_s, trace.done_s)
    return trace.done_s - arrivals_s + overhead, trace.batch_sizes


def _coldness(arrivals_s: Seconds, done_s: Seconds) -> Seconds:
    """How cold the server is when each request comes: 0 while it works or has just worked, 1 after IDLE_S of nothing."""
    answered_s = np.concatenate(([-np.inf], np.maximum.accumulate(done_s)[:-1]))
    cold: Seconds = np.clip((arrivals_s - answered_s) / IDLE_S, 0.0, 1.0)
    return cold


def poisson_arrivals(count: int, seed: int) -> NDArray[np.float64]:
    """`count` arrival times of a Poisson process of one per second; divide by a rate. The same seed, the same times."""
    return np.cumsum(np.random.default_rng((seed, 2 << 20)).exponential(1.0, count))


def predict(
    replica: Replica,
    stages: Sequence[StagePlan],
    rate_rps: float,
    *,
    settings: Settings,
    requests: int,
    concurrency_limit: int | None = None,
) -> Prediction:
    """What one replica does with Poisson arrivals at `rate_rps`: exactly where that can be had, else simulated."""
    found = exact(batch_queue(replica, stages), rate_rps, concurrency_limit)
    return found or simulated(
        replica, stages, rate_rps, settings=settings, requests=requests, concurrency_limit=concurrency_limit
    )


def batch_queue(replica: Replica, stages: Sequence[StagePlan]) -> BatchQueue | None:
    """The replica as a queue that has an exact solution: one stage, one instance, no delay. None: it is another."""
    law, stage = replica.laws[0], stages[0]
    batch = max(1, stage.max_batch_size)
    if len(stages) > 1 or stage.instances > 1 or (batch > 1 and stage.max_queue_delay_s > 0):
        return None
    return BatchQueue(
        service_s=np.array([law.levels_s(rows, 1) for rows in range(1, batch + 1)]),
        overhead_s=np.array(replica.overhead_levels_s),
        service_cold_extra_s=law.idle_extra_s(1),
        overhead_cold_extra_s=replica.overhead_after_idle_extra_s,
        cold_after_s=IDLE_S,
    )


def is_solvable(queue: BatchQueue | None, rate_rps: float) -> bool:
    """Whether the exact law at this rate takes less work than a simulation."""
    return queue is not None and 0 < rate_rps < queue.saturated_rps and states(queue, rate_rps) <= _MOST_STATES


def exact(queue: BatchQueue | None, rate_rps: float, concurrency_limit: int | None = None) -> Prediction | None:
    """The figures of the steady state; None where they have to be simulated.

    A limit of two batches changes nothing: the next batch is full whenever enough requests wait. A lower one changes
    nothing either as long as it is practically never reached.
    """
    if queue is None or not is_solvable(queue, rate_rps):
        return None
    steady = solve(queue, rate_rps)
    batch, limit = queue.max_batch, concurrency_limit or 2 * queue.max_batch
    if batch > 1 and limit < 2 * batch and steady.waiting[max(0, limit - batch) :].sum() > _RARELY:
        return None
    law = sojourn(steady)
    return Prediction(
        rate_rps=rate_rps,
        throughput_rps=rate_rps,
        p50_s=law.quantile_s(0.50),
        p95_s=law.quantile_s(0.95),
        p99_s=law.quantile_s(0.99),
        mean_batch=steady.mean_batch,
        mean_concurrency=steady.mean_concurrency,
        exact=True,
    )


def simulated(
    replica: Replica,
    stages: Sequence[StagePlan],
    rate_rps: float,
    *,
    settings: Settings,
    requests: int,
    concurrency_limit: int | None = None,
) -> Prediction:
    """The figures of that many simulated requests, the same arrivals for every choice."""
    arrivals_s = poisson_arrivals(requests, settings.seed) / rate_rps
    return summarise(
        *latencies_s(replica, stages, arrivals_s, concurrency_limit=concurrency_limit, seed=settings.seed),
        arrivals_s,
        rate_rps,
    )


def summarise(
    latency_s: Seconds, batch_sizes: tuple[tuple[int, ...], ...], arrivals_s: Seconds, rate_rps: float
) -> Prediction:
    """The figures of a simulated run, its first twentieth left out."""
    skip = int(len(latency_s) * _WARM_UP)
    kept = latency_s[skip:]
    p50, p95, p99 = np.quantile(kept, [0.5, 0.95, 0.99])
    span_s = float(np.max(arrivals_s + latency_s) - arrivals_s[0])
    sizes = batch_sizes[-1]
    return Prediction(
        rate_rps=rate_rps,
        throughput_rps=len(latency_s) / span_s if span_s > 0 else rate_rps,
        p50_s=float(p50),
        p95_s=float(p95),
        p99_s=float(p99),
        mean_batch=float(np.mean(sizes[int(len(sizes) * _WARM_UP) :])),
        mean_concurrency=rate_rps * float(kept.mean()),  # Little's law
    )
