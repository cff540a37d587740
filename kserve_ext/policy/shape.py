"""The size of a replica: how many instances run side by side in it.

On CPU each instance costs a core, so the count is taken that gives the most throughput per core at saturation, from
the profile alone: it depends neither on the rate nor on the SLO, so more traffic only ever adds replicas. On an
accelerator further instances cost only memory, so every count that adds throughput is open to the search.
"""

from __future__ import annotations

from kserve_ext.policy.replica import Replica

_WORTH = 1.05  # a larger replica must give 5 % more: measurements repeat to about that


def instance_counts(replica: Replica, *, accelerated: bool) -> tuple[tuple[int, ...], ...]:
    """Groups of instance counts to try: within a group the search is free, a later group only when none before holds."""
    counts = tuple(range(1, replica.instances + 1))
    if accelerated:
        return (tuple(count for count in counts if count == 1 or _adds_throughput(replica, count)),)
    best = counts[0]
    for count in counts[1:]:
        if per_core_rps(replica, count) > _WORTH * per_core_rps(replica, best):
            best = count
    rest = tuple(count for count in counts if count != best)
    return ((best,), rest) if rest else ((best,),)


def per_core_rps(replica: Replica, instances: int) -> float:
    """Saturated requests per second and core of the slowest stage, at its best measured batch size."""
    return min(max(law.saturated_rps(batch, instances) for batch in law.batches) / instances for law in replica.laws)


def _adds_throughput(replica: Replica, instances: int) -> bool:
    return instances * per_core_rps(replica, instances) > _WORTH * (instances - 1) * per_core_rps(
        replica, instances - 1
    )
