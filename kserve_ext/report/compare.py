"""Predicted beside measured beside untuned, and what the plan is worth in a few numbers.

A RunReport in, a table and tiles out. Gains are told as they are: a plan that is no better says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kserve_ext.domain import Measurement, Prediction, Protocol, Slo
from kserve_ext.report import wording
from kserve_ext.report.content import LoadRow, RunReport
from kserve_ext.report.table import Cell, Table

_PROTOCOL_NAMES = {"http": "HTTP", "rest": "HTTP", "grpc": "gRPC"}
_NOTICEABLE = 1.05  # a ratio within 5 % of one is called the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number that sums up what the plan is worth."""

    value: str
    label: str
    detail: str
    tone: str = ""  # good | bad | ""


def protocol_name(key: str) -> str:
    """`http` -> `HTTP`; an unknown key is shown as it is."""
    return _PROTOCOL_NAMES.get(key, key)


def main_measurement(report: RunReport) -> Measurement | None:
    """The measurement over the plan's own protocol, or else the first there is."""
    wanted = "grpc" if report.plan.protocol is Protocol.GRPC else "http"
    return report.measured.get(wanted) or next(iter(report.measured.values()), None)


def worst_measurement(report: RunReport) -> Measurement | None:
    """The measurement that decides: the one with the longest p99."""
    return max(report.measured.values(), key=lambda measurement: measurement.p99_s, default=None)


def capacity_rps(curve: Sequence[LoadRow], limit_s: float) -> float:
    """Highest rate of a load curve with p99 within `limit_s`, between two rows by a straight line; 0 if there is none.

    A curve that never reaches the limit holds at least its last rate.
    """
    held: LoadRow | None = None
    for row in sorted(curve):
        if not row.p99_s <= limit_s:
            return _crossing_rps(held, row, limit_s) if held else 0.0
        held = row
    return held.rate_rps if held else 0.0


def untuned_capacity_rps(report: RunReport) -> float:
    """What one untuned replica takes with the same margin to the SLO."""
    return capacity_rps(report.untuned_load_curve, report.plan.slo.p99_s * (1 - report.plan.margin))


def _crossing_rps(held: LoadRow, missed: LoadRow, limit_s: float) -> float:
    if not math.isfinite(missed.p99_s):
        return held.rate_rps
    share = (limit_s - held.p99_s) / (missed.p99_s - held.p99_s)
    return held.rate_rps + share * (missed.rate_rps - held.rate_rps)


# ------------------------------------------------------------------------------------------------------- comparison


def comparison(report: RunReport) -> Table:
    """One row per figure of merit; one column for the prediction, each protocol, and the untuned configuration."""
    head = ("", "Predicted", *(f"Measured, {protocol_name(key)}" for key in report.measured))
    rows = [_latency_row(report, "p50"), _latency_row(report, "p95"), _latency_row(report, "p99")]
    rows += [
        _row(report, "Throughput", "throughput_rps", wording.rate),
        _row(report, "Mean batch", "mean_batch", _batch),
        _row(report, "Offered", "rate_rps", wording.rate, notes=False),
        _measured_row(report, "Within the SLO", lambda run: Cell(text=attainment(run, report.plan.slo))),
        _measured_row(report, "Answered", lambda run: _answered(run, report.plan.slo)),
        _measured_row(report, "Requests", lambda run: Cell(text=wording.number(run.sent))),
        _measured_row(report, "Sent late, p99", lambda run: Cell(text=wording.duration(run.late_send_p99_s))),
    ]
    head += ("Untuned",) if report.untuned else ()
    return Table(caption="Predicted, measured and untuned at the same load", head=head, rows=tuple(rows))


def attainment(run: Measurement, slo: Slo) -> str:
    """What three quantiles tell about the share of requests within the SLO; a request not answered counts as late."""
    answered = run.succeeded / run.sent if run.sent else 0.0
    for value_s, share in ((run.p99_s, 0.99), (run.p95_s, 0.95), (run.p50_s, 0.5)):
        if value_s <= slo.p99_s:
            return f"≥ {wording.percent(share * answered)}"
    return f"< {wording.percent(0.5 * answered)}"


