"""The level of service times is read back from the latencies of a loaded server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.simulate.batcher import Stage, simulate
from kserve_ext.simulate.law import LEVELS, ServiceLaw
from kserve_ext.simulate.level import PROBABILITIES, Served, level, levels


def law_of(fixed_s: float, row_s: float, *, instances: int = 1) -> ServiceLaw:
    curve = tuple((fixed_s + row_s * batch,) * LEVELS for batch in (1, 8))
    return ServiceLaw(batches=(1, 8), values_s=(curve,) * instances)


def seen(law: ServiceLaw, load: float, *, instances: int = 1, seed: int = 3) -> Served:
    """What a server with this law shows at so much of its capacity."""
    gaps = np.random.default_rng(seed).exponential(1 / (load * law.saturated_rps(8, instances)), 3000)
    arrivals_s = np.cumsum(gaps)
    stage = Stage(law=law, max_batch_size=8, max_queue_delay_s=0.0, instances=instances)
    trace = simulate(arrivals_s, [stage], seed=5)
    return Served(
        arrivals_s=arrivals_s,
        quantiles_s=tuple(np.quantile(trace.done_s - arrivals_s, PROBABILITIES).tolist()),
        mean_batch=float(np.mean(trace.batch_sizes[0])),
    )


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.85, 1.2), load=st.sampled_from((0.3, 0.6, 0.85)))
def test_the_factor_by_which_a_server_is_slower_is_found(factor: float, load: float) -> None:
    law = law_of(0.004, 0.0005)
    real = law.slowed([factor, factor])
    assert level(law, seen(real, load), max_batch=8, instances=1) == pytest.approx(factor, rel=0.002)


def test_full_batches_that_are_slower_leave_the_small_ones_as_they_are() -> None:
    law = law_of(0.004, 0.0005)
    runs = [seen(law.slowed([1.0, 1.2]), load) for load in (0.2, 0.6, 0.9)]
    small, full = levels(law, runs, max_batch=8, instances=1) or ()
    assert small == pytest.approx(1.0, abs=0.04)
    assert full == pytest.approx(1.2, abs=0.05)


def test_runs_that_nothing_explains_are_left_out_of_the_factors() -> None:
    law = law_of(0.004, 0.0005)
    runs = [seen(law.slowed([1.1, 1.1]), 0.85), seen(law.slowed([2.0, 2.0]), 0.3)]
    assert levels(law, runs, max_batch=8, instances=1) == pytest.approx((1.1, 1.1), rel=0.002)
    assert levels(law, runs[1:], max_batch=8, instances=1) is None


def test_with_two_instances_only_the_time_beside_a_busy_neighbour_is_levelled() -> None:
    law = law_of(0.004, 0.0005, instances=2)
    real = replace(law, values_s=(law.values_s[0], law.slowed([1.1, 1.1]).values_s[1]))
    assert level(law, seen(real, 0.8, instances=2), max_batch=8, instances=2) == pytest.approx(1.1, rel=0.01)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_latencies_that_no_small_correction_explains_give_no_factor(factor: float) -> None:
    law = law_of(0.004, 0.0005)
    assert level(law, seen(law.slowed([factor, factor]), 0.6), max_batch=8, instances=1) is None
