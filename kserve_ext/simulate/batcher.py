"""Triton's dynamic batcher, request by request: arrival times in, answer times and batch sizes out.

Follows Triton's core (dynamic_batch_scheduler.cc, payload.cc, rate_limiter.cc; same algorithm in 2.51 and 2.73) for a
model without queue policy, priorities or preferred batch sizes: up to two payloads per instance are formed ahead, the
newest one keeps growing while it waits, and a queue delay holds back a payload that is not full. (Triton merges
waiting payloads too when there is a delay; here only the newest can be short of full, so there is nothing to merge.)
Several stages form an ensemble; a limiter in front admits so many at a time. An instance that was idle is slower at
first, its caches being cold: by the measured extra, in full after IDLE_S.

With a delay, a finishing instance takes the next payload before the batcher has topped it up: it asks for one in the
same breath as it wakes the batcher's thread (backend_model_instance.cc). Pure: the caller brings arrivals and a seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from kserve_ext.domain import IDLE_S
from kserve_ext.simulate.law import LEVELS, ServiceLaw

Seconds = NDArray[np.float64]

_PREFETCH = 2  # payloads formed ahead per instance (Triton core, payload slots with prefetching on)
_FINISH, _TIMER = 0, 1
_MOST_DRAWS = 65536  # service-time draws are reused in turn after that many


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One model inside a replica. `max_queue_delay_s` None: no dynamic batching, each request runs alone."""

    law: ServiceLaw
    max_batch_size: int
    max_queue_delay_s: float | None
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """When each request was answered by the server, and the size of every batch run, per stage, in order of start."""

    arrivals_s: Seconds
    done_s: Seconds
    batch_sizes: tuple[tuple[int, ...], ...]


class _Payload:
    __slots__ = ("requests", "taken")

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.taken = True  # executing or done: a new payload must be started


class _Batcher:
    """State of one stage. Requests are indices into the arrival array."""

    __slots__ = (
        "batch_sizes",
        "current",
        "delay_s",
        "draws",
        "extra_s",
        "filled",
        "idle_since_s",
        "index",
        "instances",
        "law",
        "levels",
        "max_batch",
        "next_draw",
        "payloads",
        "queue",
        "since_s",
        "timer_s",
        "wanted",
    )  # fmt: skip

    def __init__(self, index: int, stage: Stage, draws: list[int]) -> None:
        self.index = index
        self.law = stage.law
        self.max_batch = max(1, stage.max_batch_size)
        self.delay_s = stage.max_queue_delay_s
        self.instances = stage.instances
        self.idle_since_s = deque([-math.inf] * stage.instances)  # of each idle instance, the longest idle first
        self.queue: deque[int] = deque()
        self.since_s: deque[float] = deque()  # when each queued request came to this stage
        self.payloads: deque[_Payload] = deque()
        self.current = _Payload()
        self.filled = True  # the current payload takes no more
        self.wanted = 0  # requests that must be waiting before an arrival wakes the batcher
        self.timer_s = math.inf
        self.draws = draws
        self.next_draw = 0
        self.levels: dict[tuple[int, int], list[float]] = {}
        self.extra_s: dict[int, float] = {}
        self.batch_sizes: list[int] = []

    def arrive(self, request: int, now: float) -> None:
        self.queue.append(request)
        self.since_s.append(now)

    def should_wake(self) -> bool:
        """Whether an arrival wakes the batcher thread now."""
        if len(self.payloads) >= _PREFETCH * self.instances:
            return False
        return self.filled or self.current.taken or len(self.queue) >= self.wanted

    def form(self, now: float) -> None:
        """One turn of the batcher thread: move waiting requests into payloads until it would sleep."""
        room = _PREFETCH * self.instances
        self.timer_s = math.inf
        while True:
            if self.filled or self.current.taken:
                self.current = _Payload()
                self.current.taken = False
                self.filled = False
                self.wanted = 0
            if not self.queue or len(self.payloads) >= room:
                return
            count, wait_s = self._choose(now)
            if wait_s > 0:
                self.timer_s = now + wait_s
                return
            self._move(count)
            if not self.queue:  # the payload is looked at again when something waits
                return

    def _choose(self, now: float) -> tuple[int, float]:
        """How many waiting requests join the current payload now, or how long to wait for more."""
        held = len(self.current.requests)
        room = self.max_batch - held
        count = min(len(self.queue), room)
        delay_s = self.delay_s or 0.0
        left_s = delay_s - (now - self.since_s[0])
        in_time = now + left_s > now  # a wait below float resolution would not move the clock: it is over
        if count == room:
            # with a delay, a payload that becomes full in time counts as filled only once a request finds no room
            self.filled = not in_time or len(self.queue) > room
            return count, 0.0
        if not in_time:
            return count, 0.0
        self.wanted = room
        return (count, 0.0) if held else (0, left_s)

    def _move(self, count: int) -> None:
        if not self.current.requests:
            self.payloads.append(self.current)
        queue, since_s, requests = self.queue, self.since_s, self.current.requests
        for _ in range(count):
            requests.append(queue.popleft())
            since_s.popleft()

    def take(self, now: float, foreign: int) -> tuple[list[int], float] | None:
        """An idle instance takes the oldest payload: its requests and when it will be done; None if there is none.

        `foreign` instances of other models are busy beside it.
        """
        if not (self.idle_since_s and self.payloads):
            return None
        payload = self.payloads.popleft()
        payload.taken = True
        idle_s = now - self.idle_since_s.popleft()
        size = len(payload.requests)
        key = (size, self.instances - len(self.idle_since_s) + foreign)
        levels = self.levels.get(key)
        if levels is None:
            levels = self.levels[key] = self.law.levels_s(*key)
            self.extra_s[size] = self.law.idle_extra_s(size)
        draw = self.draws[self.next_draw]
        self.next_draw = (self.next_draw + 1) % len(self.draws)
        self.batch_sizes.append(size)
        cold = idle_s / IDLE_S if idle_s < IDLE_S else 1.0
        return payload.requests, now + levels[draw] + cold * self.extra_s[size]


