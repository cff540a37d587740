"""One engine for any scaler over any arrivals: services that share a fleet, second by second, deterministic by seed.

Each second: pods that have become ready join, requests are served, replica-seconds are counted; each scaler that is
due sees its seconds and says how many replicas it wants. A replica is paid for from the decision to start it until
it has drained. The same scalers run on a real cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kserve_ext.errors import InputError, Problem
from kserve_ext.simulate.arrivals import Arrivals, Block
from kserve_ext.simulate.batch_pool import BatchPool, BatchService
from kserve_ext.simulate.outcome import Book, Outcome
from kserve_ext.simulate.scaler import Scaler, Second, Tick
from kserve_ext.simulate.service_time import ServiceTime
from kserve_ext.simulate.slot_pool import SlotPool
from kserve_ext.simulate.slots import Serve, serve_reference

TIMEOUT_S = 300.0  # Knative's default revision timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """From decision to ready, in parts, in seconds; `node_s` only where no node has room."""

    schedule_s: float = 0.0
    node_s: float = 0.0
    pull_s: float = 0.0
    load_s: float = 0.0
    warm_up_s: float = 0.0

    @property
    def on_node_s(self) -> float:
        """On a node that has room."""
        return self.schedule_s + self.pull_s + self.load_s + self.warm_up_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Room for replicas. Beyond `warm` places a node has to come first, beyond `most` a replica waits for a place.

    Placeholders keep `kept` places more: a replica takes one at once, and it is there again when its own node has come.
    They are paid for beside the replicas.
    """

    warm: int = 1_000_000
    most: int = 1_000_000
    kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One service: its traffic, how long a request takes, what is promised, and how replicas start."""

    name: str
    arrivals: Arrivals
    service: ServiceTime | BatchService  # one request at a time, or batches behind a limit
    slo_s: float
    cold_start: ColdStart
    initial_replicas: int = 1
    timeout_s: float = TIMEOUT_S

    @property
    def service_time(self) -> ServiceTime:
        """The service time where replicas serve one request at a time. Raises InputError for those that batch."""
        if isinstance(self.service, BatchService):
            raise InputError(
                Problem(field=self.name, what="replicas that batch", allowed="a service of one request at a time"),
                remedy="this policy has no sizing for batches yet: compare the others",
            )
        return self.service


@dataclass(slots=True)
class _Running:
    """One service while it runs."""

    workload: Workload
    scaler: Scaler[Any]
    pool: SlotPool | BatchPool
    book: Book
    blocks: Iterator[Block]
    block_end_s: int = 0  # how far arrivals are loaded into the pool
    counts: list[int] = field(default_factory=list)  # of the seconds up to there, the next one last
    state: Any = None
    starting: list[float] = field(default_factory=list)  # when each will be ready, ascending
    pending: int = 0  # wanted, without a place yet
    seconds: list[Second] = field(default_factory=list)


@dataclass(slots=True)
class _Room:
    """The fleet as it is now: `returning_s` says when places that replicas have taken from placeholders are kept again."""

    fleet: Fleet
    returning_s: list[float] = field(default_factory=list)

    def node_s(self, taken: int, now: int, node_s: float) -> float:
        """How long the next replica waits for a node. Takes a placeholder's place if one is there."""
        if taken < self.fleet.warm:
            return 0.0
        self.returning_s = [at_s for at_s in self.returning_s if at_s > now]
        if len(self.returning_s) >= self.fleet.kept:
            return node_s
        self.returning_s.append(now + node_s)
        return 0.0


def simulate_fleet(
    workloads: Sequence[Workload],
    scalers: Sequence[Scaler[Any]],
    *,
    fleet: Fleet | None = None,
    seed: int = 0,
    serve: Serve = serve_reference,
) -> tuple[Outcome, ...]:
    """Run every workload under its scaler to the end of the longest. Same arguments, same outcomes."""
    room = _Room(fleet or Fleet())
    services = [_start(w, s, seed + 1000 * i, serve) for i, (w, s) in enumerate(zip(workloads, scalers, strict=True))]
    for second in range(max(w.arrivals.duration_s for w in workloads)):
        for service in services:
            if second < service.workload.arrivals.duration_s:
                _one_second(service, services, room, second)
    return tuple(service.book.close(service.pool.waiting) for service in services)


