"""The load loop: one thread sends requests when they are due and notes when the answers come.

Open loop: arrival times are given and latency counts from them, so a slow server or a late generator cannot hide
(no coordinated omission). Closed loop: a fixed number in flight. Requests that fail are counted by kind, never raised.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, thread_time

import numpy as np
from numpy.typing import NDArray

from kserve_ext.bench.http1 import Http1Transport
from kserve_ext.bench.http2 import Http2Transport
from kserve_ext.bench.message import ANSWERED, Reply, Request
from kserve_ext.bench.target import Target
from kserve_ext.bench.transport import Outbox, Transport
from kserve_ext.domain import Protocol
from kserve_ext.errors import UnreachableError

DRAIN_S = 10.0  # how long the last answers are waited for
LEAD_S = 0.02  # between the first look at the clock and the first request
MAX_WAIT_S = 1.0
HOPELESS_FAILURES = 100  # in a row, in closed loop: a dead server would otherwise be asked as fast as it refuses
NO_ANSWER = "no answer"
NOT_SENT = "not sent, too many in flight"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadResult:
    """One row per request, seconds from the start of the run; NaN where something never happened."""

    due_s: NDArray[np.float64]
    sent_s: NDArray[np.float64]
    done_s: NDArray[np.float64]
    lag_s: NDArray[np.float64]  # how late the generator itself came to the request
    ok: NDArray[np.bool_]
    errors: Mapping[str, int] = field(default_factory=dict)
    cpu_s: float  # of the generator
    elapsed_s: float  # of the whole run, the wait for the last answers included


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
    due = due_s.tolist()
    book = _Book()
    book.due = due
    waiting: deque[int] = deque()
    taken = 0
    with _quiet(), _transport(target, requests, connections, Outbox()) as transport:
        cpu_start, start = thread_time(), perf_counter() + LEAD_S
        book.start = start
        stop = (due[-1] if due else 0.0) + drain_s
        while book.answered < len(due):
            now = perf_counter() - start
            while taken < len(due) and due[taken] <= now:
                waiting.append(taken)
                book.lag.append(now - due[taken])
                book.sent.append(_NEVER)
                book.done.append(_NEVER)
                book.outcomes.append("")
                taken += 1
            _send(transport, waiting, book, len(requests))
            if now > stop:
                break
            next_s = due[taken] if taken < len(due) else stop
            transport.poller.poll(min(start + next_s - perf_counter(), MAX_WAIT_S))
            book.collect(transport.outbox, waiting)
        return book.close(thread_time() - cpu_start)


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
    """Keep `concurrency` requests in flight for `duration_s` after `warmup_s`; only what was sent then is told.

    Raises UnreachableError when the target takes no connection, or only fails.
    """


@contextmanager
def _quiet() -> Iterator[None]:
    """No garbage collection: a full pass takes milliseconds, and the loop makes no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
