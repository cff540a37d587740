"""The exact batch queue against closed forms, a brute-force loop of its own and the simulator of Triton's batcher."""

from __future__ import annotations

import bisect
import math

import numpy as np
import pytest
from factories import profile, stage_profile
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.domain import StagePlan
from kserve_ext.policy.replica import batch_queue, build_replica, latencies_s, poisson_arrivals
from kserve_ext.queueing.batch_queue import BatchQueue, Steady, cells, poisson, solve, states
from kserve_ext.queueing.batch_sojourn import sojourn

Measured = tuple[float, float, float, float, float]  # p50, p95, p99, mean batch, mean concurrency


def straight(ratio: float, batch: int, row_s: float = 0.001) -> BatchQueue:
    """Constant service times row_s x (ratio + b)."""
    return BatchQueue(service_s=np.array([[row_s * (ratio + rows)] for rows in range(1, batch + 1)]))


def spread(batch: int, *, cold: bool = True) -> BatchQueue:
    """Service times with a spread, and requests that are slower after idleness."""
    levels = np.exp(np.linspace(-0.6, 0.6, 20))
    return BatchQueue(
        service_s=np.array([(0.005 + 0.001 * rows) * levels for rows in range(1, batch + 1)]),
        overhead_s=np.array([0.0005, 0.001, 0.004]), service_cold_extra_s=0.003 * cold,
        overhead_cold_extra_s=0.002 * cold,
    )  # fmt: skip


def figures(steady: Steady) -> Measured:
    law = sojourn(steady)
    return (*(law.quantile_s(share) for share in (0.5, 0.95, 0.99)), steady.mean_batch, steady.mean_concurrency)


