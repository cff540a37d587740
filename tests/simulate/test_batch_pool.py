"""Replicas that batch, second by second: beside those that serve one at a time, and laws of what each second brings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.arrivals import Block
from kserve_ext.simulate.batch_pool import BatchPool, BatchService
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.law import LEVELS, ServiceLaw, constant_law
from kserve_ext.simulate.service_time import Constant
from kserve_ext.simulate.slot_pool import Advance, SlotPool

DURATION_S = 120
moments = st.lists(st.floats(0, 20.0), max_size=60, unique=True).map(sorted)


def batch_service(times_s: list[float], *, limit: int) -> BatchService:
    stage = Stage(law=constant_law(times_s), max_batch_size=len(times_s), max_queue_delay_s=0.0, instances=1)
    return BatchService(stages=(stage,), concurrency_limit=limit)


def seconds(served: BatchPool | SlotPool, times_s: list[float], replicas: int) -> list[Advance]:
    for _ in range(replicas):
        served.add(0.0)
    block = Block(0, DURATION_S, np.array(times_s))
    served.load(block.times_s)
    return [served.advance(count, second) for second, count in enumerate(block.counts().tolist())]


@given(moments, st.integers(1, 5), st.floats(0.01, 1.5))
def test_replicas_with_batches_of_one_behind_a_limit_of_one_serve_one_request_at_a_time(
    times_s: list[float], replicas: int, service_s: float
) -> None:
    batching = BatchPool(batch_service([service_s], limit=1), timeout_s=300.0, seed=0)
    plain = SlotPool(Constant(time_s=service_s), timeout_s=300.0, seed=0)
    ours, theirs = seconds(batching, times_s, replicas), seconds(plain, times_s, replicas)
    assert [second.busy for second in ours] == pytest.approx([second.busy for second in theirs], abs=1e-6)
    assert [second.waiting for second in ours] == pytest.approx([second.waiting for second in theirs], abs=1e-6)
    ours_s = np.concatenate([second.latencies_s for second in ours])
    assert ours_s == pytest.approx(np.concatenate([second.latencies_s for second in theirs]), abs=1e-6)


@given(moments, st.integers(1, 4), st.integers(1, 9), st.integers(1, 20))
def test_instances_are_busy_for_as_long_as_their_batches_take_also_of_a_replica_that_is_taken_away(
    times_s: list[float], replicas: int, limit: int, removed_s: int
) -> None:
    """What the pool adds up as it goes is what it would find if it looked at every replica."""
    served = BatchPool(batch_service([0.4, 0.5, 0.55, 0.6], limit=limit), timeout_s=300.0, seed=0)
    for _ in range(replicas + 1):
        served.add(0.0)
    block = Block(0, DURATION_S, np.array(times_s))
    served.load(block.times_s)
    for second, count in enumerate(block.counts().tolist()):
        if second == removed_s:
            served.remove(float(second))
        served.advance(count, second)
        assert served._busy == sum(server.busy_instances for server in served._servers.values())
    assert served.waiting == 0


def test_requests_that_two_instances_finish_at_the_same_moment_are_both_answered() -> None:
    law = ServiceLaw(batches=(1,), values_s=(((0.1,) * LEVELS,),) * 2)
    stage = Stage(law=law, max_batch_size=1, max_queue_delay_s=None, instances=2)
    served = BatchPool(BatchService(stages=(stage,), concurrency_limit=4), timeout_s=300.0, seed=0)
    first, *_ = seconds(served, [0.2, 0.2], 1)
    assert first.latencies_s == pytest.approx([0.1, 0.1])
