"""Predicted beside measured beside untuned: the table at the heart of the report, and the run that decides.

A RunReport in, a table out. A run without an answer has no latency: a dash, and counted as missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from kserve_ext.domain import Measurement, Prediction, Protocol, Slo
from kserve_ext.report import wording
from kserve_ext.report.content import RunReport
from kserve_ext.report.table import Cell, Table

_PROTOCOL_NAMES = {"http": "HTTP", "rest": "HTTP", "grpc": "gRPC"}
COMPARISON_NOTE = "Small: under measured, the distance from predicted; under untuned, the multiple of measured."


def protocol_name(key: str) -> str:
    """`http` -> `HTTP`; an unknown key is shown as it is."""
    return _PROTOCOL_NAMES.get(key, key)


def p99_s(run: Measurement) -> float:
    """p99 of the answered requests; without bound where none was answered."""
    return run.p99_s if run.succeeded and math.isfinite(run.p99_s) else math.inf


def answered_share(run: Measurement) -> float:
    """Share of the requests sent that were answered; none where none was sent."""
    return run.succeeded / run.sent if run.sent else 0.0


def main_measurement(report: RunReport) -> Measurement | None:
    """The measurement over the plan's own protocol, or else the first there is."""
    wanted = "grpc" if report.plan.protocol is Protocol.GRPC else "http"
    return report.measured.get(wanted) or next(iter(report.measured.values()), None)


def worst_measurement(report: RunReport) -> Measurement | None:
    """The measurement that decides: the one with the longest p99, one without answers before all."""
    return max(report.measured.values(), key=p99_s, default=None)


# ------------------------------------------------------------------------------------------------------- comparison


def comparison(report: RunReport) -> Table:
    """One row per figure of merit; one column for the prediction, each protocol, and the untuned configuration."""
    head = ("", "Predicted", *(f"Measured, {protocol_name(key)}" for key in report.measured))
    rows = [_latency_row(report, "p50"), _latency_row(report, "p95"), _latency_row(report, "p99")]
    rows += [
        _row(report, "Throughput", "throughput_rps", wording.rate),
        _row(report, "Mean batch", "mean_batch", _batch),
        _row(report, "Offered", "rate_rps", wording.rate, notes=False),
        _measured_row(report, "Within the SLO", lambda key, run: _attained(report, key, run)),
        _measured_row(report, "Answered", lambda key, run: _answered(run, report.plan.slo)),
        _measured_row(report, "Requests", lambda key, run: Cell(text=wording.number(run.sent))),
        _measured_row(report, "Sent late, p99", lambda key, run: Cell(text=wording.duration(run.late_send_p99_s))),
    ]
    head += ("Untuned",) if report.untuned else ()
    return Table(caption="Predicted, measured and untuned at the same load", head=head, rows=tuple(rows))


def _attained(report: RunReport, key: str, run: Measurement) -> Cell:
    counted = report.attainment.get(key)
    return Cell(text=attainment(run, report.plan.slo) if counted is None else wording.percent(counted))


def attainment(run: Measurement, slo: Slo) -> str:
    """What three quantiles tell about the share of requests within the SLO; a failed request counts as late in them."""
    for value_s, share in ((run.p99_s, 0.99), (run.p95_s, 0.95), (run.p50_s, 0.5)):
        if run.succeeded and value_s <= slo.p99_s:
            return f"≥ {wording.percent(share)}"
    return f"< {wording.percent(0.5)}"


def _answered(run: Measurement, slo: Slo) -> Cell:
    share = answered_share(run)
    failures = ", ".join(f"{count} × {name}" for name, count in sorted(run.errors.items()))
    return Cell(text=wording.percent(share), note=failures, tone="" if share >= slo.availability else "bad")


def _batch(value: float) -> str:
    return wording.number(value) if value > 0 else wording.NONE


def _latency_row(report: RunReport, quantile: str) -> tuple[Cell, ...]:
    return _row(report, quantile, f"{quantile}_s", wording.duration, limit_s=report.plan.slo.p99_s)


def _row(
    report: RunReport, head: str, name: str, text: Callable[[float], str], *, limit_s: float = 0.0, notes: bool = True
) -> tuple[Cell, ...]:
    """Value of field `name` everywhere: measured with its distance from predicted, untuned as multiple of measured."""

    def cell(source: Prediction | Measurement, note: str) -> Cell:
        value = _value(source, name)
        tone = "" if name != "p99_s" else "good" if value <= limit_s else "bad"
        return Cell(text=text(value), note=note if notes else "", tone=tone)

    predicted = _value(report.plan.prediction, name)
    cells = [Cell(text=head), cell(report.plan.prediction, "")]
    cells += [cell(run, wording.change(_value(run, name), predicted)) for run in report.measured.values()]
    if report.untuned:
        reference = _value(main_measurement(report) or report.plan.prediction, name)
        cells.append(cell(report.untuned, wording.times(_value(report.untuned, name), reference)))
    return tuple(cells)


def _value(source: Prediction | Measurement, name: str) -> float:
    no_latency = isinstance(source, Measurement) and not source.succeeded and name in ("p50_s", "p95_s", "p99_s")
    return math.nan if no_latency else float(getattr(source, name))


def _measured_row(report: RunReport, head: str, cell: Callable[[str, Measurement], Cell]) -> tuple[Cell, ...]:
    runs = {**report.measured, **({"untuned": report.untuned} if report.untuned else {})}
    return (Cell(text=head), Cell(text=""), *(cell(key, run) for key, run in runs.items()))
