"""Which batch size, queue delay and instance count: the grid, and what one replica carries with each choice.

The grid is small (powers of two; three delays where there are several instances), so all of it is searched: for each
choice the highest rate is found at which its p99, exact or simulated, stays within the SLO less the margin. Delays are shares of
the service time, not of the SLO, so that a looser SLO looks at the same choices and more. Choices whose saturated rate
lies below what another already carries are skipped; that bound is exact, so nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kserve_ext.domain import StagePlan
from kserve_ext.policy.replica import Replica, batch_queue, exact, is_solvable, simulated
from kserve_ext.policy.request import Settings

_DELAY_INSTANCES = 2  # a delay pays where an idle instance would take what is there; a single one batches while busy
_SIDE_STAGE_HEADROOM = 1.5  # a side step of an ensemble gets that much more throughput than the slowest step
_WITHOUT_LOAD = 1e-3  # share of the saturated rate at which requests practically never meet
MOST_LOAD = 0.9  # of the saturated rate: nearer to it p99 grows without bound, and runs of seconds do not show it


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One choice for every stage of a replica, and the most it carries within the SLO; 0 rps: not even one request."""

    stages: tuple[StagePlan, ...]
    capacity_rps: float
    saturated_rps: float
    p99_idle_s: float  # p99 with requests that practically never meet
    exact: bool = False  # computed from the law of the batch queue; otherwise simulated

    @property
    def longest_delay_s(self) -> float:
        return max(stage.max_queue_delay_s for stage in self.stages)

    def bottleneck(self, replica: Replica) -> int:
        """Index of the stage that saturates first."""
        rates = [
            law.saturated_rps(max(1, stage.max_batch_size), stage.instances)
            for law, stage in zip(replica.laws, self.stages, strict=True)
        ]
        return rates.index(min(rates))


def search(
    replica: Replica, *, instances: int, limit_s: float, settings: Settings, threads: int = 1
) -> tuple[Candidate, ...]:
    """Every choice that was simulated for one instance count, the one with the most capacity first.

    `limit_s` is what p99 must not exceed. A looser limit only adds to what each choice carries.
    """
    found: list[Candidate] = []
    best_rps = 0.0
    for stages in sorted(
        _grid(replica, instances, limit_s, settings, threads), key=replica.saturated_rps, reverse=True
    ):
        if MOST_LOAD * replica.saturated_rps(stages) <= best_rps:
            break
        candidate = evaluate(replica, stages, limit_s, settings)
        best_rps = max(best_rps, candidate.capacity_rps)
        found.append(candidate)
    return tuple(sorted(found, key=lambda candidate: (-candidate.capacity_rps, candidate.longest_delay_s)))


def choose(candidates: Sequence[Candidate], rate_rps: float) -> Candidate:
    """Of the choices that carry `rate_rps` with the fewest replicas: the shortest delay, then the most capacity."""
    fewest = replicas_for(rate_rps, candidates[0].capacity_rps)
    enough = [c for c in candidates if c.capacity_rps > 0 and replicas_for(rate_rps, c.capacity_rps) == fewest]
    return min(enough, key=lambda candidate: (candidate.longest_delay_s, -candidate.capacity_rps))


def replicas_for(rate_rps: float, capacity_rps: float) -> int:
    """Replicas that carry `rate_rps` at `capacity_rps` each, at least one."""
    return max(1, math.ceil(rate_rps / capacity_rps - 1e-9))


def _grid(
    replica: Replica, instances: int, limit_s: float, settings: Settings, threads: int
) -> Iterator[tuple[StagePlan, ...]]:
    main = _slowest(replica)
    for batch in _batch_sizes(replica, main):
        service_s = replica.laws[main].mean_s(max(1, batch), instances)
        if batch > 1 and service_s + replica.overhead_p99_s > limit_s:
            continue  # a full batch alone would take too long
        for share in settings.queue_delays:
            delay_s = round(service_s * share, 6)  # whole microseconds, as config.pbtxt has it
            if share and (batch < 2 or instances < _DELAY_INSTANCES or delay_s + service_s > limit_s):
                continue
            stage = StagePlan(
                model=replica.models[main], max_batch_size=batch, max_queue_delay_s=delay_s,
                instances=instances, threads=threads,
            )  # fmt: skip
            yield tuple(
                stage if index == main else _side_stage(replica, index, stage, main)
                for index in range(len(replica.laws))
            )


def _slowest(replica: Replica) -> int:
    """Index of the stage whose batch size, delay and instances are searched; the others follow it."""
    per_row = [law.mean_s(law.batches[-1], 1) / law.batches[-1] for law in replica.laws]
    return per_row.index(max(per_row))


def _batch_sizes(replica: Replica, index: int) -> tuple[int, ...]:
    if replica.max_batches[index] == 0:
        return (0,)
    return tuple(batch for batch in replica.laws[index].batches if batch <= replica.max_batches[index])


def _side_stage(replica: Replica, index: int, main: StagePlan, main_index: int) -> StagePlan:
    """A step beside the slowest one: the same batch, no delay, and instances until it is not what binds."""
    law = replica.laws[index]
    batch = min(main.max_batch_size, replica.max_batches[index])
    needed = _SIDE_STAGE_HEADROOM * replica.laws[main_index].saturated_rps(max(1, main.max_batch_size), main.instances)
    instances = next(
        (count for count in range(1, law.instances) if law.saturated_rps(max(1, batch), count) >= needed),
        law.instances,
    )
    return replace(main, model=replica.models[index], max_batch_size=batch, max_queue_delay_s=0.0, instances=instances)


def evaluate(replica: Replica, stages: tuple[StagePlan, ...], limit_s: float, settings: Settings) -> Candidate:
    """What one choice carries with p99 within `limit_s`."""
    saturated = replica.saturated_rps(stages)
    queue = batch_queue(replica, stages)

    def p99_s(rate_rps: float, requests: int) -> float:
        found = exact(queue, rate_rps) or simulated(replica, stages, rate_rps, settings=settings, requests=requests)
        return found.p99_s

    idle_s = p99_s(_WITHOUT_LOAD * saturated, settings.simulated_requests // 4)
    capacity_rps = 0.0
    if idle_s <= limit_s:
        most_rps = MOST_LOAD * saturated
        capacity_rps = most_rps * bisect_share(
            lambda share: p99_s(share * most_rps, settings.simulated_requests) <= limit_s, settings.capacity_steps
        )
    return Candidate(stages=stages, capacity_rps=capacity_rps, saturated_rps=saturated, p99_idle_s=idle_s,
                     exact=is_solvable(queue, capacity_rps))  # fmt: skip


def bisect_share(holds: Callable[[float], bool], steps: int) -> float:
    """The largest share in [0, 1] found by `steps` halvings for which `holds`; 0 if none was found.

    A looser test passes wherever a stricter one passed, so it never ends lower: the path leaves the stricter one's
    only upwards.
    """
    if holds(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
