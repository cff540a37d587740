"""A second implementation of Triton's dynamic batcher, with threads and condition variables as simpy processes.

Written from the description of the algorithm (queue, payload being built, payloads waiting for an instance), one
process per thread of the server, and slow. It knows nothing of `kserve_ext.simulate`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy

_POLL_S = 0.5  # a batcher thread with nothing to do looks again after that long
_TURNS = 4  # events of one moment that simpy needs to wake a process which waits for this or that
_CLOSE_S = 1e-9  # two clock readings that differ by less are the same

Process = Generator[Any, Any, None]


class Payload:
    def __init__(self) -> None:
        self.requests: list[int] = []
        self.pushed_s: float | None = None
        self.stale = False  # executing or released


class Model:
    """One model. With a delay an instance that finishes dequeues before the batcher thread has run."""

    def __init__(
        self,
        env: simpy.Environment,
        *,
        service_s: Callable[[int, int], float],
        max_batch: int,
        delay_s: float,
        instances: int,
    ) -> None:
        self.env, self.service_s, self.max_batch, self.delay_s = env, service_s, max_batch, delay_s
        self.instances = instances
        self.queue: deque[tuple[int, float]] = deque()
        self.waiting: deque[Payload] = deque()
        self.current = Payload()
        self.saturated = False
        self.next_preferred = 0
        self.busy = 0
        self.bell = env.event()  # the batcher's condition variable
        self.consumer = env.event()  # a payload has come
        self.done_s: dict[int, float] = {}
        self.batches: list[int] = []
        env.process(self.batcher())
        for _ in range(instances):
            env.process(self.instance())

    def slot(self) -> bool:
        return len(self.waiting) < 2 * self.instances

    def notify(self) -> None:
        bell, self.bell = self.bell, self.env.event()
        bell.succeed()

    def arrive(self, request: int) -> None:
        self.queue.append((request, self.env.now))
        if self.slot() and (self.saturated or self.current.stale or len(self.queue) >= self.next_preferred):
            self.notify()

    def batcher(self) -> Process:
        while True:
            if self.saturated or self.current.stale:
                self.current, self.saturated, self.next_preferred = Payload(), False, 0
            if not self.queue:
                yield self.bell | self.env.timeout(_POLL_S)
                continue
            if not self.slot():
                yield self.bell
                continue
            wait_s, count = self.form()
            if wait_s > 0:
                yield self.bell | self.env.timeout(wait_s)
                continue
            for _ in range(count):
                self.current.requests.append(self.queue.popleft()[0])
            if self.current.requests and self.current.pushed_s is None:
                self.current.pushed_s = self.env.now
                self.waiting.append(self.current)
                consumer, self.consumer = self.consumer, self.env.event()
                consumer.succeed()

    def form(self) -> tuple[float, int]:
        """(time to wait, requests to move). The only preferred size is the largest one."""
        built = len(self.current.requests)
        pending = best = 0
        send = False
        for _ in self.queue:
            if built + pending > 0 and built + pending + 1 > self.max_batch:
                if best == 0:
                    best, self.saturated = pending, True
                send = True
                break
            pending += 1
            if built + pending == self.max_batch:
                best = pending
        age_s = self.env.now - self.queue[0][1]
        late = self.delay_s > 0 and age_s >= self.delay_s - _CLOSE_S
        if best and not late:
            if self.delay_s == 0:
                self.saturated = True
            return 0.0, best
        if pending == 0:
            return 0.0, 0
        if send or built + pending >= self.max_batch:
            self.saturated = True
            return 0.0, pending
        if late or self.delay_s == 0:
            return 0.0, pending
        self.next_preferred = self.max_batch - built
        if not self.saturated and 0 < built < self.max_batch:
            return 0.0, pending
        return self.delay_s - age_s, pending

    def instance(self) -> Process:
        while True:
            while not self.waiting:
                yield self.consumer
            payload = self.waiting.popleft()
            payload.stale = True
            self.busy += 1
            while self.delay_s > 0 and self.waiting:
                head = self.waiting[0]
                assert head.pushed_s is not None
                overdue = self.env.now - head.pushed_s > self.delay_s
                if not overdue or len(payload.requests) + len(head.requests) > self.max_batch:
                    break
                head.stale = True
                payload.requests += self.waiting.popleft().requests
            self.notify()
            self.batches.append(len(payload.requests))
            yield self.env.timeout(self.service_s(len(payload.requests), self.busy))
            for request in payload.requests:
                self.done_s[request] = self.env.now
            self.busy -= 1
            if self.delay_s == 0:
                self.notify()
                for _ in range(_TURNS):  # the batcher thread runs before the instance is idle again
                    yield self.env.timeout(0)


def run(
    arrivals_s: Sequence[float],
    *,
    service_s: Callable[[int, int], float],
    max_batch: int,
    delay_s: float = 0.0,
    instances: int = 1,
) -> tuple[list[float], list[int]]:
    """When each request is answered, and the batch sizes in order of start."""
    env = simpy.Environment()
    model = Model(env, service_s=service_s, max_batch=max_batch, delay_s=delay_s, instances=instances)

    def clients() -> Process:
        for request, moment_s in enumerate(arrivals_s):
            yield env.timeout(moment_s - env.now)
            model.arrive(request)

    env.process(clients())
    while len(model.done_s) < len(arrivals_s):
        env.step()
    return [model.done_s[request] for request in range(len(arrivals_s))], model.batches
