"""What the plan is worth in a few numbers: against the untuned configuration, and against its own prediction.

A RunReport in, tiles out. Gains are told as they are: a plan that is no better says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kserve_ext.domain import Measurement
from kserve_ext.report import wording
from kserve_ext.report.compare import main_measurement, p99_s
from kserve_ext.report.content import RunReport

_NOTICEABLE = 1.05  # a ratio within 5 % of one is called the same
_KEPT_UP = 0.95  # a throughput below 95 % of the rate offered is an overload


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number that sums up what the plan is worth."""

    value: str
    label: str
    detail: str
    tone: str = ""  # good | bad | ""


def tiles(report: RunReport) -> tuple[Tile, ...]:
    """What the plan is worth: latency, load per replica and replicas against untuned, and how good the prediction was."""
    found = (_latency_tile(report), _capacity_tile(report), _replica_tile(report), _prediction_tile(report))
    return tuple(tile for tile in found if tile)


def _latency_tile(report: RunReport) -> Tile | None:
    main, untuned = main_measurement(report), report.untuned
    if main is None or not math.isfinite(p99_s(main)):
        return None
    if untuned is None or not math.isfinite(p99_s(untuned)):
        return _share_tile(main.p99_s, report.plan.slo.p99_s)
    detail = f"{wording.duration(main.p99_s)} instead of {wording.duration(untuned.p99_s)}, {_same_load(untuned)}"
    if untuned.p99_s >= _NOTICEABLE * main.p99_s:
        value = wording.times(untuned.p99_s, main.p99_s)
        return Tile(value=value, label="lower p99 than untuned", detail=detail, tone="good")
    if main.p99_s >= _NOTICEABLE * untuned.p99_s:
        value = wording.times(main.p99_s, untuned.p99_s)
        return Tile(value=value, label="higher p99 than untuned", detail=detail, tone="bad")
    return Tile(value="Same", label="p99 as untuned", detail=detail)


def _same_load(untuned: Measurement) -> str:
    """An overloaded server's p99 grows with the length of the run, so that length is part of the number."""
    overloaded = untuned.throughput_rps < _KEPT_UP * untuned.rate_rps
    return f"overloaded for {wording.duration(untuned.duration_s)}" if overloaded else "at the same load"


def _share_tile(p99: float, slo_s: float) -> Tile:
    return Tile(
        value=wording.percent(p99 / slo_s),
        label="of the SLO used",
        detail=f"{wording.duration(p99)} of {wording.duration(slo_s)}",
        tone="good" if p99 <= slo_s else "bad",
    )


def _capacity_tile(report: RunReport) -> Tile:
    plan_rps, untuned_rps = report.plan.capacity_rps, report.untuned_capacity_rps
    if untuned_rps is None:
        return Tile(value=wording.rate(plan_rps), label="load one replica takes", detail="with p99 within the SLO")
    detail = f"{wording.rate(plan_rps)} instead of {wording.rate(untuned_rps)} within the SLO"
    if untuned_rps == 0:
        return Tile(value=wording.rate(plan_rps), label="load one replica takes", detail=detail, tone="good")
    gain = plan_rps / untuned_rps
    tone = "good" if gain >= _NOTICEABLE else "bad" if gain * _NOTICEABLE <= 1 else ""
    value = wording.times(plan_rps, untuned_rps)
    return Tile(value=value, label="the load one replica takes", detail=detail, tone=tone)


def _replica_tile(report: RunReport) -> Tile:
    planned, high_rps = report.plan.replicas_at_high_rate, report.intent.rate.high_rps
    label = f"{'replica' if planned == 1 else 'replicas'} at {wording.rate(high_rps)}"
    if not report.untuned_capacity_rps:
        return Tile(value=str(planned), label=label, detail=f"up to {report.plan.scaling.max_replicas}")
    needed = math.ceil(high_rps / report.untuned_capacity_rps)
    tone = "good" if planned < needed else "bad" if planned > needed else ""
    return Tile(value=str(planned), label=label, detail=f"{needed} needed untuned", tone=tone)


def _prediction_tile(report: RunReport) -> Tile | None:
    main = main_measurement(report)
    predicted_s = report.plan.prediction.p99_s
    off = wording.change(p99_s(main), predicted_s) if main else ""
    if main is None or not off:
        return None
    return Tile(
        value=off,
        label="p99 off the prediction",
        detail=f"{wording.duration(main.p99_s)} measured, {wording.duration(predicted_s)} predicted",
    )
