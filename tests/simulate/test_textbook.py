"""The simulator against formulas of queueing theory and against figures of a real server."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kserve_ext.simulate.batcher import Stage, simulate
from kserve_ext.simulate.law import LEVELS, ServiceLaw, constant_law


def straight_law(fixed_s: float, row_s: float, *, most: int, instances: int = 1) -> ServiceLaw:
    """s(b) = fixed + row x b for every b up to `most`, whatever else is busy."""
    times = tuple((fixed_s + row_s * batch,) * LEVELS for batch in (1, most))
    return ServiceLaw(batches=(1, most), values_s=(times,) * instances)


def poisson(rate_rps: float, requests: int, seed: int = 1) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate_rps, requests))


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7, 0.85])
def test_serving_all_that_wait_has_the_mean_latency_of_inoue_2021(load: float) -> None:
    """phi = 1.5 tau / (1 - rho) + alpha / 2 x (rho + 2) / (1 - rho^2) for s(b) = alpha b + tau and Poisson arrivals.

    Y. Inoue, Queueing analysis of GPU-based inference servers with dynamic batching, Performance Evaluation 147 (2021).
    """
    row_s, fixed_s = 0.001, 0.050
    arrivals_s = poisson(load / row_s, 60_000)
    stage = Stage(law=straight_law(fixed_s, row_s, most=5000), max_batch_size=5000, max_queue_delay_s=0.0, instances=1)
    simulated_s = np.mean((simulate(arrivals_s, [stage]).done_s - arrivals_s)[3000:])
    assert simulated_s == pytest.approx(1.5 * fixed_s / (1 - load) + row_s / 2 * (load + 2) / (1 - load**2), rel=0.02)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_row_at_a_time_waits_as_long_as_pollaczek_and_khinchine_say(load: float) -> None:
    """Mean wait of M/D/1: rho s / (2 (1 - rho))."""
    stage = Stage(law=constant_law([0.01]), max_batch_size=1, max_queue_delay_s=None, instances=1)
    runs_s = [poisson(load / 0.01, 100_000, seed) for seed in range(4)]
    simulated_s = np.mean([simulate(arrivals_s, [stage]).done_s - arrivals_s for arrivals_s in runs_s])
    assert simulated_s == pytest.approx(0.01 + load * 0.01 / (2 * (1 - load)), rel=0.02)


@pytest.mark.parametrize(
    ("instances", "in_flight", "measured_rps", "published_rps"),
    [(1, 8, 63.8, 65), (1, 12, 82.9, 84), (1, 16, 94.9, 98), (2, 16, 142, 145), (2, 24, 192, 196), (2, 32, 188, 196)],
)
def test_requests_in_flight_decide_the_throughput_as_on_a_real_server(
    instances: int, in_flight: int, measured_rps: float, published_rps: float
) -> None:
    """Triton 2.51 with s(b) = 41.5 + 5 b ms and batches up to 8, in a closed loop; capacity 98 rps per instance."""
    stage = Stage(
        law=straight_law(0.0415, 0.005, most=8, instances=instances), max_batch_size=8, max_queue_delay_s=0.0,
        instances=instances,
    )  # fmt: skip
    trace = simulate(np.zeros(6000), [stage], concurrency_limit=in_flight)
    simulated_rps = 6000 / trace.done_s.max()
    assert simulated_rps == pytest.approx(published_rps, rel=0.03)
    assert simulated_rps == pytest.approx(measured_rps, rel=0.06)


def test_twice_the_batch_in_flight_saturates_and_once_wastes_a_third() -> None:
    law = straight_law(0.0415, 0.005, most=8)
    stage = Stage(law=law, max_batch_size=8, max_queue_delay_s=0.0, instances=1)
    rates = [2000 / simulate(np.zeros(2000), [stage], concurrency_limit=limit).done_s.max() for limit in (8, 16, 32)]
    assert rates[0] < 0.7 * law.saturated_rps(8, 1)
    assert rates[1:] == pytest.approx([law.saturated_rps(8, 1)] * 2, rel=0.01)


def test_the_means_of_a_law_with_spread_are_its_means_whatever_the_seed() -> None:
    times = tuple((0.01 * (0.5 + (np.arange(LEVELS) + 0.5) / LEVELS)).tolist())
    stage = Stage(
        law=ServiceLaw(batches=(1,), values_s=((times,),)), max_batch_size=1, max_queue_delay_s=None, instances=1
    )
    far_apart_s = np.arange(20_000) * 1.0
    for seed in range(3):
        taken_s = simulate(far_apart_s, [stage], seed=seed).done_s - far_apart_s
        assert np.mean(taken_s) == pytest.approx(0.01, rel=0.01)
        assert np.std(taken_s) == pytest.approx(0.01 / math.sqrt(12), rel=0.02)
