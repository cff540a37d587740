from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.law import LEVELS, ServiceLaw, constant_law, spread

quantiles = st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(1e-6, 10.0)), min_size=1, max_size=8).map(
    lambda pairs: tuple(map(sorted, zip(*pairs, strict=True)))
)


def law(*times_by_instances: tuple[float, ...], batches: tuple[int, ...] = (1, 4, 8)) -> ServiceLaw:
    return ServiceLaw(
        batches=batches,
        values_s=tuple(tuple((time_s,) * LEVELS for time_s in times_s) for times_s in times_by_instances),
    )


@given(quantiles)
def test_a_spread_is_as_many_ascending_values_within_the_quantiles(pairs: tuple[list[float], list[float]]) -> None:
    probabilities, values = pairs
    drawn = spread(probabilities, values)
    assert len(drawn) == LEVELS
    assert list(drawn) == sorted(drawn)
    assert min(values) <= drawn[0]
    assert drawn[-1] <= max(values)


@given(quantiles, st.floats(1e-6, 10.0))
def test_a_spread_given_a_mean_has_that_mean_and_its_own_shape(
    pairs: tuple[list[float], list[float]], mean: float
) -> None:
    shape, drawn = spread(*pairs), spread(*pairs, mean)
    assert np.mean(drawn) == pytest.approx(mean)
    assert np.array(drawn) / drawn[-1] == pytest.approx(np.array(shape) / shape[-1])


def test_a_spread_has_the_quantiles_it_was_made_from() -> None:
    drawn = spread((0.0, 0.5, 1.0), (1.0, 2.0, 4.0))
    assert np.quantile(drawn, [0.25, 0.5, 0.75, 0.99]) == pytest.approx([1.5, 2.0, 3.0, 3.96], abs=0.02)


def test_between_two_measured_batch_sizes_the_time_lies_on_the_line_between_them() -> None:
    curve = law((0.010, 0.016, 0.040))
    times_s = [curve.mean_s(batch, 1) for batch in range(1, 9)]
    assert times_s == pytest.approx([0.010, 0.012, 0.014, 0.016, 0.022, 0.028, 0.034, 0.040])


def test_each_number_of_busy_instances_has_its_own_times() -> None:
    curve = law((0.010, 0.016, 0.040), (0.015, 0.020, 0.050))
    assert curve.instances == 2
    assert curve.mean_s(4, 2) == pytest.approx(0.020)
    assert curve.saturated_rps(8, 1) == pytest.approx(8 / 0.040)
    assert curve.saturated_rps(8, 2) == pytest.approx(2 * 8 / 0.050)


@pytest.mark.parametrize(("batch", "busy"), [(9, 1), (0, 1), (-1, 1), (1, 0), (1, 3)])
def test_what_was_not_measured_is_never_extrapolated(batch: int, busy: int) -> None:
    curve = law((0.010, 0.016, 0.040), (0.015, 0.020, 0.050))
    with pytest.raises(ValueError, match="was not measured: batches go to 8, instances to 2"):
        curve.levels_s(batch, busy)


def test_the_extra_after_idling_lies_on_the_line_between_two_measured_batch_sizes() -> None:
    warm = law((0.010, 0.016, 0.040))
    cold = replace(warm, after_idle_extra_s=(0.001, 0.004, 0.002))
    assert [cold.idle_extra_s(batch) for batch in (1, 2, 4, 6, 8)] == pytest.approx([0.001, 0.002, 0.004, 0.003, 0.002])
    assert warm.idle_extra_s(4) == 0


def test_a_constant_law_has_no_spread() -> None:
    assert set(constant_law([0.010, 0.016]).levels_s(2, 1)) == {0.016}
