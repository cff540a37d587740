"""One model at work: whatever comes, in whatever order, each request gets exactly its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.sample_predictors import CRASH, NAN, REFUSE, ROW, Doubler, Dying, Gated, Unloadable

from kserve_ext.serving.engine import Engine
from kserve_ext.serving.faults import BadRequest, ClientGone, Fault, ModelFailed, NotReady, TooLate
from kserve_ext.serving.health import State
from kserve_ext.serving.predictor import Predictor
from kserve_ext.serving.settings import Execution, Settings

THREADS = Settings(execution=Execution.THREAD, max_batch_size=8)


@pytest.fixture
def gate() -> Iterator[type[Gated]]:
    Gated.gate.clear()
    while Gated.entered.acquire(blocking=False):
        pass
    yield Gated
    Gated.gate.set()


def serve(predictor: type[Predictor], settings: Settings, use: Callable[[Engine], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        engine = Engine("m", predictor, Path("."), settings)
        await engine.start()
        try:
            return await use(engine)
        finally:
            engine.stop()

    return asyncio.run(main())


def tensor(*firsts: float, tail: float = 7.0) -> dict[str, np.ndarray[Any, Any]]:
    array = np.full((len(firsts), ROW), tail, np.float32)
    array[:, 0] = firsts
    return {"x": array}


async def entered() -> None:
    """Until a batch is inside the gate."""
    assert await asyncio.to_thread(Gated.entered.acquire, timeout=30)


EXPECTED = {CRASH: ModelFailed, REFUSE: BadRequest, NAN: ModelFailed}
request_lists = st.lists(
    st.tuples(
        st.lists(st.sampled_from([1.0, 2.0, 3.0, CRASH, REFUSE, NAN]), min_size=1, max_size=12),
        st.integers(0, 2),  # turns of the loop before the next request
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.parametrize("execution", [Execution.THREAD, Execution.INLINE])
@settings(max_examples=60)
@given(request_lists, st.integers(1, 3), st.sampled_from([1, 4, 8]))
def test_any_interleaving_of_good_and_bad_requests_gives_each_its_own_answer(
    execution: Execution, requests: list[tuple[list[float], int]], instances: int, most: int
) -> None:
    async def use(engine: Engine) -> list[Any]:
        futures = []
        for place, (firsts, turns) in enumerate(requests):
            futures.append(engine.submit(tensor(*firsts, tail=float(place))))
            for _ in range(turns):
                await asyncio.sleep(0)
        return await asyncio.gather(*futures, return_exceptions=True)

    outcomes = serve(Doubler, Settings(execution=execution, instances=instances, max_batch_size=most), use)
    for place, ((firsts, _), outcome) in enumerate(zip(requests, outcomes, strict=True)):
        bad = [first for first in firsts if first in EXPECTED]
        if bad:
            assert isinstance(outcome, tuple({EXPECTED[first] for first in bad})), outcome
        else:
            np.testing.assert_array_equal(outcome["y"], 2 * tensor(*firsts, tail=float(place))["x"])


def test_what_arrives_while_the_instance_is_busy_leaves_together(gate: type[Gated]) -> None:
    async def use(engine: Engine) -> dict[int, list[float]]:
        first = engine.submit(tensor(1))
        await entered()
        rest = [engine.submit(tensor(number)) for number in range(2, 7)]
        await asyncio.sleep(0)
        gate.gate.set()
        await asyncio.gather(first, *rest)
        return engine.tally.batches

    assert {rows: sums[0] for rows, sums in serve(gate, THREADS, use).items()} == {1: 1, 5: 1}


def test_a_bounded_wait_fills_the_batch_of_an_idle_instance() -> None:
    async def use(engine: Engine) -> list[int]:
        await asyncio.gather(*(engine.submit(tensor(number)) for number in range(1, 5)))
        return list(engine.tally.batches)

    waiting = Settings(execution=Execution.THREAD, max_batch_size=4, max_queue_delay_s=3600.0)
    assert serve(Doubler, waiting, use) == [4]


def test_a_deadline_that_passes_while_waiting_is_told_and_never_run(gate: type[Gated]) -> None:
    async def use(engine: Engine) -> None:
        running = engine.submit(tensor(1))
        await entered()
        with pytest.raises(TooLate):
            await engine.submit(tensor(2), deadline_s=monotonic() + 0.01)
        gate.gate.set()
        await running
        assert engine.tally.rows == 1

    serve(gate, THREADS, use)


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    async def use(engine: Engine) -> None:
        with pytest.raises(TooLate):
            engine.submit(tensor(1), deadline_s=monotonic() - 1)

    serve(Doubler, THREADS, use)


@pytest.mark.parametrize("running", [True, False], ids=["its batch runs", "it waits"])
def test_a_client_that_hangs_up_ends_its_request(gate: type[Gated], running: bool) -> None:
    hung_up: list[float] = []

    async def use(engine: Engine) -> None:
        first = engine.submit(tensor(1), gone=lambda: 1 in hung_up)
        await entered()
        second = engine.submit(tensor(2), gone=lambda: 2 in hung_up)
        hung_up.append(1 if running else 2)
        with pytest.raises(ClientGone):
            await (first if running else second)
        gate.gate.set()
        await (second if running else first)
        assert (engine.tally.failed, engine.tally.succeeded) == (1, 1)

    serve(gate, THREADS, use)


def test_a_cancelled_request_no_longer_waits(gate: type[Gated]) -> None:
    async def use(engine: Engine) -> None:
        first = engine.submit(tensor(1))
        await entered()
        second = engine.submit(tensor(2))
        second.cancel()
        while engine.waiting:
            await asyncio.sleep(0.001)
        gate.gate.set()
        await first
        assert engine.tally.rows == 1

    serve(gate, THREADS, use)


def test_an_instance_that_is_stuck_makes_the_model_unready_until_it_comes_back(gate: type[Gated]) -> None:
    async def use(engine: Engine) -> None:
        running = engine.submit(tensor(1))
        await entered()
        while "busy with one batch" not in engine.why_unready():
            await asyncio.sleep(0)
        gate.gate.set()
        await running
        assert engine.why_unready() == ""

    serve(gate, Settings(execution=Execution.THREAD, stuck_after_s=0.001), use)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "no inputs"),
        ({"z": np.zeros((1, ROW), np.float32)}, "no input `z`; it has `x`"),
        ({"x": np.zeros((1, ROW))}, "is FP64, not FP32"),
        ({"x": np.zeros((1, ROW + 1), np.float32)}, r"shape \[1, 5\], not \[batch, 4\]"),
        ({"x": np.zeros((0, ROW), np.float32)}, "no rows"),
        ({"x": np.float32(1).reshape(())}, "no dimensions"),
    ],
)
def test_tensors_that_do_not_fit_the_signature_are_refused(tensors: Any, words: str) -> None:
    async def use(engine: Engine) -> None:
        with pytest.raises(BadRequest, match=words):
            engine.submit(tensors)

    serve(Doubler, THREADS, use)


def test_without_a_batch_dimension_each_request_runs_alone_in_its_own_shape() -> None:
    class Adder(Predictor):
        def predict(self, batch: Any) -> Any:
            return {"sum": np.array([array.sum() for array in batch.values()])}

    async def use(engine: Engine) -> Any:
        pair = {"a": np.ones((2, 3)), "b": np.ones(5)}
        return await asyncio.gather(engine.submit(pair), engine.submit({"a": np.array(7.0)}))

    first, second = serve(Adder, Settings(execution=Execution.THREAD, max_batch_size=0), use)
    assert (first["sum"].tolist(), second["sum"].tolist()) == ([6, 5], [7])


def test_a_model_that_does_not_load_says_why_and_takes_no_requests() -> None:
    async def use() -> None:
        engine = Engine("m", Unloadable, Path("."), THREADS)
        with pytest.raises(FileNotFoundError, match="no weights"):
            await engine.start()
        assert engine.why_unready() == "failed to load"
        with pytest.raises(NotReady):
            engine.submit(tensor(1))

    asyncio.run(use())


def test_an_unloaded_model_tells_those_who_wait_and_loads_again(gate: type[Gated]) -> None:
    async def use(engine: Engine) -> None:
        running = engine.submit(tensor(1))
        await entered()
        waiting = engine.submit(tensor(2))
        engine.stop(State.UNLOADED)
        with pytest.raises(NotReady):
            await waiting
        with pytest.raises(NotReady):
            await running
        gate.gate.set()
        await engine.start()
        assert (await engine.submit(tensor(3)))["y"][0, 0] == 6

    serve(gate, THREADS, use)


def test_an_answer_that_comes_after_the_loop_was_closed_is_dropped_without_a_word(
    gate: type[Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    before = set(threading.enumerate())

    async def use(engine: Engine) -> set[threading.Thread]:
        request = engine.submit(tensor(1))
        await entered()
        instances = set(threading.enumerate()) - before
        engine.stop(State.UNLOADED)
        with pytest.raises(NotReady):
            await request
        return {thread for thread in instances if thread.name.startswith(engine.name)}

    instances = serve(gate, THREADS, use)
    gate.gate.set()
    for instance in instances:
        instance.join(timeout=30)
    assert len(instances) == 1
    assert not any(instance.is_alive() for instance in instances)
    assert not raised


def test_a_process_that_dies_takes_only_the_request_that_killed_it() -> None:
    async def use(engine: Engine) -> list[Any]:
        requests = [tensor(first) for first in (1.0, CRASH, 2.0)]
        return await asyncio.gather(*map(engine.submit, requests), return_exceptions=True)

    first, second, third = serve(Dying, Settings(execution=Execution.PROCESS, max_batch_size=4), use)
    assert first["y"][0, 0] == 2
    assert third["y"][0, 0] == 4
    assert isinstance(second, Fault)
    assert "exit code 3" in second.message
