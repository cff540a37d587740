"""Replicas that serve one request at a time: against simpy, and laws of what each second brings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.arrivals import Block, Times
from kserve_ext.simulate.service_time import Constant, Lognormal
from kserve_ext.simulate.slot_pool import RING_S, Advance, SlotPool

DURATION_S = 40
SERVICE = Lognormal(loc_s=0.05, scale_s=0.4, shape=0.8)
moments = st.lists(st.floats(0, 20.0), max_size=80).map(sorted)


def pool(replicas: int, *, timeout_s: float = 300.0, seed: int = 0) -> SlotPool:
    made = SlotPool(SERVICE, timeout_s=timeout_s, seed=seed)
    for _ in range(replicas):
        made.add(0.0)
    return made


def seconds(served: SlotPool, times_s: list[float], duration_s: int = DURATION_S) -> list[Advance]:
    block = Block(0, duration_s, np.array(times_s))
    served.load(block.times_s)
    return [served.advance(count, second) for second, count in enumerate(block.counts().tolist())]


def latencies_s(brought: list[Advance]) -> Times:
    return np.concatenate([second.latencies_s for second in brought])


def services_s(count: int, seed: int = 0) -> list[float]:
    return SERVICE.draw_s(np.random.default_rng((seed, 21)), count).tolist()


def by_simpy(times_s: list[float], replicas: int, seed: int) -> list[float]:
    """Replicas as processes that take from one store."""
    env = simpy.Environment()
    store = simpy.Store(env)
    latencies: dict[int, float] = {}
    jobs = list(zip(times_s, services_s(len(times_s), seed), strict=True))

    def replica() -> Iterator[Any]:
        while True:
            request, arrival, service = yield store.get()
            yield env.timeout(service)
            latencies[request] = env.now - arrival

    def clients() -> Iterator[Any]:
        for request, (arrival, service) in enumerate(jobs):
            yield env.timeout(max(0.0, arrival - env.now))
            store.put((request, arrival, service))

    for _ in range(replicas):
        env.process(replica())
    env.process(clients())
    env.run()
    return [latencies[request] for request in range(len(times_s))]


@given(moments, st.integers(1, 9), st.integers(0, 99))
def test_every_request_takes_as_long_as_in_simpy(times_s: list[float], replicas: int, seed: int) -> None:
    brought = seconds(pool(replicas, seed=seed), times_s, duration_s=400)
    assert latencies_s(brought) == pytest.approx(by_simpy(times_s, replicas, seed), abs=1e-9)


@given(moments, st.integers(1, 9))
def test_time_waited_and_served_is_the_sum_of_the_latencies(times_s: list[float], replicas: int) -> None:
    served = pool(replicas)
    brought = seconds(served, times_s, duration_s=400)
    assert served.waiting == 0
    assert sum(second.waiting + second.busy for second in brought) == pytest.approx(latencies_s(brought).sum())
    assert sum(second.busy for second in brought) == pytest.approx(sum(services_s(len(times_s))))


@given(moments, st.integers(0, 3), st.floats(0.1, 3.0))
def test_every_request_is_answered_dropped_or_still_waiting(
    times_s: list[float], replicas: int, timeout_s: float
) -> None:
    served = pool(replicas, timeout_s=timeout_s)
    brought = seconds(served, times_s, duration_s=21)
    dropped = sum(second.dropped for second in brought)
    assert len(latencies_s(brought)) + dropped + served.waiting == len(times_s)
    assert len(times_s) == dropped + served.waiting or replicas


@given(moments, st.lists(st.integers(1, DURATION_S - 1), unique=True, max_size=6).map(sorted), st.integers(0, 5))
def test_requests_that_wait_when_the_next_block_is_loaded_keep_their_place_and_service_time(
    times_s: list[float], cuts: list[int], replicas: int
) -> None:
    whole = seconds(pool(replicas, timeout_s=2.0), times_s)
    served = pool(replicas, timeout_s=2.0)
    cut: list[Advance] = []
    for start_s, end_s in zip((0, *cuts), (*cuts, DURATION_S), strict=True):
        block = Block(start_s, end_s, np.array([moment for moment in times_s if start_s <= moment < end_s]))
        served.load(block.times_s)
        cut += [served.advance(count, start_s + place) for place, count in enumerate(block.counts().tolist())]
    assert [(each.latencies_s.tolist(), *each[1:]) for each in cut] == [
        (each.latencies_s.tolist(), *each[1:]) for each in whole
    ]


def test_a_removed_replica_is_the_one_that_is_free_first_and_ends_what_it_serves() -> None:
    served = pool(2)
    seconds(served, [0.5], duration_s=1)
    (service_s,) = services_s(1)
    assert served.remove(0.9) == 0.9  # it was idle
    assert served.remove(0.9) == max(0.9, 0.5 + service_s)
    assert served.ready == 0


def test_a_service_time_that_cannot_be_accounted_for_is_refused() -> None:
    served = SlotPool(Constant(time_s=RING_S), timeout_s=300.0, seed=0)
    with pytest.raises(ValueError, match="a service time of 4096 s"):
        served.load(np.array([0.5]))
