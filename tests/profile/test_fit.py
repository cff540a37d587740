from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from factories import service_point, stage_profile
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from kserve_ext.domain import ServicePoint, StageProfile
from kserve_ext.errors import ProfileError
from kserve_ext.profile.fit import fit, isotonic

weighted = st.lists(st.tuples(st.floats(1e-6, 10.0), st.integers(1, 10_000)), min_size=1, max_size=40)


def stage_of(*points: ServicePoint) -> StageProfile:
    return replace(stage_profile(), points=points)


def means_s(*points: ServicePoint) -> list[tuple[float, ...]]:
    return [curve.means_s for curve in fit(stage_of(*points))]


@given(weighted)
def test_the_isotonic_fit_is_that_of_scikit_learn(pairs: list[tuple[float, int]]) -> None:
    values, weights = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    theirs = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    assert isotonic(values.tolist(), weights.tolist()) == pytest.approx(theirs.tolist(), rel=1e-9)


@given(weighted)
def test_the_isotonic_fit_never_falls_keeps_the_weighted_mean_and_does_not_change_when_fitted_again(
    pairs: list[tuple[float, int]],
) -> None:
    values, weights = zip(*pairs, strict=True)
    fitted = isotonic(values, weights)
    assert fitted == sorted(fitted)
    assert weighted_mean(fitted, weights) == pytest.approx(weighted_mean(values, weights))
    assert isotonic(fitted, weights) == pytest.approx(fitted)


@given(st.lists(st.floats(1e-6, 10.0), min_size=1).map(sorted), st.integers(1, 9))
def test_means_that_never_fall_are_kept_as_measured(values: list[float], weight: int) -> None:
    assert isotonic(values, [weight] * len(values)) == pytest.approx(values)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / math.fsum(weights)


def test_a_batch_that_was_measured_faster_than_a_smaller_one_shares_its_mean_by_number_of_executions() -> None:
    curve = means_s(
        service_point(1, 0.010), service_point(2, 0.014, count=300), service_point(4, 0.010, count=100),
        service_point(8, 0.020),
    )  # fmt: skip
    assert curve == [pytest.approx((0.010, 0.013, 0.013, 0.020))]


def test_a_second_busy_instance_never_makes_the_first_faster() -> None:
    alone, together = means_s(
        service_point(1, 0.010), service_point(2, 0.012),
        service_point(1, 0.009, instances=2), service_point(2, 0.015, instances=2),
    )  # fmt: skip
    assert alone == (0.010, 0.012)
    assert together == (0.010, 0.015)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_merged_single_row_requests_are_preferred_to_a_client_batch_of_the_same_size(order: tuple[int, int]) -> None:
    both = (service_point(4, 0.012, requests=1), service_point(4, 0.016, requests=4))
    points = (service_point(1, 0.010), *(both[index] for index in order))
    assert means_s(*points) == [(0.010, 0.016)]


def test_points_may_come_in_any_order_and_keep_the_shape_of_their_own_batch_size() -> None:
    points = (service_point(8, 0.030), service_point(1, 0.010, after_idle_extra_s=0.001), service_point(2, 0.011))
    (curve,) = fit(stage_of(*points))
    assert curve.batches == (1, 2, 8)
    assert curve.shapes == tuple(points[index].quantiles_s for index in (1, 2, 0))
    assert curve.after_idle_extra_s == (0.001, 0.0, 0.0)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ((), "points for 1, 2, … instances without gaps are needed; found no points"),
        ((service_point(1, 0.01), service_point(1, 0.01, instances=3)), "without gaps are needed; found 1, 3"),
        ((service_point(1, 0.01, instances=2),), "without gaps are needed; found 2"),
        ((service_point(2, 0.01), service_point(4, 0.02)), "starting at 1; found 2, 4"),
        ((service_point(1, 0.01), service_point(2, 0.01), service_point(1, 0.01, instances=2)),
         "with 2 instances the same batch sizes as with one are needed, starting at 1; found 1"),
    ],
    ids=["no points", "a gap in the instances", "one instance missing", "batch 1 missing", "other batch sizes"],
)  # fmt: skip
def test_points_that_do_not_make_a_curve_are_an_error_that_says_what_was_found(
    points: tuple[ServicePoint, ...], says: str
) -> None:
    with pytest.raises(ProfileError) as caught:
        fit(stage_of(*points))
    assert str(caught.value).startswith("stages[m].points: ")
    assert says in str(caught.value)
