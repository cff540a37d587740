from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kserve_ext.bench.loop import LoadResult
from kserve_ext.bench.measure import Outcome, attainment, judge, latencies_s, measure
from kserve_ext.domain import Slo


def _result(latency_s: list[float], *, failed: int = 0, lag_s: float = 0.0, gap_s: float = 0.01) -> LoadResult:
    """Requests due every `gap_s`; the last `failed` of them have failed at once."""
    count = len(latency_s)
    due = np.arange(count) * gap_s
    ok = np.arange(count) < count - failed
    return LoadResult(
        due_s=due,
        sent_s=due + lag_s,
        done_s=np.where(ok, due + np.array(latency_s), due),
        lag_s=np.full(count, lag_s),
        ok=ok,
        errors={"HTTP 503": failed} if failed else {},
        cpu_s=0.5,
        elapsed_s=count * gap_s + 1.0,
    )


def test_a_run_in_numbers() -> None:
    result = _result([0.010] * 99 + [0.110])
    found = measure(result, rate_rps=100, mean_batch=3.5)
    assert (found.sent, found.succeeded, found.failed) == (100, 100, 0)
    assert found.p50_s == pytest.approx(0.010)
    assert found.p99_s == pytest.approx(0.010 + 0.01 * 0.1)  # linear between the 99th and the 100th value
    assert found.duration_s == pytest.approx(0.99 + 0.110)
    assert found.throughput_rps == pytest.approx(100 / 1.1)
    assert found.generator_cpu_share == pytest.approx(0.5 / 2.0)
    assert (found.rate_rps, found.mean_batch) == (100, 3.5)


def test_a_failed_request_counts_as_unanswered_until_the_end_however_fast_it_failed() -> None:
    result = _result([0.010] * 100, failed=2)
    assert latencies_s(result)[-1] == pytest.approx(2.0 - 0.99)
    assert measure(result, rate_rps=100).p99_s > 0.9
    assert attainment(result, 0.010 + 1e-9) == pytest.approx(0.98)
    assert attainment(result, 10.0) == pytest.approx(0.98)


def test_nothing_sent_is_nothing_measured() -> None:
    found = measure(_result([]), rate_rps=100)
    assert (found.sent, found.throughput_rps, found.p99_s) == (0, 0.0, 0.0)
    assert attainment(_result([]), 1.0) == 0.0


def test_a_run_without_any_answer_has_no_throughput() -> None:
    result = _result([0.01] * 3, failed=3)
    nothing = dataclasses.replace(result, done_s=np.full(3, np.nan))
    assert measure(nothing, rate_rps=1).throughput_rps == 0.0


@pytest.mark.parametrize(
    ("result", "outcome", "reason"),
    [
        (_result([0.01] * 600), Outcome.HELD, "p99 10ms is within 50ms"),
        (_result([0.06] * 600), Outcome.MISSED, "p99 60ms is over 50ms"),
        (_result([0.01] * 600, failed=2), Outcome.MISSED, "99.67 % were answered, 99.9 % are asked for (HTTP 503: 2)"),
        (_result([0.01] * 600, failed=600), Outcome.MISSED, "0.00 % were answered"),
        (_result([0.01] * 499), Outcome.UNKNOWN, "499 requests are too few"),
        (_result([0.06] * 499), Outcome.UNKNOWN, "499 requests are too few"),
        (_result([], failed=0), Outcome.UNKNOWN, "0 requests are too few"),
        (_result([0.01] * 600, lag_s=0.006), Outcome.HELD, "p99 10ms is within 50ms"),  # lag is in the latency too
        (_result([0.06] * 600, lag_s=0.006), Outcome.UNKNOWN, "the generator itself was 6ms late"),
        (_result([0.01] * 600, failed=60, lag_s=0.006), Outcome.MISSED, "90.00 % were answered"),
    ],
)
def test_a_verdict_and_why(result: LoadResult, outcome: Outcome, reason: str) -> None:
    verdict = judge(result, measure(result, rate_rps=100), Slo(p99_s=0.05))
    assert verdict.outcome is outcome
    assert any(reason in sentence for sentence in verdict.reasons), verdict.reasons
