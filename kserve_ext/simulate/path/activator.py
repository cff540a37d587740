"""One activator for one revision: requests wait here for a place at a pod, without bound, also while there is no pod.

Its breaker lets `limit` x its own pods through at a time, counting requests at pods that have left meanwhile; a pod it
serves alone is never over-filled by it. Several activators share the pods out; more activators than pods share one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from kserve_ext.simulate.kpa.path import activator_capacity, assigned_pods
from kserve_ext.simulate.path.balancing import Balancer, activator_balancing


class Activator:
    """Requests and pods are numbers of the caller's; pods keep the order in which they are given."""

    def __init__(self, *, limit: int, index: int, activators: int, seed: int) -> None:
        self._limit = limit
        self._index = index
        self._activators = activators
        self._balancer = Balancer(activator_balancing(limit), places=limit or None, seed=(seed, 31, index))
        self._queue: OrderedDict[int, None] = OrderedDict()
        self._pods: tuple[int, ...] = ()  # those it sends to
        self._capacity = 0
        self._held: dict[int, int] = {}  # requests of this activator at each pod, also one that has left
        self._sent = 0  # their sum

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def serve(self, pods: Sequence[int]) -> None:
        """The revision's pods are now these; without a limit every activator sends to all of them."""
        mine = range(len(pods)) if self._limit == 0 else assigned_pods(len(pods), self._activators, self._index)
        self._pods = tuple(pods[position] for position in mine)
        self._capacity = activator_capacity(self._limit, len(pods), self._activators, self._index, len(pods))

    def hold(self, request: int) -> None:
        """A request arrives; ask `send` whether it goes on at once."""
        self._queue[request] = None

    def send(self) -> tuple[int, int] | None:
        """The request that goes next and the pod it goes to, if there is a place."""
        if not self._queue or self._sent >= self._capacity:
            return None
        position = self._balancer.choose([self._held.get(pod, 0) for pod in self._pods])
        if position is None:
            return None
        request, _ = self._queue.popitem(last=False)
        pod = self._pods[position]
        self._held[pod] = self._held.get(pod, 0) + 1
        self._sent += 1
        return request, pod

    def release(self, pod: int) -> None:
        """A request it sent to that pod is over."""
        self._sent -= 1
        self._held[pod] -= 1
        if not self._held[pod]:
            del self._held[pod]

    def give_up(self, request: int) -> None:
        """A waiting request's time is over."""
        del self._queue[request]
