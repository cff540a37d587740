"""Who takes a request on its way to a pod: how many activators, which pods each serves, and what the pod itself admits.

Numbers in, numbers out; the queues themselves are simulated elsewhere.
"""

from __future__ import annotations

import math

_FEWEST_ACTIVATORS = 2  # Knative's minActivators
_QUEUE_PER_SLOT = 10  # queue-proxy: queue depth 10 x containerConcurrency
UNLIMITED = 2**31 - 1  # capacity of an activator for a revision without containerConcurrency


def activator_count(ready: int, total: float, target_burst_capacity: float, activator_capacity: float = 100.0) -> int:
    """Activators asked for: enough for all ready pods and the burst, at least 2; 2 when they are out of the path."""
    if target_burst_capacity == 0:
        return _FEWEST_ACTIVATORS
    covered = ready * total + max(target_burst_capacity, 0.0)
    return max(_FEWEST_ACTIVATORS, math.ceil(covered / activator_capacity))


def slice_pods(pods: int, activators: int, index: int) -> tuple[int, int, int]:
    """Begin and end of activator `index`'s slice of the sorted pods, and how many pods are left over at the end.

    With more activators than pods, several take the same pod, each with its full capacity.
    """
    if activators > pods:
        begin = index % pods
        return begin, begin + 1, 0
    size = pods // activators
    return index * size, (index + 1) * size, pods % activators


def assigned_pods(pods: int, activators: int, index: int) -> tuple[int, ...]:
    """The pods one activator sends to; a pod left over goes to one activator each, the first ones."""
    if index == -1 or pods <= 1 or activators == 1:
        return tuple(range(pods))
    begin, end, rest = slice_pods(pods, activators, index)
    extra = (pods - rest + index,) if index < rest else ()
    return (*range(begin, end), *extra)


def activator_capacity(
    container_concurrency: int, backends: int, activators: int, index: int = 0, pods: int = 0
) -> int:
    """Requests one activator lets through at a time.

    `pods` is how many it reaches by their own address (0: only the service address, then `backends` are shared out).
    """
    if pods > 0:
        assigned = pods if container_concurrency == 0 else len(assigned_pods(pods, activators, index))
        capacity = container_concurrency * assigned
    else:
        capacity = container_concurrency * backends
        if capacity > 0:
            capacity = max(1, capacity // max(1, activators))
    if backends > 0 and (container_concurrency == 0 or capacity > UNLIMITED):
        return UNLIMITED
    return capacity


def queue_depth(container_concurrency: int) -> int | None:
    """Requests that may wait in front of a pod; None without containerConcurrency: nothing ever waits there."""
    return _QUEUE_PER_SLOT * container_concurrency if container_concurrency > 0 else None


def is_admitted(in_flight: int, concurrency: int, depth: int) -> bool:
    """Whether queue-proxy takes one more request; if not, it answers 503 at once."""
    return in_flight < concurrency + depth
