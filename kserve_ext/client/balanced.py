"""One name, many replicas: each request goes to the address that `balance` chooses, over a connection of its own.

The name of a headless Kubernetes service stands for the addresses of all its ready pods. It is resolved again while
requests come, and at once when a replica is not reached.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from kserve_ext.bench.message import Request
from kserve_ext.client.answer import Answer, Outcome, unanswered
from kserve_ext.client.balance import Replica, Rule, begin, choose, give_up, reconcile, settle
from kserve_ext.client.resolve import Resolve
from kserve_ext.client.transport import AsyncTransport
from kserve_ext.errors import InputError, Problem

_UNREACHED = (Outcome.UNAVAILABLE, Outcome.LOST)
_SHORTEST_WAIT_S = 1e-3
SHORTEST_REFRESH_S = 0.5  # between two look-ups while replicas are not reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How requests are spread. `hedge_after_s` sends a second request to another replica when the first is slow.

    Hedging is off by default: it makes load where there is too much of it already. It takes from the retry budget.
    """

    rule: Rule = Rule.PEAK_EWMA
    refresh_s: float = 5.0  # CoreDNS answers for headless services with a time to live of 5 s
    hedge_after_s: float | None = None

    def __post_init__(self) -> None:
        for field, seconds in (("refresh_s", self.refresh_s), ("hedge_after_s", self.hedge_after_s)):
            if seconds is not None and not 0 < seconds < math.inf:
                problem = Problem(
                    what="out of range", field=f"balance.{field}", found=repr(seconds), allowed="seconds above 0"
                )
                raise InputError(problem)


class BalancedTransport:
    """Requests to the replicas behind one name, within one event loop."""

    def __init__(
        self,
        balance: Balance,
        *,
        resolve: Resolve,
        connect: Callable[[str], AsyncTransport],
        may_hedge: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._balance = balance
        self._resolve, self._connect, self._may_hedge = resolve, connect, may_hedge
        self._clock, self._draw = clock, draw
        self._replicas: dict[str, Replica] = {}
        self._transports: dict[str, AsyncTransport] = {}
        self._looked_up_s = float("-inf")
        self._look_up: asyncio.Task[None] | None = None

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """What is known of each replica now."""
        return tuple(self._replicas.values())

    async def send(self, request: Request, timeout_s: float) -> Answer:
        """One attempt, hedged where that is asked for."""
        started_s = self._clock()
        try:
            async with asyncio.timeout(timeout_s):
                await self._refresh(self._balance.refresh_s)
        except TimeoutError:
            return unanswered(Outcome.LATE, f"no address within {timeout_s:.3g} s")
        left_s = max(timeout_s - (self._clock() - started_s), _SHORTEST_WAIT_S)
        if self._balance.hedge_after_s is None:
            return await self._attempt(request, left_s, set())
        return await self._hedged(request, left_s, self._balance.hedge_after_s)

    async def close(self) -> None:
        if self._look_up is not None:
            self._look_up.cancel()
            await asyncio.gather(self._look_up, return_exceptions=True)
        await asyncio.gather(*(transport.close() for transport in self._transports.values()))
        self._transports.clear()

    async def _attempt(self, request: Request, timeout_s: float, used: set[str]) -> Answer:
        """Ask one replica, one that is not in `used` where there is a choice, and note it there."""
        chosen = self._choose(used)
        if chosen is None:
            return unanswered(Outcome.UNAVAILABLE, "no address", "the name stands for no replica", again=True)
        address = chosen.address
        used.add(address)
        self._replicas[address] = begin(chosen)
        started_s, answer = self._clock(), None
        try:
            answer = await self._transport(address).send(request, timeout_s)
        finally:
            await self._settle(address, answer, started_s)
        return self._elsewhere(answer)

    def _choose(self, avoid: Collection[str] = ()) -> Replica | None:
        return choose(self.replicas, now_s=self._clock(), rule=self._balance.rule, draw=self._draw(), avoid=avoid)

    def _transport(self, address: str) -> AsyncTransport:
        transport = self._transports.get(address)
        if transport is None:
            transport = self._transports[address] = self._connect(address)
        return transport

    async def _settle(self, address: str, answer: Answer | None, started_s: float) -> None:
        now_s, replica = self._clock(), self._replicas[address]
        if answer is None:  # cancelled
            replica = give_up(replica)
        else:
            took_s = now_s - started_s
            replica = settle(replica, answer.outcome, took_s=took_s, now_s=now_s, rest_s=answer.retry_after_s)
            if answer.outcome in _UNREACHED and answer.retry_after_s is None:
                self._start_look_up(SHORTEST_REFRESH_S)
        self._replicas[address] = replica
        await self._forget_gone()

    def _elsewhere(self, answer: Answer) -> Answer:
        """One replica's wish to be left alone is no reason to wait while another one is live."""
        if not answer.retry_after_s or not any(replica.live(self._clock()) for replica in self.replicas):
            return answer
        return replace(answer, retry_after_s=0.0)

    async def _hedged(self, request: Request, timeout_s: float, after_s: float) -> Answer:
        used: set[str] = set()
        tasks = [asyncio.create_task(self._attempt(request, timeout_s, used))]
        try:
            done, _ = await asyncio.wait(tasks, timeout=min(after_s, timeout_s))
            other = None if done else self._choose(used)
            if other is not None and other.address not in used and self._may_hedge():
                tasks.append(
                    asyncio.create_task(self._attempt(request, max(timeout_s - after_s, _SHORTEST_WAIT_S), used))
                )
            return await _first_good(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self, older_than_s: float) -> None:
        """See that the addresses are looked up; wait for it only where there are none, or only very old ones."""
        self._start_look_up(older_than_s)
        stale = self._clock() - self._looked_up_s > 2 * older_than_s
        if self._look_up is not None and (stale or not self._replicas):
            await asyncio.shield(self._look_up)

    def _start_look_up(self, older_than_s: float) -> None:
        if self._look_up is None and self._clock() - self._looked_up_s > older_than_s:
            self._look_up = asyncio.create_task(self._look_up_now())

    async def _look_up_now(self) -> None:
        """Take over the addresses; where the look-up fails or finds none, the old ones stay."""
        try:
            addresses = await self._resolve()
        finally:
            self._looked_up_s, self._look_up = self._clock(), None
        if addresses:
            self._replicas = {found.address: found for found in reconcile(self.replicas, addresses)}
            await self._forget_gone()

    async def _forget_gone(self) -> None:
        over = [replica.address for replica in self.replicas if replica.gone and not replica.in_flight]
        for address in over:
            del self._replicas[address]
        for address in self._transports.keys() - self._replicas.keys():
            transport = self._transports.pop(address, None)
            if transport is not None:
                await transport.close()


async def _first_good(tasks: list[asyncio.Task[Answer]]) -> Answer:
    """The first good answer, or the last one where none is good."""
    waiting: set[asyncio.Task[Answer]] = set(tasks)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        answers = [task.result() for task in done]
        best = next((answer for answer in answers if answer.outcome is Outcome.ANSWERED), answers[-1])
        if best.outcome is Outcome.ANSWERED or not waiting:
            return best
