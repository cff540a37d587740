"""Two implementations of one path: ours by events, the other by a process per request (path_referee.py)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from simulate import referee
from simulate.path import path_referee
from simulate.path.stages import stage

from kserve_ext.simulate.batcher import Seconds
from kserve_ext.simulate.path import Served, serve_path

REQUESTS = 250


@dataclass(frozen=True, kw_only=True)
class Case:
    """Replicas and their arrivals, drawn from a seed: 30 % to 300 % of what they can take."""

    replicas: int
    limit: int
    max_batch: int
    instances: int
    fixed_s: float
    row_s: float
    slowing: float
    delay_s: float
    timeout_s: float
    arrivals_s: Seconds

    def service_s(self, batch: int, busy: int) -> float:
        return (self.fixed_s + self.row_s * batch) * (1 + self.slowing * (busy - 1))

    def ours(self, *, proxied: bool) -> Served:
        each = stage(
            fixed_s=self.fixed_s, row_s=self.row_s, max_batch=self.max_batch, instances=self.instances,
            delay_s=self.delay_s, slowing=self.slowing,
        )  # fmt: skip
        return serve_path(
            self.arrivals_s, self.replicas, self.limit, stages=[each], proxied=proxied, timeout_s=self.timeout_s
        )

    def theirs(self, *, proxied: bool) -> list[path_referee.Ending]:
        model = partial(
            referee.Model, service_s=self.service_s, max_batch=self.max_batch, delay_s=self.delay_s,
            instances=self.instances,
        )  # fmt: skip
        return path_referee.run(
            self.arrivals_s.tolist(), replicas=self.replicas, limit=self.limit, timeout_s=self.timeout_s,
            proxied=proxied, model=model,
        )  # fmt: skip


def case(seed: int, *, fewest: int, delayed: bool = False) -> Case:
    draw = np.random.default_rng(seed)
    max_batch, instances, replicas = int(draw.integers(1, 9)), int(draw.integers(1, 3)), int(draw.integers(1, 4))
    fixed_s, row_s = float(draw.uniform(1e-3, 2e-2)), float(draw.uniform(2e-4, 5e-3))
    saturated_rps = replicas * instances * max_batch / (fixed_s + row_s * max_batch)
    gaps = draw.exponential(1 / (draw.uniform(0.3, 3.0) * saturated_rps), REQUESTS)
    return Case(
        replicas=replicas, limit=int(draw.integers(fewest, fewest + 2 * max_batch)), max_batch=max_batch,
        instances=instances, fixed_s=fixed_s, row_s=row_s, slowing=float(draw.uniform(0.05, 0.4)),
        delay_s=float(draw.uniform(0.2, 2)) * fixed_s if delayed else 0.0,
        timeout_s=float(draw.choice([0.05, 0.2, 100.0])), arrivals_s=np.cumsum(gaps),
    )  # fmt: skip


def agree(ours: Served, theirs: list[path_referee.Ending]) -> None:
    assert ours.endings.tolist() == [status for _, status in theirs]
    assert ours.ended_s == pytest.approx([at_s for at_s, _ in theirs], abs=1e-6)


@pytest.mark.parametrize("seed", range(50))
def test_behind_queue_proxies_in_turn_every_request_ends_alike_at_the_same_moment(seed: int) -> None:
    drawn = case(seed, fewest=1)
    agree(drawn.ours(proxied=False), drawn.theirs(proxied=False))


@pytest.mark.parametrize("seed", range(50))
def test_behind_an_activator_every_request_ends_alike_at_the_same_moment(seed: int) -> None:
    drawn = case(seed, fewest=4)  # with fewer places the activator fills the first pod first
    agree(drawn.ours(proxied=True), drawn.theirs(proxied=True))


@pytest.mark.parametrize("seed", range(50))
def test_with_a_queue_delay_every_request_ends_alike_at_the_same_moment(seed: int) -> None:
    drawn = case(seed, fewest=1, delayed=True)
    agree(drawn.ours(proxied=False), drawn.theirs(proxied=False))


def test_the_cases_have_refusals_timeouts_and_answers() -> None:
    seen = [case(seed, fewest=1).ours(proxied=False) for seed in range(50)]
    assert sum(each.rejected > 0 for each in seen) > 8
    assert sum(each.timed_out > 0 for each in seen) > 8
    assert sum(each.latencies_s.size == REQUESTS for each in seen) > 8
