from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kserve_ext.bench.message import Request
from kserve_ext.client import AsyncClient, Balance, Rule, UnavailableError
from kserve_ext.client.answer import Answer, Outcome, http_answer, unanswered
from kserve_ext.client.balanced import BalancedTransport
from kserve_ext.client.resolve import resolver
from kserve_ext.errors import InputError

REQUEST = Request(path="/x")
GOOD = http_answer(200, b"")
REFUSED = unanswered(Outcome.UNAVAILABLE, "connection refused", again=True)


class Fleet:
    """Replicas in memory, on a clock of its own: what each answers, and what it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: tuple[str, ...] = addresses
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.closed: list[str] = []
        self.look_ups = 0
        self.now_s = 0.0
        self.blocked: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []

    async def resolve(self) -> tuple[str, ...]:
        self.look_ups += 1
        return self.addresses

    def connect(self, address: str) -> Any:
        return _Replica(self, address)

    def transport(self, *, may_hedge: bool = True, draw: float = 0.0, **balance: Any) -> BalancedTransport:
        return BalancedTransport(
            Balance(**balance),
            resolve=self.resolve,
            connect=self.connect,
            may_hedge=lambda: may_hedge,
            clock=lambda: self.now_s,
            draw=lambda: draw,
        )


class _Replica:
    def __init__(self, fleet: Fleet, address: str) -> None:
        self.fleet, self.address = fleet, address

    async def send(self, request: Request, timeout_s: float) -> Answer:
        self.fleet.asked.append(self.address)
        try:
            if self.address in self.fleet.blocked:
                await self.fleet.blocked[self.address].wait()
        except asyncio.CancelledError:
            self.fleet.cancelled.append(self.address)
            raise
        return self.fleet.answers.get(self.address, GOOD)

    async def close(self) -> None:
        self.fleet.closed.append(self.address)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story that must not hang."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(bounded())


@pytest.mark.parametrize("rule", list(Rule))
def test_requests_at_once_are_spread_over_all_replicas(rule: Rule) -> None:
    async def story() -> None:
        fleet = Fleet("a", "b", "c")
        fleet.blocked = {address: asyncio.Event() for address in "abc"}
        transport = fleet.transport(rule=rule)
        requests = [asyncio.create_task(transport.send(REQUEST, 5)) for _ in range(12)]
        while len(fleet.asked) < 12:
            await asyncio.sleep(0)
        assert Counter(fleet.asked) == {"a": 4, "b": 4, "c": 4}
        for event in fleet.blocked.values():
            event.set()
        await asyncio.gather(*requests)
        assert {replica.in_flight for replica in transport.replicas} == {0}
        await transport.close()
        assert sorted(fleet.closed) == ["a", "b", "c"]

    run(story)


def test_a_replica_that_is_not_reached_is_left_out_and_tried_again_after_its_rest() -> None:
    async def story() -> None:
        fleet = Fleet("a", "b")
        fleet.answers["a"] = REFUSED
        transport = fleet.transport(rule=Rule.LEAST_REQUEST)
        assert (await transport.send(REQUEST, 5)).again
        for _ in range(5):
            assert await transport.send(REQUEST, 5) == GOOD
        assert fleet.asked == ["a", "b", "b", "b", "b", "b"]
        fleet.answers.clear()
        fleet.now_s += 1.0
        await transport.send(REQUEST, 5)
        assert fleet.asked[-1] == "a"
        await transport.close()

    run(story)


def test_the_name_is_looked_up_again_when_it_is_old_and_when_a_replica_is_not_reached() -> None:
    async def story() -> None:
        fleet = Fleet("a")
        transport = fleet.transport(refresh_s=5.0)
        for _ in range(3):
            await transport.send(REQUEST, 5)
        assert fleet.look_ups == 1
        fleet.now_s += 6.0
        fleet.addresses = ("a", "b")
        await transport.send(REQUEST, 5)
        await asyncio.sleep(0)
        assert fleet.look_ups == 2
        assert [replica.address for replica in transport.replicas] == ["a", "b"]
        fleet.now_s += 1.0
        fleet.answers = {"a": REFUSED, "b": REFUSED}
        await transport.send(REQUEST, 5)
        await asyncio.sleep(0)
        assert fleet.look_ups == 3
        await transport.close()

    run(story)


def test_after_a_long_silence_the_name_is_looked_up_before_anything_is_sent() -> None:
    async def story() -> None:
        fleet = Fleet("old")
        transport = fleet.transport(refresh_s=5.0)
        await transport.send(REQUEST, 5)
        fleet.now_s, fleet.addresses = 100.0, ("new",)
        await transport.send(REQUEST, 5)
        assert fleet.asked == ["old", "new"]
        assert fleet.closed == ["old"]
        await transport.close()

    run(story)


def test_a_replica_that_left_answers_what_it_has_and_is_then_closed() -> None:
    async def story() -> None:
        fleet = Fleet("a")
        fleet.blocked["a"] = asyncio.Event()
        transport = fleet.transport(refresh_s=5.0)
        last = asyncio.create_task(transport.send(REQUEST, 5))
        while not fleet.asked:
            await asyncio.sleep(0)
        fleet.now_s, fleet.addresses = 100.0, ("b",)
        await transport.send(REQUEST, 5)
        assert (fleet.asked, fleet.closed) == (["a", "b"], [])
        fleet.blocked["a"].set()
        assert await last == GOOD
        assert fleet.closed == ["a"]
        await transport.close()

    run(story)


def test_a_look_up_that_finds_nothing_keeps_what_was_known() -> None:
    async def story() -> None:
        fleet = Fleet("a")
        transport = fleet.transport()
        await transport.send(REQUEST, 5)
        fleet.now_s, fleet.addresses = 100.0, ()
        assert await transport.send(REQUEST, 5) == GOOD
        await transport.close()

    run(story)


def test_a_name_without_addresses_may_be_asked_again() -> None:
    async def story() -> None:
        answer = await Fleet().transport().send(REQUEST, 5)
        assert (answer.outcome, answer.again, answer.reply.outcome) == (Outcome.UNAVAILABLE, True, "no address")

    run(story)


def test_a_full_replica_does_not_make_a_request_wait_while_another_is_free() -> None:
    async def story() -> None:
        fleet = Fleet("a", "b")
        fleet.answers = dict.fromkeys("ab", http_answer(503, b"", retry_after="3"))
        transport = fleet.transport(rule=Rule.LEAST_REQUEST)
        assert (await transport.send(REQUEST, 5)).retry_after_s == 0.0
        assert (await transport.send(REQUEST, 5)).retry_after_s == 3.0
        assert fleet.asked == ["a", "b"]
        await transport.close()

    run(story)


def test_a_cancelled_request_frees_its_place() -> None:
    async def story() -> None:
        fleet = Fleet("a")
        fleet.blocked["a"] = asyncio.Event()
        transport = fleet.transport()
        task = asyncio.create_task(transport.send(REQUEST, 5))
        while not fleet.asked:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (replica,) = transport.replicas
        assert (replica.in_flight, replica.strikes, replica.latency_s) == (0, 0, None)
        await transport.close()

    run(story)


@pytest.mark.parametrize(
    ("hedge_after_s", "may_hedge", "asked"), [(0.01, True, ["a", "b"]), (0.01, False, ["a"]), (None, True, ["a"])]
)
def test_a_slow_request_is_hedged_only_where_that_is_asked_for_and_the_budget_allows_it(
    hedge_after_s: float | None, may_hedge: bool, asked: list[str]
) -> None:
    async def story() -> None:
        fleet = Fleet("a", "b")
        fleet.blocked["a"] = asyncio.Event()
        transport = fleet.transport(may_hedge=may_hedge, hedge_after_s=hedge_after_s, rule=Rule.LEAST_REQUEST)
        task = asyncio.create_task(transport.send(REQUEST, 5))
        if asked == ["a"]:
            await asyncio.sleep(0.05)
            fleet.blocked["a"].set()
        assert await task == GOOD
        assert fleet.asked == asked
        assert fleet.cancelled == asked[:-1]
        assert {replica.in_flight for replica in transport.replicas} == {0}
        await transport.close()

    run(story)


def test_a_request_is_not_hedged_where_no_other_replica_is_live() -> None:
    async def story() -> None:
        fleet = Fleet("a", "b")
        fleet.answers["b"] = REFUSED
        transport = fleet.transport(draw=0.9, hedge_after_s=0.01, rule=Rule.LEAST_REQUEST)
        await transport.send(REQUEST, 5)
        fleet.blocked["a"] = asyncio.Event()
        task = asyncio.create_task(transport.send(REQUEST, 5))
        await asyncio.sleep(0.05)
        fleet.blocked["a"].set()
        assert await task == GOOD
        assert fleet.asked == ["b", "a"]
        await transport.close()

    run(story)


@pytest.mark.parametrize("field", ["refresh_s", "hedge_after_s"])
@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_time_out_of_range_names_the_field(field: str, seconds: float) -> None:
    with pytest.raises(InputError, match=f"balance.{field}: out of range"):
        Balance(**{field: seconds})  # type: ignore[arg-type]


def test_a_hedge_that_fails_leaves_the_first_request_its_time() -> None:
    async def story() -> None:
        fleet = Fleet("a", "b")
        fleet.blocked["a"] = asyncio.Event()
        fleet.answers["b"] = http_answer(500, b"")
        transport = fleet.transport(hedge_after_s=0.01, rule=Rule.LEAST_REQUEST)
        task = asyncio.create_task(transport.send(REQUEST, 5))
        while len(fleet.asked) < 2:
            await asyncio.sleep(0.001)
        fleet.blocked["a"].set()
        assert await task == GOOD
        await transport.close()

    run(story)


def test_an_address_stands_for_itself_and_an_unknown_name_for_nothing() -> None:
    assert asyncio.run(resolver("127.0.0.1")()) == ("127.0.0.1",)
    assert asyncio.run(resolver("no-such-name.invalid")()) == ()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_balanced_client_of_a_name_without_addresses_says_so(scheme: str) -> None:
    async def story() -> None:
        async with AsyncClient(f"{scheme}://no-such-name.invalid:80", balance=Balance()) as client:
            with pytest.raises(UnavailableError, match="no address"):
                await client.infer("m", {"x": [1.0]})
            assert not await client.ready()

    run(story)


def test_a_balanced_client_asks_the_server_by_the_name_it_was_given(http_server: Any) -> None:
    async def story() -> None:
        server = http_server()
        port = server.url.rpartition(":")[2]
        async with AsyncClient(f"http://localhost:{port}", balance=Balance()) as client:
            answers = [await client.infer("m", {"x": [1.0]}) for _ in range(3)]
        assert [answer["y"].item() for answer in answers] == [2.5] * 3
        assert {seen.headers["Host"] for seen in server.seen} == {f"localhost:{port}"}

    run(story)
