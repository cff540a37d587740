from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.bench.arrivals import constant, poisson


@given(rate=st.floats(0.5, 500), duration=st.floats(0.1, 20), seed=st.integers(0, 2**32))
def test_poisson_arrivals_are_sorted_repeatable_and_inside_the_run(rate: float, duration: float, seed: int) -> None:
    times = poisson(rate, duration, seed)
    assert np.array_equal(times, poisson(rate, duration, seed))
    assert np.all(np.diff(times) >= 0)
    assert times.size == 0 or (times[0] >= 0 and times[-1] <= duration)


def test_poisson_gaps_have_the_mean_and_spread_of_an_exponential() -> None:
    gaps = np.diff(poisson(100, 1000, seed=3))
    assert gaps.mean() == pytest.approx(0.01, rel=0.02)
    assert gaps.std() == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize(
    ("rate", "duration", "times"), [(2, 2, [0, 0.5, 1, 1.5]), (10, 0.3, [0, 0.1, 0.2]), (1, 0, [])]
)
def test_constant_arrivals_are_evenly_spaced(rate: float, duration: float, times: list[float]) -> None:
    assert constant(rate, duration).tolist() == pytest.approx(times)