class _Unbatched(_Batcher):
    """Triton's default scheduler: every request is a payload of its own, first come, first served."""

    __slots__ = ()

    def should_wake(self) -> bool:
        return True

    def form(self, now: float) -> None:
        while self.queue:
            payload = _Payload()
            payload.requests.append(self.queue.popleft())
            self.payloads.append(payload)
        self.since_s.clear()


class Server:
    """One Triton server while it runs: its stages, and what will happen next. Requests are numbers of the caller's."""

    __slots__ = ("_batchers", "_events", "_order", "foreign", "inside")

    def __init__(self, stages: Sequence[Stage], *, seed: int, draws: int = _MOST_DRAWS) -> None:
        self._batchers = [_batcher(index, stage, draws, seed) for index, stage in enumerate(stages)]
        self._events: list[tuple[float, int, int, int, list[int]]] = []  # time, order, kind, stage, requests
        self._order = 0
        self.inside = 0  # requests admitted and not answered
        self.foreign = 0  # instances of other models busy in the same server; the laws have to cover them

    @property
    def next_s(self) -> float:
        """When something happens next, if nothing arrives; infinity when it is idle."""
        return self._events[0][0] if self._events else math.inf

    def due(self, moment: float) -> bool:
        """Whether something happens by then."""
        return bool(self._events) and self._events[0][0] <= moment

    @property
    def busy_instances(self) -> int:
        return sum(batcher.instances - len(batcher.idle_since_s) for batcher in self._batchers)

    @property
    def batch_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sizes of the batches run, per stage, in order of start."""
        return tuple(tuple(batcher.batch_sizes) for batcher in self._batchers)

    def admit(self, request: int, now: float) -> None:
        """A request arrives at the first stage."""
        self.inside += 1
        self._arrive(self._batchers[0], request, now)

    def step(self) -> tuple[float, list[int]]:
        """Let the next thing happen: when, and the requests it answered."""
        now, _, kind, index, requests = heappop(self._events)
        batcher = self._batchers[index]
        if kind == _TIMER:
            if batcher.timer_s == now:
                self._settle(batcher, now)
            return now, []
        batcher.idle_since_s.append(now)
        if batcher.delay_s:
            self._start(batcher, now)
        self._settle(batcher, now)
        if index + 1 < len(self._batchers):
            for moved in requests:
                self._arrive(self._batchers[index + 1], moved, now)
            return now, []
        self.inside -= len(requests)
        return now, requests

    def _arrive(self, batcher: _Batcher, request: int, now: float) -> None:
        batcher.arrive(request, now)
        if batcher.should_wake():
            self._settle(batcher, now)

    def _settle(self, batcher: _Batcher, now: float) -> None:
        """Let the batcher and its instances act until nothing more happens at this moment."""
        while batcher.queue or (batcher.payloads and batcher.idle_since_s):
            before = batcher.timer_s
            batcher.form(now)
            if batcher.timer_s != before and batcher.timer_s != math.inf:
                self._order += 1
                heappush(self._events, (batcher.timer_s, self._order, _TIMER, batcher.index, []))
            if not self._start(batcher, now):
                return

    def _start(self, batcher: _Batcher, now: float) -> bool:
        """Let an idle instance take the oldest payload."""
        started = batcher.take(now, self.foreign)
        if started is None:
            return False
        self._order += 1
        heappush(self._events, (started[1], self._order, _FINISH, batcher.index, started[0]))
        return True


def _batcher(index: int, stage: Stage, requests: int, seed: int) -> _Batcher:
    draws = np.random.default_rng((seed, index)).integers(0, LEVELS, size=min(max(requests, 1), _MOST_DRAWS))
    kind = _Unbatched if stage.max_queue_delay_s is None else _Batcher
    return kind(index, stage, draws.tolist())


def simulate(
    arrivals_s: Seconds, stages: Sequence[Stage], *, concurrency_limit: int | None = None, seed: int = 0
) -> Trace:
    """Send requests arriving at `arrivals_s` (ascending, seconds) through the stages of one replica.

    `concurrency_limit` admits at most that many at a time, the others wait outside in order. The same arguments give
    the same result. Raises ValueError when a batch size or instance count is asked for that was not measured.
    """
    server = Server(stages, seed=seed, draws=len(arrivals_s))
    limit = concurrency_limit or len(arrivals_s) + 1
    arrivals = arrivals_s.tolist()
    done = [0.0] * len(arrivals)
    outside: deque[int] = deque()
    for request, moment in enumerate(chain(arrivals, (math.inf,))):
        while server.due(moment):
            now, answered = server.step()
            for finished in answered:
                done[finished] = now
            while answered and outside and server.inside < limit:
                server.admit(outside.popleft(), now)
        if request == len(arrivals):
            break
        if server.inside < limit:
            server.admit(request, moment)
        else:
            outside.append(request)
    return Trace(arrivals_s=arrivals_s, done_s=np.asarray(done), batch_sizes=server.batch_sizes)
