"""From a load result to what it means: quantiles, attainment, and a verdict against an SLO. Arithmetic only.

A request that failed counts as unanswered until the run ended, so failures can only make a quantile worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kserve_ext.bench.loop import LoadResult
from kserve_ext.domain import Measurement, Slo
from kserve_ext.units import format_duration

P99_REQUESTS = 500  # fewer leave less than five requests above the p99
LAG_SHARE = 0.1  # of the SLO: a generator later than this measures itself


class Outcome(StrEnum):
    """What a run says about an SLO."""

    HELD = "held"
    MISSED = "missed"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to "did it hold?", with the sentences that justify it."""

    outcome: Outcome
    reasons: tuple[str, ...]
    attainment: float  # share of requests within the SLO; a failed one is not
    measurement: Measurement


def latencies_s(result: LoadResult) -> NDArray[np.float64]:
    """Seconds from due to answered, in the order due; for a failed request, to the end of the run."""
    return np.where(result.ok, result.done_s, result.elapsed_s) - result.due_s


def attainment(result: LoadResult, slo_s: float) -> float:
    """Share of requests answered within `slo_s`."""
    return float(np.mean(result.ok & (latencies_s(result) <= slo_s))) if result.ok.size else 0.0


def measure(result: LoadResult, *, rate_rps: float, mean_batch: float = 0.0) -> Measurement:
    """The run in numbers. `rate_rps` is what was offered, `mean_batch` what the server's counters say."""
    sent, succeeded = result.ok.size, int(result.ok.sum())
    p50_s, p95_s, p99_s = np.quantile(latencies_s(result), (0.5, 0.95, 0.99)).tolist() if sent else (0.0, 0.0, 0.0)
    span_s = float(np.nanmax(result.done_s) - result.due_s[0]) if np.isfinite(result.done_s).any() else 0.0
    return Measurement(
        rate_rps=rate_rps,
        duration_s=span_s,
        sent=sent,
        succeeded=succeeded,
        failed=sent - succeeded,
        throughput_rps=succeeded / span_s if span_s > 0 else 0.0,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        mean_batch=mean_batch,
        late_send_p99_s=float(np.quantile(result.lag_s, 0.99)) if sent else 0.0,
        generator_cpu_share=result.cpu_s / result.elapsed_s if result.elapsed_s > 0 else 0.0,
        errors=result.errors,
    )


def judge(result: LoadResult, measurement: Measurement, slo: Slo) -> Verdict:
    """Whether the SLO held: p99 within it and enough answers.

    Latencies count from when a request was due, so a generator that fell behind can only make them longer: an SLO that
    held all the same is held, one that was missed may be the generator's own doing.
    """
    misses, few, behind = _misses(measurement, slo), _too_few(measurement), _behind(measurement, slo)
    failed = measurement.sent > 0 and _success_share(measurement) < slo.availability
    if few or (misses and behind and not failed):
        outcome, reasons = Outcome.UNKNOWN, few + behind + misses
    elif misses:
        outcome, reasons = Outcome.MISSED, misses + behind
    else:
        p99, limit = format_duration(measurement.p99_s), format_duration(slo.p99_s)
        outcome, reasons = Outcome.HELD, (f"p99 {p99} is within {limit}",)
    return Verdict(outcome=outcome, reasons=reasons, attainment=attainment(result, slo.p99_s), measurement=measurement)


def _too_few(measurement: Measurement) -> tuple[str, ...]:
    if measurement.sent >= P99_REQUESTS:
        return ()
    return (f"{measurement.sent} requests are too few for a p99, which takes {P99_REQUESTS}: run longer",)


def _behind(measurement: Measurement, slo: Slo) -> tuple[str, ...]:
    if measurement.late_send_p99_s <= LAG_SHARE * slo.p99_s:
        return ()
    late, limit = format_duration(measurement.late_send_p99_s), format_duration(slo.p99_s)
    return (f"the generator itself was {late} late (p99), over a tenth of {limit}: the machine is too busy",)


def _misses(measurement: Measurement, slo: Slo) -> tuple[str, ...]:
    misses = []
    if measurement.p99_s > slo.p99_s:
        misses.append(f"p99 {format_duration(measurement.p99_s)} is over {format_duration(slo.p99_s)}")
    if measurement.sent and _success_share(measurement) < slo.availability:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in measurement.errors.items())
        share = 100 * _success_share(measurement)
        misses.append(f"{share:.2f} % were answered, {100 * slo.availability:g} % are asked for ({kinds})")
    return tuple(misses)


def _success_share(measurement: Measurement) -> float:
    return measurement.succeeded / measurement.sent