def _start(workload: Workload, scaler: Scaler[Any], seed: int, serve: Serve) -> _Running:
    pool = _pool(workload, seed, serve)
    for _ in range(workload.initial_replicas):
        pool.add(0.0)
    book = Book(workload.slo_s, workload.arrivals.duration_s)
    return _Running(
        workload=workload, scaler=scaler, pool=pool, book=book, blocks=workload.arrivals.blocks(seed),
        state=scaler.start(workload.initial_replicas),
    )  # fmt: skip


def _pool(workload: Workload, seed: int, serve: Serve) -> SlotPool | BatchPool:
    if isinstance(workload.service, BatchService):
        return BatchPool(workload.service, timeout_s=workload.timeout_s, seed=seed)
    return SlotPool(workload.service, timeout_s=workload.timeout_s, seed=seed, serve=serve)


def _one_second(service: _Running, services: Sequence[_Running], room: _Room, second: int) -> None:
    ready_before = service.pool.ready
    paid = ready_before + len(service.starting)
    joined = 0.0
    while service.starting and service.starting[0] < second + 1:
        ready_s = max(float(second), service.starting.pop(0))
        service.pool.add(ready_s)
        joined += second + 1 - ready_s
    while second >= service.block_end_s:
        _load(service)
    arrived = service.counts.pop()
    seen = service.pool.advance(arrived, second)
    service.book.latencies(second, seen.latencies_s, seen.dropped)
    service.book.replicas(second, ready_before + joined, paid)
    service.seconds.append(Second(t_s=second, arrivals=arrived, concurrency=seen.waiting + seen.busy, busy=seen.busy))
    if (second + 1) % service.scaler.interval_s == 0:
        _scale(service, services, room, second + 1)
    elif service.pending:
        _place(service, services, room, second + 1)


def _load(service: _Running) -> None:
    """Hand the next block of arrivals to the pool; a whole block, because many small arrays are slow."""
    block = next(service.blocks)
    service.pool.load(block.times_s)
    service.counts = block.counts().tolist()[::-1]
    service.block_end_s = block.end_s


def _scale(service: _Running, services: Sequence[_Running], room: _Room, now: int) -> None:
    tick = Tick(
        now_s=float(now), ready=service.pool.ready, starting=len(service.starting) + service.pending,
        seconds=tuple(service.seconds), slots_per_replica=service.pool.slots,
    )  # fmt: skip
    service.seconds.clear()
    service.state, wanted = service.scaler.step(service.state, tick)
    change = wanted - tick.ready - tick.starting
    if change > 0:
        service.pending += change
        service.book.starts += change
    for _ in range(-change):
        _take_one_away(service, now)
    _place(service, services, room, now)


def _take_one_away(service: _Running, now: int) -> None:
    """As a ReplicaSet does: pods without a place first, then those that start, latest first, then ready ones."""
    if service.pending:
        service.pending -= 1
    elif service.starting:
        service.starting.pop()
    elif service.pool.ready:
        service.book.drain(now - 1, service.pool.remove(float(now)) - now)


def _place(service: _Running, services: Sequence[_Running], room: _Room, now: int) -> None:
    """Give replicas that have no place yet one, if there is room: on a node that is there, or on one that comes."""
    taken = sum(other.pool.ready + len(other.starting) for other in services)
    cold = service.workload.cold_start
    while service.pending and taken < room.fleet.most:
        service.starting.append(now + cold.on_node_s + room.node_s(taken, now, cold.node_s))
        service.pending -= 1
        taken += 1
    service.starting.sort()
