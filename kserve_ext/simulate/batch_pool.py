"""The replicas of one service that batch, second by second: each a Triton server behind a concurrency limit.

Requests go to the replicas with a free place in turn, as Knative's activator does with a limit of four and more; when
none has one they wait in one first-come queue. A replica that is taken away answers what it holds and takes no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from kserve_ext.simulate.arrivals import Times
from kserve_ext.simulate.batcher import Server, Stage
from kserve_ext.simulate.law import LEVELS
from kserve_ext.simulate.slot_pool import Advance


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchService:
    """What a replica runs: the stages of a plan, its concurrency limit, and the request's time outside the server."""

    stages: tuple[Stage, ...]
    concurrency_limit: int
    overhead_levels_s: tuple[float, ...] = (0.0,) * LEVELS

    @property
    def slots(self) -> float:
        """Instances of the first stage that saturates: how many executions one replica runs side by side."""
        return float(max(stage.instances for stage in self.stages))

    @property
    def least_s(self) -> float:
        """The shortest time that one request can take."""
        return sum(stage.law.levels_s(1, 1)[0] for stage in self.stages) + self.overhead_levels_s[0]


class BatchPool:
    """State of one service's ready replicas and its queue."""

    def __init__(self, service: BatchService, *, timeout_s: float, seed: int) -> None:
        self._service = service
        self._timeout_s = timeout_s
        self._seed = seed
        self._rng = np.random.default_rng((seed, 22))
        self._servers: dict[int, Server] = {}
        self._joining: list[tuple[float, int]] = []  # when each replica that is added becomes ready
        self._turn: deque[int] = deque()  # ready replicas, the one to be tried next first
        self._calendar: list[tuple[float, int]] = []  # when something happens next at a replica; may be out of date
        self._noted: dict[int, float] = {}  # the latest entry of each replica in the calendar
        self._busy = 0  # instances of all replicas
        self._busy_of: dict[int, int] = {}  # those of each replica
        self._coming: deque[tuple[float, float]] = deque()  # arrivals loaded, each with its overhead
        self._queue: deque[int] = deque()
        self._arrived: dict[int, float] = {}
        self._overhead: dict[int, float] = {}
        self._numbers = 0
        self._replicas = 0
        self._latencies: list[float] = []
        self._dropped = 0
        self._clock = self._waiting_area = self._busy_area = 0.0

    @property
    def ready(self) -> int:
        return len(self._servers)

    @property
    def slots(self) -> float:
        return self._service.slots

    @property
    def waiting(self) -> int:
        return len(self._arrived)

    def add(self, ready_s: float) -> None:
        """A replica takes requests from `ready_s` on."""
        self._replicas += 1
        self._servers[self._replicas] = Server(self._service.stages, seed=self._seed + self._replicas)
        heappush(self._joining, (ready_s, self._replicas))

    def remove(self, now_s: float) -> float:
        """Take the replica with the fewest requests away; the time at which it has answered them."""
        replica = min(self._servers, key=lambda each: (self._servers[each].inside, -each))
        server = self._servers.pop(replica)
        self._busy -= self._busy_of.pop(replica, 0)
        self._noted.pop(replica, None)
        self._turn = deque(each for each in self._turn if each != replica)
        self._joining = [entry for entry in self._joining if entry[1] != replica]
        end_s = now_s
        while server.inside:
            end_s, answered = server.step()
            self._answer(answered, end_s)
        return end_s

    def load(self, arrivals_s: Times) -> None:
        """The arrivals of the seconds to come, ascending: `advance` says how many of them have arrived."""
        draws = self._rng.integers(0, LEVELS, size=len(arrivals_s)).tolist()
        levels_s = self._service.overhead_levels_s
        self._coming.extend(zip(arrivals_s.tolist(), (levels_s[draw] for draw in draws), strict=True))

    def advance(self, new: int, second: int) -> Advance:
        """Let those that wait and the next `new` requests, which arrive in [second, second + 1), be served."""
        self._waiting_area = self._busy_area = 0.0
        self._clock = float(second)
        for _ in range(new):
            moment, overhead_s = self._coming.popleft()
            self._run_until(moment)
            self._pass(moment)
            self._numbers += 1
            self._arrived[self._numbers] = moment
            self._overhead[self._numbers] = overhead_s
            self._queue.append(self._numbers)
            self._dispatch(moment)
        self._run_until(second + 1.0)
        self._pass(second + 1.0)
        latencies_s, dropped = np.array(self._latencies), self._dropped
        self._latencies, self._dropped = [], 0
        return Advance(latencies_s, dropped, self._waiting_area, self._busy_area)

    def _run_until(self, moment: float) -> None:
        """Everything that happens before `moment`: replicas that become ready, batches that end."""
        while True:
            joins_s = self._joining[0][0] if self._joining else moment
            happens_s = self._calendar[0][0] if self._calendar else moment
            now = min(joins_s, happens_s)
            if now >= moment:
                return
            self._pass(now)
            if joins_s <= happens_s:
                self._turn.append(heappop(self._joining)[1])
            else:
                self._step(heappop(self._calendar))
            self._dispatch(now)

    def _step(self, entry: tuple[float, int]) -> None:
        server = self._servers.get(entry[1])
        if server is None or server.next_s != entry[0]:
            return  # taken away, or looked at meanwhile
        self._noted.pop(entry[1], None)  # the next thing may happen at this very moment
        now, answered = server.step()
        self._answer(answered, now)
        self._note(entry[1], server)

    def _dispatch(self, now: float) -> None:
        """Give waiting requests to replicas with a free place, in turn."""
        while self._queue and now - self._arrived[self._queue[0]] >= self._timeout_s:
            self._forget(self._queue.popleft())
            self._dropped += 1
        tried = 0
        while self._queue and tried < len(self._turn):
            replica = self._turn[0]
            self._turn.rotate(-1)
            server = self._servers[replica]
            if server.inside >= self._service.concurrency_limit:
                tried += 1
                continue
            tried = 0
            server.admit(self._queue.popleft(), now)
            self._note(replica, server)

    def _note(self, replica: int, server: Server) -> None:
        """Take down what has changed at a replica, so that nobody has to look at all of them."""
        busy = server.busy_instances
        self._busy += busy - self._busy_of.get(replica, 0)
        self._busy_of[replica] = busy
        if server.next_s != self._noted.get(replica) and server.next_s != np.inf:
            self._noted[replica] = server.next_s
            heappush(self._calendar, (server.next_s, replica))

    def _answer(self, requests: Sequence[int], now: float) -> None:
        for request in requests:
            self._latencies.append(now - self._arrived[request] + self._overhead[request])
            self._forget(request)

    def _forget(self, request: int) -> None:
        del self._arrived[request], self._overhead[request]

    def _pass(self, now: float) -> None:
        """Account for the time since the last event."""
        span = now - self._clock
        self._busy_area += self._busy * span
        self._waiting_area += len(self._arrived) * span - self._busy * span
        self._clock = now
