"""The load loop: one thread sends requests when they are due and notes when the answers come.

Open loop: arrival times are given and latency counts from them, so a slow server or a late generator cannot hide
(no coordinated omission). Closed loop: a fixed number in flight. Requests that fail are counted by kind, never raised.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from time import perf_counter, thread_time

import numpy as np
from numpy.typing import NDArray

from kserve_ext.bench.exchange import open_transport
from kserve_ext.bench.message import Request
from kserve_ext.bench.target import Target
from kserve_ext.bench.transport import Transport
from kserve_ext.domain import Protocol
from kserve_ext.errors import UnreachableError

DRAIN_S = 10.0  # how long the last answers are waited for
LEAD_S = 0.01  # between the first look at the clock and the first request
HOPELESS_FAILURES = 100  # in a row, in closed loop: a dead server would otherwise be asked as fast as it refuses
NO_ANSWER = "no answer"
NOT_SENT = "not sent: too many in flight"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadResult:
    """One row per request, in seconds from the start of the run; NaN for what never happened.

    `lag_s` is how late the generator itself came to a request. In closed loop a request is due when its place
    becomes free.
    """

    due_s: NDArray[np.float64]
    sent_s: NDArray[np.float64]
    done_s: NDArray[np.float64]
    lag_s: NDArray[np.float64]
    ok: NDArray[np.bool_]
    errors: Mapping[str, int]
    cpu_s: float  # of the generator
    elapsed_s: float  # until the last answer was in or given up


class _Book:
    """What is known of each request, by ticket."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.due: list[float] = []
        self.lag: list[float] = []
        self.sent: list[float] = []
        self.done: list[float] = []
        self.outcome: list[str | None] = []
        self.waiting: deque[int] = deque()  # due, and not yet sent
        self.answered = self.failures_in_a_row = 0

    def now(self) -> float:
        return perf_counter() - self.start

    def enter(self, due: float) -> None:
        """One more request, due at `due`, to be sent now."""
        self.waiting.append(len(self.due))
        self.due.append(due)
        self.lag.append(self.now() - due)
        self.sent.append(nan)
        self.done.append(nan)
        self.outcome.append(None)

    def send(self, transport: Transport, kinds: int) -> None:
        """Send what waits, oldest first, as far as the connections go."""
        waiting, sent = self.waiting, self.sent
        while waiting and transport.start(waiting[0], waiting[0] % kinds):
            sent[waiting.popleft()] = self.now()

    def collect(self, transport: Transport) -> list[float]:
        """Note what has finished; the times at which places became free."""
        outbox = transport.outbox
        if outbox.refused:
            self.waiting.extendleft(reversed(outbox.refused))
            outbox.refused.clear()
        if not outbox.finished:
            return []
        times = []
        for ticket, outcome, at in outbox.finished:
            self.done[ticket] = at - self.start
            self.outcome[ticket] = outcome
            self.failures_in_a_row = self.failures_in_a_row + 1 if outcome else 0
            times.append(at - self.start)
        self.answered += len(times)
        outbox.finished.clear()
        return times

    def result(self, cpu_s: float, since: float = 0.0) -> LoadResult:
        """Everything due from `since` on, which becomes the new zero."""
        elapsed_s = self.now() - since
        due = np.array(self.due)
        sent, done = np.array(self.sent), np.array(self.done)
        kept = due >= since
        outcomes = [
            (NOT_SENT if np.isnan(sent[i]) else NO_ANSWER) if outcome is None else outcome
            for i, outcome in enumerate(self.outcome)
            if kept[i]
        ]
        return LoadResult(
            due_s=due[kept] - since,
            sent_s=sent[kept] - since,
            done_s=done[kept] - since,
            lag_s=np.array(self.lag)[kept],
            ok=np.array([not outcome for outcome in outcomes], np.bool_),
            errors=dict(Counter(outcome for outcome in outcomes if outcome).most_common()),
            cpu_s=cpu_s,
            elapsed_s=elapsed_s,
        )


def run_open_loop(
    target: Target,
    requests: Sequence[Request],
    due_s: NDArray[np.float64],
    *,
    connections: int | None = None,
    drain_s: float = DRAIN_S,
) -> LoadResult:
    """Send `requests` in turn at `due_s`. `connections` bounds the HTTP pool, or sets how many gRPC uses.

    Requests beyond the bound wait, and their latency still counts from when they were due. Raises UnreachableError
    when the target does not take a first connection.
    """
    due: list[float] = due_s.tolist()
    taken, stop = 0, (due[-1] if due else 0.0) + drain_s
    with _quiet(), open_transport(target, requests, connections=connections) as transport:
        cpu_start, book = thread_time(), _Book(perf_counter() + LEAD_S)
        while book.answered < len(due):
            now = book.now()
            while taken < len(due) and due[taken] <= now:
                book.enter(due[taken])
                taken += 1
            book.send(transport, len(requests))
            if now > stop:
                break
            _wait(transport, (due[taken] if taken < len(due) else stop) - book.now())
            book.collect(transport)
        return book.result(thread_time() - cpu_start)


def run_closed_loop(
    target: Target,
    requests: Sequence[Request],
    concurrency: int,
    duration_s: float,
    warmup_s: float = 0.0,
    *,
    connections: int | None = None,
    drain_s: float = DRAIN_S,
) -> LoadResult:
    """Keep `concurrency` requests in flight for `duration_s` after `warmup_s`; tells what was due after the warm-up.

    Raises UnreachableError when the target takes no connection, or does nothing but fail.
    """
    end, hopeless = warmup_s + duration_s, max(HOPELESS_FAILURES, 2 * concurrency)
    with (
        _quiet(),
        open_transport(target, requests, connections=connections or _enough(target, concurrency)) as transport,
    ):
        cpu_start, book = thread_time(), _Book(perf_counter())
        for _ in range(concurrency):
            book.enter(0.0)
        while book.answered < len(book.due) and (now := book.now()) < end + drain_s:
            book.send(transport, len(requests))
            _wait(transport, (end if now < end else end + drain_s) - now)
            for free_at in book.collect(transport):
                if free_at < end:
                    book.enter(free_at)
            if book.failures_in_a_row >= hopeless:
                raise UnreachableError(
                    f"{target.address}: {book.failures_in_a_row} requests in a row failed: {book.result(0.0).errors}"
                )
        return book.result(thread_time() - cpu_start, since=warmup_s)


def _enough(target: Target, concurrency: int) -> int | None:
    """HTTP needs a connection per request in flight; gRPC does not."""
    return concurrency if target.protocol is Protocol.REST else None


def _wait(transport: Transport, wait_s: float) -> None:
    at_once = wait_s <= 0 or transport.outbox.finished or transport.outbox.refused
    transport.poller.poll(0.0 if at_once else wait_s)


@contextmanager
def _quiet() -> Iterator[None]:
    """No garbage collection meanwhile: a full pass takes milliseconds, and the loop makes no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
