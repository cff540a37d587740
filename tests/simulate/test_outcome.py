"""The book of a run: quantiles from bins, minutes, drops and requests never answered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.outcome import Book, Minute


@given(st.lists(st.floats(1e-5, 8000.0), min_size=1, max_size=60), st.sampled_from(("p50_s", "p95_s", "p99_s")))
def test_a_quantile_is_that_of_the_latencies_within_a_fifth_of_a_percent(values: list[float], name: str) -> None:
    book = Book(1.0, 60)
    book.latencies(0, np.array(values), 0)
    exact = float(np.quantile(values, int(name[1:3]) / 100, method="inverted_cdf"))
    assert getattr(book.close(0), name) == pytest.approx(exact, rel=0.002)


@pytest.mark.parametrize(("latency_s", "least_s", "most_s"), [(0.0, 7e-6, 8e-6), (1e6, 8150.0, 8192.0)])
def test_a_latency_beyond_the_bins_is_counted_in_the_outermost(latency_s: float, least_s: float, most_s: float) -> None:
    book = Book(1.0, 60)
    book.latencies(0, np.array([latency_s]), 0)
    assert least_s < book.close(0).p50_s < most_s


def test_minutes_hold_what_was_begun_in_them_and_a_short_last_one_has_its_own_mean() -> None:
    book = Book(0.5, 90)
    for second in range(90):
        book.replicas(second, 2.0, 3.0 if second < 60 else 5.0)
        book.latencies(second, np.array([0.4, 0.5] if second < 60 else [0.6]), 1 if second == 89 else 0)
    outcome = book.close(9)
    assert outcome.minutes == (
        Minute(t_s=0, requests=120, in_time=120, replicas=2.0, billed=3.0),
        Minute(t_s=60, requests=31, in_time=0, replicas=2.0, billed=5.0),
    )
    assert (outcome.requests, outcome.dropped) == (160, 1)
    assert outcome.attainment == 120 / 160
    assert outcome.worst_minute == 0.0
    assert outcome.violation_share == 0.5
    assert outcome.billed == pytest.approx((60 * 3 + 30 * 5) / 90)


def test_a_quiet_minute_is_neither_violated_nor_the_worst() -> None:
    book = Book(0.5, 120)
    book.latencies(70, np.array([0.1]), 0)
    outcome = book.close(0)
    assert (outcome.worst_minute, outcome.violation_share, outcome.minutes[0].requests) == (1.0, 0.0, 0)


def test_without_a_request_nothing_was_late() -> None:
    outcome = Book(0.5, 60).close(0)
    assert (outcome.requests, outcome.attainment, outcome.p99_s) == (0, 1.0, 0.0)