def by_brute_force(queue: BatchQueue, rate_rps: float, requests: int, seed: int) -> Measured:
    """Request by request: whoever waits when a batch ends forms the next one. Shares no code with what it judges."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate_rps, requests))
    overhead = rng.choice(queue.overhead_s, requests)
    times, rows = arrivals.tolist(), queue.service_s.tolist()
    draws = rng.integers(0, len(rows[0]), requests).tolist()
    latency = np.empty(requests)
    free, begin, batches = -math.inf, 0, 0
    while begin < requests:
        draw, batches = draws[batches], batches + 1
        if times[begin] > free:
            cold = min(1.0, (times[begin] - free) / queue.cold_after_s)
            free = times[begin] + rows[0][draw] + cold * queue.service_cold_extra_s
            latency[begin] = free - times[begin] + cold * queue.overhead_cold_extra_s
            begin += 1
        else:
            end = bisect.bisect_right(times, free, begin, min(requests, begin + queue.max_batch))
            free += rows[end - begin - 1][draw]
            latency[begin:end] = free - arrivals[begin:end]
            begin = end
    latency += overhead
    kept = latency[requests // 20 :]
    p50, p95, p99 = np.quantile(kept, [0.5, 0.95, 0.99]).tolist()
    return p50, p95, p99, requests / batches, float(kept.mean()) * rate_rps


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8, 0.88])
def test_one_request_at_a_time_with_constant_times_is_m_d_1(load: float) -> None:
    """Mean by Pollaczek and Khinchine, waits by Crommelin (1932)."""
    steady = solve(straight(0.0, 1, row_s=0.010), load / 0.010)
    assert steady.mean_concurrency == pytest.approx(load + load**2 / (2 * (1 - load)), rel=1e-4)
    assert steady.waiting[0] == pytest.approx(1 - load, rel=1e-4)
    law = sojourn(steady)
    for share in (0.95, 0.99):
        assert wait_within(law.quantile_s(share) / 0.010 - 1, load) == pytest.approx(share, abs=0.0012)


def wait_within(times_s: float, load: float) -> float:
    return (1 - load) * math.fsum(
        math.exp(load * (times_s - j)) * (load * (j - times_s)) ** j / math.factorial(j)
        for j in range(math.floor(times_s) + 1)
    )


@pytest.mark.parametrize("load", [0.2, 0.7, 0.9])
def test_one_request_at_a_time_with_a_spread_has_the_mean_of_pollaczek_and_khinchine(load: float) -> None:
    queue = spread(1, cold=False)
    times_s = queue.service_s[0]
    rate_rps = load / times_s.mean()
    waiting = rate_rps**2 * float((times_s**2).mean()) / (2 * (1 - load))
    found = solve(queue, rate_rps).mean_concurrency
    assert found == pytest.approx(load + waiting + rate_rps * queue.overhead_s.mean(), rel=1e-3)


@pytest.mark.parametrize(
    ("ratio", "load", "batch", "low", "high"),
    [
        (50, 0.3, 256, -0.001, 0.001),
        (50, 0.6, 256, -0.001, 0.001),
        (5, 0.4, 64, -0.02, 0.02),
        (5, 0.6, 64, -0.02, 0.02),
        (5, 0.85, 128, -0.02, 0.02),
        (1, 0.2, 64, 0.05, 0.22),
        (0.5, 0.25, 64, 0.05, 0.22),
    ],
)
def test_the_mean_is_that_of_inoues_closed_form_within_its_known_error(
    ratio: float, load: float, batch: int, low: float, high: float
) -> None:
    """Batches without a limit, s(b) = ratio + b: 3/2 ratio/(1-load) + (load+2)/(2 (1-load^2)) (Inoue 2021)."""
    mean_s = solve(straight(ratio, batch), load / 0.001).mean_concurrency / (load / 0.001)
    form_s = 0.001 * (1.5 * ratio / (1 - load) + (load + 2) / (2 * (1 - load**2)))
    assert low <= form_s / mean_s - 1 <= high


@pytest.mark.parametrize(
    ("ratio", "load", "batch", "low", "high"),
    [
        (5, 0.4, 64, -0.04, 0.04),
        (5, 0.6, 64, -0.04, 0.04),
        (5, 0.85, 128, -0.04, 0.04),
        (50, 0.3, 256, 0.04, 0.09),
        (50, 0.6, 256, 0.04, 0.09),
        (1, 0.5, 64, -0.43, -0.20),
        (0.5, 0.6, 64, -0.43, -0.20),
    ],
)
def test_p99_is_that_of_the_closed_form_within_its_known_error(
    ratio: float, load: float, batch: int, low: float, high: float
) -> None:
    """Of batches as an autoregressive process: (2 ratio + 3.29 sqrt(load x ratio)) / (1 - load). Unsafe for short fixed times."""
    p99_s = sojourn(solve(straight(ratio, batch), load / 0.001)).quantile_s(0.99)
    form_s = 0.001 * (2 * ratio + 3.29 * math.sqrt(load * ratio)) / (1 - load)
    assert low <= form_s / p99_s - 1 <= high


@pytest.mark.parametrize(
    ("queue", "load"),
    [(spread(8), 0.1), (spread(8), 0.5), (spread(8), 0.8), (straight(5, 8), 0.7), (straight(0.2, 4), 0.6), (spread(1), 0.7)],
)  # fmt: skip
def test_it_says_what_a_long_run_shows(queue: BatchQueue, load: float) -> None:
    """Half a million requests show p99 to about a percent; the mean and the batch to half of one."""
    rate_rps = load * queue.saturated_rps
    runs = np.array([by_brute_force(queue, rate_rps, 100_000, seed) for seed in range(5)])
    exact = figures(solve(queue, rate_rps))
    for value, shown, noise in zip(exact, runs.mean(axis=0), runs.std(axis=0) / math.sqrt(len(runs) - 1), strict=True):
        assert value == pytest.approx(shown, rel=0.003, abs=4 * noise)


@pytest.mark.parametrize(("batch", "load"), [(1, 0.6), (4, 0.3), (16, 0.5), (16, 0.8)])
def test_it_says_what_the_simulator_of_tritons_batcher_shows(batch: int, load: float) -> None:
    measured = profile(stage_profile(after_idle_extra_s=0.002), overhead_after_idle_extra_s=0.001)
    replica = build_replica(measured)
    stages = [StagePlan(model="m", max_batch_size=batch, max_queue_delay_s=0.0, instances=1, threads=1)]
    queue = batch_queue(replica, stages)
    assert queue is not None
    rate_rps = load * queue.saturated_rps
    latency_s = np.concatenate([
        latencies_s(replica, stages, poisson_arrivals(40_000, seed) / rate_rps, seed=seed)[0][2000:] for seed in range(3)
    ])  # fmt: skip
    p50, p95, p99, _, concurrency = figures(solve(queue, rate_rps))
    assert (p50, p95) == pytest.approx(np.quantile(latency_s, [0.5, 0.95]), rel=0.02)
    assert p99 == pytest.approx(np.quantile(latency_s, 0.99), rel=0.04)
    assert concurrency == pytest.approx(latency_s.mean() * rate_rps, rel=0.02)


@settings(max_examples=20)
@given(st.integers(1, 12), st.floats(0.0, 10.0), st.floats(0.02, 0.9))
def test_the_chain_keeps_its_balance(batch: int, ratio: float, load: float) -> None:
    """What arrives in a cycle is what a batch takes away; a law of times never falls and holds p99."""
    queue = straight(ratio, batch)
    steady = solve(queue, load * queue.saturated_rps)
    sizes = np.clip(np.arange(len(steady.waiting)), 1, batch)
    cycle_s = steady.waiting @ queue.service_s[sizes - 1, 0] + steady.waiting[0] / steady.rate_rps
    assert steady.mean_batch == pytest.approx(steady.rate_rps * cycle_s, rel=1e-3)
    assert steady.waiting.sum() == pytest.approx(1.0)
    assert steady.waiting[-1] < 1e-6
    law = sojourn(steady)
    assert (np.diff(law.within) >= -1e-12).all()
    assert 0.99 <= law.within[-1] <= 1 + 1e-9
    assert law.quantile_s(0.99) >= queue.service_s[0, 0] * 0.98


@settings(max_examples=20)
@given(st.integers(1, 8), st.floats(0.0, 5.0), st.floats(0.05, 0.8))
def test_more_load_never_has_a_shorter_p99_where_idleness_costs_nothing(batch: int, ratio: float, load: float) -> None:
    queue = straight(ratio, batch)
    low, high = (sojourn(solve(queue, share * queue.saturated_rps)).quantile_s(0.99) for share in (load, load * 1.1))
    assert low <= high * 1.001


def test_a_cold_instance_can_make_a_light_load_slower_than_a_heavier_one() -> None:
    queue = BatchQueue(service_s=np.array([[0.001]]), service_cold_extra_s=0.010)
    light, heavier = (sojourn(solve(queue, rate)).quantile_s(0.5) for rate in (1.0, 300.0))
    assert heavier < light


@pytest.mark.parametrize("rate_rps", [0.0, -1.0, 125.0, 200.0])
def test_there_is_no_steady_state_without_load_or_from_saturation_on(rate_rps: float) -> None:
    with pytest.raises(ValueError, match=r"no steady state at .* rps: one instance saturates at 125 rps"):
        solve(BatchQueue(service_s=np.array([[0.008]])), rate_rps)


def test_longer_queues_are_kept_near_saturation() -> None:
    queue = straight(5, 8)
    kept = [states(queue, load * queue.saturated_rps) for load in (0.1, 0.5, 0.9, 0.99)]
    assert kept == sorted(kept)
    assert kept[0] < 40 < 100 < kept[-1]


def test_a_law_beyond_its_grid_is_not_guessed() -> None:
    law = sojourn(solve(straight(5, 8), 300.0))
    assert law.share_within(law.quantile_s(0.9)) == pytest.approx(0.9)
    with pytest.raises(ValueError, match=r"the law is known up to 0\.99\d+, not to 1"):
        law.quantile_s(1.0)


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=20), st.floats(0.01, 0.5))
def test_a_grid_keeps_the_mean_of_what_is_laid_on_it(values: list[float], step_s: float) -> None:
    law = cells(np.array([values]), step_s, int(5.0 / step_s) + 3)[0]
    assert law.sum() == pytest.approx(1.0)
    assert law @ (step_s * np.arange(len(law))) == pytest.approx(np.mean(values), abs=1e-9)


def test_poisson_probabilities_are_those_of_the_definition() -> None:
    law = poisson(np.array([0.0, 0.5, 300.0]), 400)
    assert law[0].tolist() == [1.0] + [0.0] * 399
    assert law[1, :3] == pytest.approx([math.exp(-0.5), 0.5 * math.exp(-0.5), 0.125 * math.exp(-0.5)])
    assert law[2] @ np.arange(400) == pytest.approx(300.0, rel=1e-3)
