from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Quantiles, ServicePoint
from kserve_ext.profile import points


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [
        (0, (1,)),
        (1, (1,)),
        (2, (1, 2)),
        (8, (1, 2, 4, 8)),
        (12, (1, 2, 4, 8, 12)),
        (33, (1, 2, 4, 8, 16, 32, 33)),
    ],
)
def test_batches_are_powers_of_two_and_the_largest(max_batch: int, sizes: tuple[int, ...]) -> None:
    assert points.batch_sizes(max_batch) == sizes


@pytest.mark.parametrize(
    ("done_s", "together", "rate"),
    [
        ([0.0, 0.1, 0.2, 0.3], 1, 10.0),
        ([0.3, 0.0, 0.2, 0.1], 1, 10.0),  # in any order
        ([0.0, 0.01, 0.1, 0.11, 0.2, 0.21], 2, 20.0),  # two answers every 0.1 s
        ([0.0, 0.1], 1, 10.0),
    ],
)
def test_the_steady_rate_is_that_between_rounds(done_s: list[float], together: int, rate: float) -> None:
    assert points.steady_rate(done_s, together) == pytest.approx(rate)


@given(
    instances=st.integers(1, 4),
    batch=st.integers(1, 8),
    executions=st.integers(4, 200),
    service_s=st.floats(1e-4, 1.0),
    start=st.floats(0, 1),
)
def test_the_occupancy_of_an_exact_process_is_found_exactly(
    instances: int, batch: int, executions: int, service_s: float, start: float
) -> None:
    """Each of k instances answers b rows at once every s seconds, out of step by a part of s."""
    done_s = [
        start + (i // instances + (i % instances) / instances + 1) * service_s
        for i in range(executions * instances)
        for _ in range(batch)
    ]
    rows_per_s = points.steady_rate(done_s, batch * instances)
    assert points.occupancy_s(instances, rows_per_s / batch) == pytest.approx(service_s, rel=1e-6)


def test_one_stall_of_the_host_does_not_change_the_rate() -> None:
    times = np.arange(100) * 0.01
    times[50:] += 0.5
    assert points.steady_rate(times.tolist(), 1) == pytest.approx(100.0)


@pytest.mark.parametrize("done_s", [[], [1.0], [1.0, 1.0]])
def test_too_little_gives_no_rate(done_s: list[float]) -> None:
    with pytest.raises(ValueError, match=r"less than two rounds|at the same time"):
        points.steady_rate(done_s, 1)


@pytest.mark.parametrize(
    ("count", "highest"), [(5, 0.9), (39, 0.9), (40, 0.95), (199, 0.95), (200, 0.99), (1999, 0.99), (2000, 0.999)]
)
def test_high_quantiles_are_told_only_with_two_values_above(count: int, highest: float) -> None:
    found = points.quantiles_of([float(i) for i in range(count)])
    assert found.probabilities[-1] == highest
    assert found.values[found.probabilities.index(0.5)] == pytest.approx((count - 1) / 2)


def test_a_typical_mean_leaves_stalls_out() -> None:
    assert points.typical_mean_s([1.0, 1.1, 0.9, 20.0]) == pytest.approx(1.0)
    assert points.typical_mean_s([1.0, 2.9, 1.0, 1.0]) == pytest.approx(1.475)


@given(st.lists(st.floats(1e-6, 10), min_size=2, max_size=300), st.floats(-5, 5), st.floats(0, 10))
def test_moving_and_stretching_keep_quantiles_ascending_and_above_zero(
    values: list[float], by_s: float, factor: float
) -> None:
    found = points.quantiles_of(values)
    for changed in (points.shifted(found, by_s), points.scaled(found, factor)):
        assert changed.probabilities == found.probabilities
        assert list(changed.values) == sorted(changed.values)
        assert min(changed.values) >= 0


def test_a_shift_stops_at_zero() -> None:
    found = Quantiles(probabilities=(0.1, 0.9), values=(1.0, 3.0))
    assert points.shifted(found, -2.0).values == (0.0, 1.0)
    assert points.shifted(found, 0.5).values == (1.5, 3.5)


@pytest.mark.parametrize(
    ("executions", "batch", "share"), [({8: 95, 3: 5}, 8, 0.95), ({3: 5}, 8, 0.0), ({}, 8, 0.0), ({1: 7}, 1, 1.0)]
)
def test_the_share_of_full_batches(executions: dict[int, int], batch: int, share: float) -> None:
    assert points.full_share(executions, batch) == pytest.approx(share)


@pytest.mark.parametrize(("share", "mean_s"), [(1.0, 0.020), (0.95, 0.020), (0.94, 0.017), (0.0, 0.017)])
def test_the_servers_own_times_stand_in_where_batches_were_not_full(share: float, mean_s: float) -> None:
    found = points.merged_mean_s(0.020, share=share, compute_s=0.015, client_s=0.012, client_compute_s=0.010)
    assert found == pytest.approx(mean_s)


_SPREAD = Quantiles(probabilities=(0.1, 0.5, 0.9), values=(0.010, 0.011, 0.013))


def test_a_constant_overhead_is_found_whatever_the_services_spread() -> None:
    latency = Quantiles(probabilities=(0.1, 0.5, 0.9), values=(0.021, 0.023, 0.027))
    assert points.overhead(latency, [_SPREAD, _SPREAD]).values == pytest.approx((0.001, 0.001, 0.001))


def test_a_slower_machine_is_no_overhead() -> None:
    latency = Quantiles(probabilities=(0.1, 0.5, 0.9), values=(0.016, 0.017, 0.019))
    assert points.overhead(latency, [_SPREAD], drift_s=0.005).values == pytest.approx((0.001, 0.001, 0.001))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(-1, 1))
def test_overhead_is_ascending_and_never_below_zero(values: list[float], drift_s: float) -> None:
    latency = Quantiles(probabilities=_SPREAD.probabilities, values=tuple(sorted(values)))
    found = points.overhead(latency, [_SPREAD], drift_s)
    assert list(found.values) == sorted(found.values)
    assert min(found.values) >= 0


def test_sizes_that_formed_in_service_correct_the_measured_sizes_near_them() -> None:
    closed_loop = {1: 0.010, 2: 0.012, 4: 0.016, 8: 0.024}
    in_service = {1: 0.011, 3: 0.0154, 4: 0.0176}
    ratios = points.in_service_ratios(closed_loop, in_service, {1: 50, 3: 30, 4: 30})
    assert ratios == pytest.approx({1: 1.1, 2: 1.1, 4: 1.1, 8: 1.1})


def test_a_size_that_seldom_formed_tells_nothing() -> None:
    assert points.in_service_ratios({1: 0.010, 2: 0.012}, {1: 0.030}, {1: 3}) == {1: 1.0, 2: 1.0}


def test_a_corrected_point_keeps_what_the_server_does_not_count() -> None:
    point = ServicePoint(
        batch=4, instances=1, requests=4, count=9, mean_s=0.012, server_compute_s=0.010,
        quantiles_s=Quantiles(probabilities=(0.5, 0.9), values=(0.012, 0.018)),
    )  # fmt: skip
    slower = points.corrected(point, 1.2)
    assert slower.server_compute_s == pytest.approx(0.012)
    assert slower.mean_s == pytest.approx(0.014)
    assert slower.quantiles_s.values == pytest.approx((0.014, 0.021))
