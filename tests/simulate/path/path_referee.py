"""A second implementation of queue-proxy and activator before the Triton of `simulate/referee.py`, as simpy processes.

One process per request, places as simpy resources. It knows nothing of `kserve_ext.simulate`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy
from simulate import referee

_WRITE_S = 1e-9  # the answers of a batch leave one after another, and the instance is quicker than the first of them
_QUEUE_PER_PLACE = 10

Process = Generator[Any, Any, None]
Ending = tuple[float, int]  # when, and the HTTP status


class Answers(dict[int, float]):
    """When each request was answered; tells the process that waits for it."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__()
        self.env = env
        self.events: dict[int, Any] = {}

    def __setitem__(self, request: int, at_s: float) -> None:
        super().__setitem__(request, at_s)
        if not self.events[request].triggered:
            self.events[request].succeed()


class Pod:
    """Queue-proxy and its Triton."""

    def __init__(self, env: simpy.Environment, limit: int, model: Callable[[simpy.Environment], referee.Model]) -> None:
        self.env, self.limit = env, limit
        self.model = model(env)
        self.model.done_s = self.answers = Answers(env)
        self.places = simpy.Resource(env, capacity=limit)
        self.pending = 0
        self.written_s = 0.0

    def serve(self, request: int, deadline: Any) -> Generator[Any, Any, int]:
        """The status that the request gets."""
        if self.pending == self.limit + _QUEUE_PER_PLACE * self.limit:
            return 503
        self.pending += 1
        place = self.places.request()
        yield place | deadline
        status = 504
        if place.triggered:
            answer = self.answers.events[request] = self.env.event()
            self.model.arrive(request)
            yield answer | deadline
            if answer.triggered:
                status = 200
                self.written_s = max(self.written_s, self.env.now) + _WRITE_S
                yield self.env.timeout(self.written_s - self.env.now)
            self.places.release(place)
        else:
            place.cancel()
        self.pending -= 1
        return status


class Activator:
    """Holds requests until a pod has a place; asks the pods in turn."""

    def __init__(self, env: simpy.Environment, pods: Sequence[Pod], limit: int) -> None:
        self.env, self.limit = env, limit
        self.held = [0] * len(pods)
        self.turn = 0
        self.waiting: deque[Any] = deque()

    def place(self, deadline: Any) -> Generator[Any, Any, int | None]:
        """The pod to go to, or None where time is over first."""
        gate = self.env.event()
        self.waiting.append(gate)
        self.open()
        yield gate | deadline
        if not gate.triggered:
            self.waiting.remove(gate)
            return None
        return int(gate.value)

    def leave(self, pod: int) -> None:
        self.held[pod] -= 1
        self.open()

    def open(self) -> None:
        while self.waiting and min(self.held) < self.limit:
            while self.held[self.turn % len(self.held)] >= self.limit:
                self.turn += 1
            pod = self.turn % len(self.held)
            self.turn += 1
            self.held[pod] += 1
            self.waiting.popleft().succeed(pod)


def run(
    arrivals_s: Sequence[float], *, replicas: int, limit: int, timeout_s: float, proxied: bool,
    model: Callable[[simpy.Environment], referee.Model],
) -> list[Ending]:  # fmt: skip
    """What becomes of each request."""
    env = simpy.Environment()
    pods = [Pod(env, limit, model) for _ in range(replicas)]
    activator = Activator(env, pods, limit)
    endings: dict[int, Ending] = {}

    def client(request: int) -> Process:
        deadline = env.timeout(timeout_s)
        pod: int | None = request % replicas
        if proxied:
            pod = yield from activator.place(deadline)
        status = 504 if pod is None else (yield from pods[pod].serve(request, deadline))
        endings[request] = (env.now, status)
        if proxied and pod is not None:
            activator.leave(pod)

    def clients() -> Process:
        for request, moment_s in enumerate(arrivals_s):
            yield env.timeout(moment_s - env.now)
            env.process(client(request))

    env.process(clients())
    while len(endings) < len(arrivals_s):
        env.step()
    return [endings[request] for request in range(len(arrivals_s))]
