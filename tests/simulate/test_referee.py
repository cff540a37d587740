"""Two implementations of one algorithm: ours by events, the other by threads (referee.py). They must agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from simulate import referee

from kserve_ext.simulate import batcher
from kserve_ext.simulate.batcher import Seconds, Stage, simulate
from kserve_ext.simulate.law import LEVELS, ServiceLaw

REQUESTS = 150


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server and its arrivals, drawn from a seed: 20 % to 130 % of what it can take."""

    seed: int
    max_batch: int
    instances: int
    fixed_s: float
    row_s: float
    slowing: float
    delay_s: float
    arrivals_s: Seconds

    def service_s(self, batch: int, busy: int) -> float:
        return (self.fixed_s + self.row_s * batch) * (1 + self.slowing * (busy - 1))

    def ours(self, *, batching: bool = True) -> batcher.Trace:
        values_s = tuple(
            tuple((self.service_s(batch, busy),) * LEVELS for batch in range(1, self.max_batch + 1))
            for busy in range(1, self.instances + 1)
        )
        law = ServiceLaw(batches=tuple(range(1, self.max_batch + 1)), values_s=values_s)
        stage = Stage(
            law=law, max_batch_size=self.max_batch, max_queue_delay_s=self.delay_s if batching else None,
            instances=self.instances,
        )  # fmt: skip
        return simulate(self.arrivals_s, [stage], seed=self.seed)

    def theirs(self) -> tuple[list[float], list[int]]:
        return referee.run(
            self.arrivals_s.tolist(), service_s=self.service_s, max_batch=self.max_batch, delay_s=self.delay_s,
            instances=self.instances,
        )  # fmt: skip


def case(seed: int, *, delayed: bool, requests: int = REQUESTS) -> Case:
    draw = np.random.default_rng(seed)
    max_batch, instances = int(draw.integers(1, 9)), int(draw.integers(1, 4))
    fixed_s, row_s = float(draw.uniform(1e-3, 2e-2)), float(draw.uniform(2e-4, 5e-3))
    saturated_rps = instances * max_batch / (fixed_s + row_s * max_batch)
    gaps = draw.exponential(1 / (draw.uniform(0.2, 1.3) * saturated_rps), requests)
    return Case(
        seed=seed, max_batch=max_batch, instances=instances, fixed_s=fixed_s, row_s=row_s,
        slowing=float(draw.uniform(0, 0.4)), delay_s=float(draw.uniform(0.2, 2)) * fixed_s if delayed else 0.0,
        arrivals_s=np.cumsum(gaps),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_without_a_delay_every_answer_comes_at_the_same_moment(seed: int) -> None:
    drawn = case(seed, delayed=False)
    done_s, batches = drawn.theirs()
    trace = drawn.ours()
    assert trace.done_s == pytest.approx(done_s, abs=1e-7)
    assert list(trace.batch_sizes[0]) == batches


@pytest.mark.parametrize("seed", range(150))
def test_with_a_delay_every_answer_comes_at_the_same_moment(seed: int) -> None:
    drawn = case(seed, delayed=True)
    done_s, batches = drawn.theirs()
    trace = drawn.ours()
    assert trace.done_s == pytest.approx(done_s, abs=1e-7)
    assert list(trace.batch_sizes[0]) == batches
