"""What loaded runs tell of the time that executions take, beside the closed loop."""

from __future__ import annotations

import pytest

from kserve_ext.bench.in_service import SeenRun, ratios
from tests.factories import service_point


def run(compute_s: dict[int, float]) -> SeenRun:
    return SeenRun(
        rate_rps=100.0,
        compute_s=compute_s,
        executions=dict.fromkeys(compute_s, 40),
        quantiles_s=(0.01, 0.02, 0.03, 0.04),
    )


CLOSED_LOOP = (service_point(1, 0.004), service_point(8, 0.010))


def test_several_rows_tell_how_much_longer_they_take_in_service() -> None:
    assert ratios(CLOSED_LOOP, [run({8: 0.010}), run({8: 0.0116})])[8] == pytest.approx(1.2)


def test_single_rows_that_take_longer_tell_nothing_as_they_may_have_followed_an_idle_time() -> None:
    assert ratios(CLOSED_LOOP, [run({1: 0.006, 8: 0.009})]) == pytest.approx({1: 1.0, 8: 1.0})


def test_single_rows_that_take_less_tell_that_the_closed_loop_was_disturbed() -> None:
    assert ratios(CLOSED_LOOP, [run({1: 0.0027, 8: 0.009})]) == pytest.approx({1: 0.75, 8: 1.0})