def _answered(run: Measurement, slo: Slo) -> Cell:
    share = run.succeeded / run.sent if run.sent else 0.0
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
        value = float(getattr(source, name))
        tone = "" if name != "p99_s" else "good" if value <= limit_s else "bad"
        return Cell(text=text(value), note=note if notes else "", tone=tone)

    predicted = float(getattr(report.plan.prediction, name))
    cells = [Cell(text=head), cell(report.plan.prediction, "")]
    cells += [cell(run, wording.change(getattr(run, name), predicted)) for run in report.measured.values()]
    if report.untuned:
        main = main_measurement(report)
        reference = float(getattr(main, name)) if main else predicted
        cells.append(cell(report.untuned, wording.times(getattr(report.untuned, name), reference)))
    return tuple(cells)


def _measured_row(report: RunReport, head: str, cell: Callable[[Measurement], Cell]) -> tuple[Cell, ...]:
    runs = [*report.measured.values(), *([report.untuned] if report.untuned else [])]
    return (Cell(text=head), Cell(text=""), *(cell(run) for run in runs))


# ------------------------------------------------------------------------------------------------------------- worth


def tiles(report: RunReport) -> tuple[Tile, ...]:
    """What the plan is worth: latency, load per replica and replicas against untuned, and how good the prediction was."""
    found = (_latency_tile(report), _capacity_tile(report), _replica_tile(report), _prediction_tile(report))
    return tuple(tile for tile in found if tile)


def _latency_tile(report: RunReport) -> Tile | None:
    main = main_measurement(report)
    if main is None:
        return None
    if report.untuned is None or main.p99_s <= 0 or not math.isfinite(report.untuned.p99_s):
        used = main.p99_s / report.plan.slo.p99_s
        return Tile(
            value=wording.percent(used),
            label="of the SLO used",
            detail=f"{wording.duration(main.p99_s)} of {wording.duration(report.plan.slo.p99_s)}",
            tone="good" if used <= 1 else "bad",
        )
    detail = f"{wording.duration(main.p99_s)} instead of {wording.duration(report.untuned.p99_s)} at the same load"
    if report.untuned.p99_s >= _NOTICEABLE * main.p99_s:
        value = wording.times(report.untuned.p99_s, main.p99_s)
        return Tile(value=value, label="lower p99 than untuned", detail=detail, tone="good")
    if main.p99_s >= _NOTICEABLE * report.untuned.p99_s:
        value = wording.times(main.p99_s, report.untuned.p99_s)
        return Tile(value=value, label="higher p99 than untuned", detail=detail, tone="bad")
    return Tile(value="Same", label="p99 as untuned", detail=detail)


def _capacity_tile(report: RunReport) -> Tile | None:
    untuned_rps = untuned_capacity_rps(report)
    plan_rps = report.plan.capacity_rps
    if not report.untuned_load_curve:
        return Tile(value=wording.rate(plan_rps), label="load one replica takes", detail="with p99 within the SLO")
    detail = f"{wording.rate(plan_rps)} instead of {wording.rate(untuned_rps)} within the SLO"
    if untuned_rps <= 0:
        return Tile(value=wording.rate(plan_rps), label="load one replica takes", detail=detail, tone="good")
    gain = plan_rps / untuned_rps
    tone = "good" if gain >= _NOTICEABLE else "bad" if gain * _NOTICEABLE <= 1 else ""
    return Tile(
        value=wording.times(plan_rps, untuned_rps), label="the load one replica takes", detail=detail, tone=tone
    )


def _replica_tile(report: RunReport) -> Tile:
    planned = report.plan.replicas_at_high_rate
    high = wording.rate(report.intent.rate.high_rps)
    untuned_rps = untuned_capacity_rps(report)
    noun = "replica" if planned == 1 else "replicas"
    if untuned_rps <= 0:
        return Tile(value=str(planned), label=f"{noun} at {high}", detail=f"up to {report.plan.scaling.max_replicas}")
    needed = math.ceil(report.intent.rate.high_rps / untuned_rps)
    tone = "good" if planned < needed else "bad" if planned > needed else ""
    return Tile(value=str(planned), label=f"{noun} at {high}", detail=f"{needed} needed untuned", tone=tone)


def _prediction_tile(report: RunReport) -> Tile | None:
    main = main_measurement(report)
    predicted_s = report.plan.prediction.p99_s
    if main is None or not wording.change(main.p99_s, predicted_s):
        return None
    return Tile(
        value=wording.change(main.p99_s, predicted_s),
        label="measured p99 against predicted",
        detail=f"{wording.duration(main.p99_s)} measured, {wording.duration(predicted_s)} predicted",
    )
