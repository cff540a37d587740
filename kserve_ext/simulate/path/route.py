"""The way of every request of one revision, event by event: activator or ingress, queue-proxy, Triton, answer.

The caller brings requests as numbers, moves time on with `run_until`, lets pods join and leave, and says whether
activators are in the path, or lets an autoscaler's burst capacity say it; `ended` tells what became of each request.
With no pod ready activators are always in the path. Hops take no time here: the caller adds what it measured.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from heapq import heappop, heappush
from typing import NamedTuple

from kserve_ext.simulate import kpa
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.path.activator import Activator
from kserve_ext.simulate.path.balancing import Balancer, Balancing
from kserve_ext.simulate.path.burst import BurstWatch
from kserve_ext.simulate.path.pod import Pod


class Ending(IntEnum):
    """What a client gets."""

    ANSWERED = 200
    REFUSED = 503  # the pod's queue is full
    TIMED_OUT = 504


class Ended(NamedTuple):
    """One request that is over."""

    request: int
    at_s: float
    ending: Ending
    pod: int  # -1: it never came to one


class _Way(NamedTuple):
    activator: int  # -1: straight from the ingress
    pod: int


class Route:
    """State of the path. At one moment answers come first, then timeouts, then whatever the caller does."""

    def __init__(
        self, stages: Sequence[Stage], *, limit: int, balancing: Balancing = Balancing.ROUND_ROBIN,
        proxied: bool = False, burst: kpa.Config | None = None, activators: int = 1, timeout_s: float, seed: int = 0,
    ) -> None:  # fmt: skip
        self.ended: list[Ended] = []
        self.pods: dict[int, Pod] = {}  # all there ever were
        self._proxied = proxied  # whether new requests go through an activator
        self._watch = BurstWatch(burst) if burst else None
        self._stages = stages
        self._limit = limit
        self._timeout_s = timeout_s
        self._seed = seed
        self._ready: list[int] = []  # those that take requests, in the order they came
        self._ingress = Balancer(balancing, places=None, seed=(seed, 30))
        self._direct: dict[int, int] = {}  # requests straight from the ingress at each pod
        self._activators = [
            Activator(limit=limit, index=index, activators=activators, seed=seed) for index in range(activators)
        ]
        self._next_activator = 0  # the ingress gives each its turn
        self._open: dict[int, _Way] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._calendar: list[tuple[float, int]] = []  # when something happens next at a pod; may be out of date
        self._noted: dict[int, float] = {}  # the latest entry of each pod in the calendar

    def join(self, pod: int, now: float) -> None:
        """A new pod takes requests from now on."""
        self.pods[pod] = Pod(self._stages, limit=self._limit, seed=self._seed + pod)
        self._direct[pod] = 0
        self._ready.append(pod)
        self._share_out(now)

    def leave(self, pod: int, now: float) -> None:
        """A pod takes no more requests and goes on with those it has."""
        self._ready.remove(pod)
        self._share_out(now)

    def switch(self, proxied: int, now: float) -> None:
        """Activators come into the path (1) or go (0). What waits at one stays there."""
        del now
        self._proxied = bool(proxied)

    def look(self, second: int, now: float) -> None:
        """The autoscaler looks at the burst capacity; call it at every whole second where it shall decide the path."""
        del now
        if self._watch is not None and (proxied := self._watch.look(second, len(self._ready))) is not None:
            self._proxied = proxied

    def arrive(self, request: int, now: float) -> None:
        """A request comes to the ingress."""
        if self._watch is not None:
            self._watch.arrive(now)
        self._deadlines.append((now + self._timeout_s, request))
        if self._proxied or not self._ready:
            index = self._next_activator
            self._next_activator = (index + 1) % len(self._activators)
            self._open[request] = _Way(index, -1)
            self._activators[index].hold(request)
            self._send(index, now)
            return
        position = self._ingress.choose([self._direct[pod] for pod in self._ready])
        assert position is not None  # an ingress knows of no places
        pod = self._ready[position]
        self._direct[pod] += 1
        self._give(request, _Way(-1, pod), now)

    def run_until(self, moment: float) -> None:
        """Everything that happens up to `moment`: answers and timeouts."""
        while True:
            pod_s = self._calendar[0][0] if self._calendar else math.inf
            deadline_s = self._deadlines[0][0] if self._deadlines else math.inf
            if min(pod_s, deadline_s) > moment or min(pod_s, deadline_s) == math.inf:
                return
            if pod_s <= deadline_s:
                self._step(*heappop(self._calendar))
            else:
                self._expire(*self._deadlines.popleft())

    def _step(self, at_s: float, pod: int) -> None:
        if self._noted.get(pod) != at_s:
            return  # looked at meanwhile
        del self._noted[pod]
        now, answered = self.pods[pod].step()
        senders = [self._end(request, now, Ending.ANSWERED) for request in answered]
        self._note(pod)
        for sender in dict.fromkeys(senders):
            self._send(sender, now)

    def _expire(self, now: float, request: int) -> None:
        way = self._open.get(request)
        if way is None:
            return
        if way.pod >= 0:
            self.pods[way.pod].give_up(request, now)
            self._note(way.pod)
        else:
            self._activators[way.activator].give_up(request)
        self._send(self._end(request, now, Ending.TIMED_OUT), now)

    def _share_out(self, now: float) -> None:
        for index, activator in enumerate(self._activators):
            activator.serve(self._ready)
            self._send(index, now)

    def _send(self, index: int, now: float) -> None:
        """Let an activator send on what it has a place for."""
        while index >= 0 and (sent := self._activators[index].send()) is not None:
            self._give(sent[0], _Way(index, sent[1]), now)

    def _give(self, request: int, way: _Way, now: float) -> None:
        self._open[request] = way
        if self.pods[way.pod].take(request, now):
            self._note(way.pod)
        else:
            self._end(request, now, Ending.REFUSED)

    def _end(self, request: int, now: float, ending: Ending) -> int:
        """Close a request and free its place; the activator that may send another now."""
        way = self._open.pop(request)
        if self._watch is not None:
            self._watch.leave(now)
        self.ended.append(Ended(request, now, ending, way.pod))
        if way.activator < 0:
            self._direct[way.pod] -= 1
        elif way.pod >= 0:
            self._activators[way.activator].release(way.pod)
        return way.activator

    def _note(self, pod: int) -> None:
        next_s = self.pods[pod].next_s
        if next_s != math.inf and next_s != self._noted.get(pod):
            self._noted[pod] = next_s
            heappush(self._calendar, (next_s, pod))
