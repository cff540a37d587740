"""Who goes together: requests of one kind (same tensors, datatypes and row shapes) leave as one batch when an instance is free.

Batch while busy: nothing waits for a timer unless a delay is asked for; what arrives while every instance is busy leaves
together when one comes back. Oldest first, never more rows than the batch holds. No clock, no threads: time is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ticket(Generic[T]):
    """One waiting request. Mutable: a ticket that was dropped stays in its queue until it comes to the head."""

    __slots__ = ("arrived_s", "dropped", "item", "kind", "rows")

    def __init__(self, item: T, kind: Hashable, rows: int, arrived_s: float) -> None:
        self.item, self.kind, self.rows, self.arrived_s = item, kind, rows, arrived_s
        self.dropped = False


class _Queue(Generic[T]):
    """What waits of one kind, and how many rows that is without the dropped ones."""

    __slots__ = ("rows", "tickets")

    def __init__(self) -> None:
        self.tickets: deque[Ticket[T]] = deque()
        self.rows = 0

    def head(self) -> Ticket[T] | None:
        while self.tickets and self.tickets[0].dropped:
            self.tickets.popleft()
        return self.tickets[0] if self.tickets else None


class Batcher(Generic[T]):
    """The waiting requests of one model. `max_batch_size` 0: every request leaves alone."""

    def __init__(self, *, max_batch_size: int, max_queue_delay_s: float = 0.0) -> None:
        self.max_rows = max(1, max_batch_size)
        self.alone = max_batch_size == 0
        self.delay_s = max_queue_delay_s
        self.waiting = 0
        self._queues: dict[Hashable, _Queue[T]] = {}

    def add(self, item: T, *, kind: Hashable, rows: int, now_s: float) -> Ticket[T]:
        """One more request, at the end of its kind's queue."""
        queue = self._queues.get(kind)
        if queue is None:
            queue = self._queues[kind] = _Queue()
        ticket = Ticket(item, kind, rows, now_s)
        queue.tickets.append(ticket)
        queue.rows += rows
        self.waiting += 1
        return ticket

    def drop(self, ticket: Ticket[T]) -> None:
        """The request no longer waits. Not for one that has left in a batch."""
        if ticket.dropped:
            return
        ticket.dropped = True
        self.waiting -= 1
        queue = self._queues[ticket.kind]
        queue.rows -= ticket.rows
        if queue.head() is None:
            del self._queues[ticket.kind]

    def take(self, now_s: float, *, only_full: bool = False) -> list[T]:
        """The batch that leaves now, for an instance that is free; empty when nothing is ripe.

        The kind whose oldest request has waited longest goes first. A request with more rows than a batch leaves alone.
        `only_full`: nothing leaves that later requests could still join.
        """
        ripe: _Queue[T] | None = None
        oldest_s = float("inf")
        for queue in self._queues.values():
            head = queue.head()
            if head is not None and head.arrived_s < oldest_s and self._is_ripe(queue, head, now_s):
                ripe, oldest_s = queue, head.arrived_s
        if ripe is None or (only_full and not self.alone and ripe.rows < self.max_rows):
            return []
        return self._leave(ripe)

    def ripe_at_s(self) -> float | None:
        """When the oldest request has waited out the delay; None when nothing waits."""
        heads = [head.arrived_s for queue in self._queues.values() if (head := queue.head()) is not None]
        return min(heads) + self.delay_s if heads else None

    def _is_ripe(self, queue: _Queue[T], head: Ticket[T], now_s: float) -> bool:
        return self.alone or queue.rows >= self.max_rows or now_s >= head.arrived_s + self.delay_s

    def _leave(self, queue: _Queue[T]) -> list[T]:
        batch: list[T] = []
        rows = 0
        kind: Hashable = None
        while (head := queue.head()) is not None and (not batch or rows + head.rows <= self.max_rows):
            queue.tickets.popleft()
            batch.append(head.item)
            rows += head.rows
            kind = head.kind
            head.dropped = True  # gone from here: a later `drop` of it does nothing
            if self.alone:
                break
        queue.rows -= rows
        self.waiting -= len(batch)
        if queue.head() is None:
            del self._queues[kind]
        return batch
