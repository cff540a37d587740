"""One pod: Knative's queue-proxy in front of a Triton server.

At most `limit` requests are at the server, ten times as many wait in order, one more is refused at once (503). A
request that is given up frees its place, though the server goes on with it. Without a limit (0) nothing ever waits.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from kserve_ext.simulate.batcher import Server, Stage
from kserve_ext.simulate.kpa.path import queue_depth


class Pod:
    """Requests are numbers of the caller's. Waiting ones go in first come, first served.

    In queue-proxy itself a request that arrives in the microseconds between an answer and the next start takes the place,
    and the overtaken one goes to the end. With a full queue that hit 0.6 to 4 % of the requests on two busy cores: they
    waited twice. It is left out here, so p99 of a full queue is predicted too low; throughput and refusals are not touched.
    """

    __slots__ = ("_at_server", "_most", "_places", "_queue", "server")

    def __init__(self, stages: Sequence[Stage], *, limit: int, seed: int) -> None:
        depth = queue_depth(limit)
        self.server = Server(stages, seed=seed)
        self._places = limit if depth is not None else math.inf
        self._most = limit + depth if depth is not None else math.inf
        self._queue: OrderedDict[int, None] = OrderedDict()
        self._at_server: set[int] = set()

    @property
    def in_flight(self) -> int:
        """Requests taken and not answered or given up: what queue-proxy counts and reports."""
        return len(self._queue) + len(self._at_server)

    @property
    def next_s(self) -> float:
        """When something happens next, if nothing arrives."""
        return self.server.next_s

    def take(self, request: int, now: float) -> bool:
        """Whether the pod takes one more request; if not, it is answered 503."""
        if self.in_flight >= self._most:
            return False
        self._queue[request] = None
        self._fill(now)
        return True

    def step(self) -> tuple[float, list[int]]:
        """Let the next thing happen: when, and the requests it answered that somebody still waits for."""
        now, finished = self.server.step()
        answered = [request for request in finished if request in self._at_server]
        self._at_server.difference_update(answered)
        if answered:
            self._fill(now)
        return now, answered

    def give_up(self, request: int, now: float) -> None:
        """Its time is over (504)."""
        self._queue.pop(request, None)
        self._at_server.discard(request)
        self._fill(now)

    def _fill(self, now: float) -> None:
        while self._queue and len(self._at_server) < self._places:
            request, _ = self._queue.popitem(last=False)
            self._at_server.add(request)
            self.server.admit(request, now)
