"""Open-loop load over several targets by a balancing way of the simulator: one thread, one clock, one poller."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time

import numpy as np
from numpy.typing import NDArray

from kserve_ext.bench.exchange import open_transport
from kserve_ext.bench.loop import DRAIN_S, LEAD_S, NO_ANSWER, LoadResult
from kserve_ext.bench.message import Request
from kserve_ext.bench.target import Target
from kserve_ext.bench.transport import Transport
from kserve_ext.errors import KserveExtError
from kserve_ext.simulate.path.balancing import Balancer, Balancing

_CONNECTIONS = 4096  # per target: every request in flight has one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpreadResult:
    """A load result, and for each request the target it was sent to and how many others were in flight there."""

    load: LoadResult
    targets: NDArray[np.int64]
    others: NDArray[np.int64]


def run_spread(
    targets: Sequence[Target], requests: Sequence[Request], due_s: NDArray[np.float64], balancing: Balancing, *, seed: int
) -> SpreadResult:  # fmt: skip
    """Send `requests` in turn at `due_s`, each to the target that the balancing chooses. Raises UnreachableError."""
    balancer = Balancer(balancing, places=None, seed=(seed, 30))
    due, count, kinds = due_s.tolist(), len(due_s), len(requests)
    sent, done, lag = (np.full(count, np.nan) for _ in range(3))
    where, others = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    outcomes: list[str] = [NO_ANSWER] * count
    held = [0] * len(targets)
    taken = answered = 0
    with contextlib.ExitStack() as stack:
        transports = _together(stack, targets, requests)
        gc.disable()
        stack.callback(gc.enable)
        cpu_start, start = thread_time(), perf_counter() + LEAD_S
        stop = due[-1] + DRAIN_S
        while answered < count and (now := perf_counter() - start) <= stop:
            while taken < count and due[taken] <= now:
                chosen = balancer.choose(held)
                assert chosen is not None
                lag[taken], where[taken], others[taken] = now - due[taken], chosen, held[chosen]
                held[chosen] += 1
                if not transports[chosen].start(taken, taken % kinds):
                    raise KserveExtError(f"{_CONNECTIONS} requests are in flight at {targets[chosen].address}")
                now = perf_counter() - start
                sent[taken] = now
                taken += 1
            due_next = due[taken] if taken < count else stop
            transports[0].poller.poll(max(0.0, due_next - (perf_counter() - start)))
            for index, transport in enumerate(transports):
                for ticket, outcome, at_s in transport.outbox.finished:
                    done[ticket], outcomes[ticket] = at_s - start, outcome
                    held[index] -= 1
                    answered += 1
                transport.outbox.finished.clear()
        elapsed_s, cpu_s = perf_counter() - start, thread_time() - cpu_start
    load = LoadResult(
        due_s=due_s, sent_s=sent, done_s=done, lag_s=lag, ok=np.array([not outcome for outcome in outcomes], np.bool_),
        errors=dict(Counter(outcome for outcome in outcomes if outcome)), cpu_s=cpu_s, elapsed_s=elapsed_s,
    )  # fmt: skip
    return SpreadResult(load=load, targets=where, others=others)


def _together(stack: contextlib.ExitStack, targets: Sequence[Target], requests: Sequence[Request]) -> list[Transport]:
    """A transport per target, all woken by the poller of the first."""
    transports = [stack.enter_context(open_transport(target, requests, connections=_CONNECTIONS)) for target in targets]
    for other in transports[1:]:
        other.poller.close()
        other.poller = transports[0].poller
    return transports
