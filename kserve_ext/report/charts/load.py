"""p99 against load for one replica: the plan and the untuned configuration, the SLO, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kserve_ext.domain import Measurement
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import drawable, duration_axis, needs_log
from kserve_ext.report.compare import protocol_name, untuned_capacity_rps
from kserve_ext.report.content import LoadRow, RunReport
from kserve_ext.report.table import Table, plain_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_OVER_SLO = 30.0  # beyond 30 times the SLO the exact latency of an overload tells nothing
_MARKS = ("o", "D", "s", "^")


def load_chart(report: RunReport) -> Chart | None:
    """The chart, or nothing where no curve was predicted."""
    if not (report.load_curve or report.untuned_load_curve):
        return None
    return Chart(
        key="load",
        title="p99 against load, one replica",
        lead=_lead(report),
        legend="Lines: predicted. Dots: measured. Shaded: beyond the SLO.",
        paint=lambda figure, narrow: _paint(figure, report, narrow=narrow),
        wide_height=360,
        narrow_height=360,
        table=_table(report),
    )


def _lead(report: RunReport) -> str:
    plan = report.plan
    text = f"One replica holds the SLO up to {wording.rate(plan.capacity_rps)} with {wording.percent(plan.margin)} to spare"
    if report.untuned_load_curve:
        untuned_rps = untuned_capacity_rps(report)
        text += f"; untuned up to {wording.rate(untuned_rps)}" if untuned_rps > 0 else "; untuned at no rate"
    return f"{text}. The plan runs it at {wording.rate(plan.prediction.rate_rps)}."


def _paint(figure: Figure, report: RunReport, *, narrow: bool) -> None:
    axes = figure.add_subplot()
    slo_s, plan = report.plan.slo.p99_s, report.plan
    runs = list(report.measured.values()) + ([report.untuned] if report.untuned else [])
    shown = drawable([row.p99_s for row in (*report.load_curve, *report.untuned_load_curve)])
    measured = drawable([run.p99_s for run in runs])
    low, high = min(shown + measured + [slo_s]), max([*measured, min(max([*shown, slo_s]), _MOST_OVER_SLO * slo_s)])
    log = needs_log([low, high])
    top = high * (1.6 if log else 1.12)
    duration_axis(axes, "y", low / 1.7, top, log=log)
    axes.axhspan(slo_s, top, color=Ink.LIMIT.value, alpha=0.07, linewidth=0)
    axes.axhline(slo_s, color=Ink.LIMIT.value, linewidth=1.5)
    axes.axvline(plan.prediction.rate_rps, color=Ink.PLAN.value, linewidth=1.2, dashes=(3, 3))
    _paint_curve(axes, report.untuned_load_curve, Ink.UNTUNED)
    _paint_curve(axes, report.load_curve, Ink.PLAN)
    _paint_runs(axes, report)
    _paint_labels(axes, report)
    axes.set_xlim(left=0)
    axes.set_xlabel("requests per second")


def _paint_curve(axes: Axes, curve: Sequence[LoadRow], ink: Ink) -> None:
    rows = sorted(row for row in curve if math.isfinite(row.p99_s))
    axes.plot([row.rate_rps for row in rows], [row.p99_s for row in rows], color=ink.value, linewidth=2.5)


def _paint_runs(axes: Axes, report: RunReport) -> None:
    for (key, run), mark in zip(report.measured.items(), _MARKS * len(report.measured), strict=False):
        _paint_run(axes, run, mark, Ink.PLAN, protocol_name(key))
    if report.untuned:
        _paint_run(axes, report.untuned, "o", Ink.UNTUNED, "Untuned")


def _paint_run(axes: Axes, run: Measurement, mark: str, ink: Ink, name: str) -> None:
    if drawable([run.p99_s]):
        axes.plot(
            [run.rate_rps], [run.p99_s], marker=mark, markersize=9, color=ink.value, markeredgecolor=Ink.PAGE.value,
            markeredgewidth=1.5, linestyle="none", zorder=5,
        )  # fmt: skip
        axes.annotate(
            name, (run.rate_rps, run.p99_s), (9, 0), textcoords="offset points", va="center_baseline", color=ink.value
        )


def _paint_labels(axes: Axes, report: RunReport) -> None:
    plan, slo_s = report.plan, report.plan.slo.p99_s
    axes.annotate(
        f"SLO {wording.duration(slo_s)}", (0, slo_s), (6, 5), xycoords=("axes fraction", "data"),
        textcoords="offset points", color=Ink.LIMIT.value, fontweight="bold",
    )  # fmt: skip
    axes.annotate(
        f"planned: {wording.rate(plan.prediction.rate_rps)}", (plan.prediction.rate_rps, 1), (0, 4),
        xycoords=("data", "axes fraction"), textcoords="offset points", ha="center", color=Ink.PLAN.value,
        fontsize=11, fontweight="bold",
    )  # fmt: skip
    for rate_rps, ink in ((plan.capacity_rps, Ink.PLAN), (untuned_capacity_rps(report), Ink.UNTUNED)):
        if rate_rps > 0:
            axes.plot(
                [rate_rps], [slo_s * (1 - plan.margin)], marker="|", markersize=15, markeredgewidth=2, color=ink.value
            )
            axes.annotate(
                f"capacity {wording.rate(rate_rps)}", (rate_rps, slo_s * (1 - plan.margin)), (6, -14),
                textcoords="offset points", color=ink.value, fontsize=11,
            )  # fmt: skip


def _table(report: RunReport) -> Table:
    named = (("Plan", report.load_curve), ("Untuned", report.untuned_load_curve))
    rows = [
        (
            name,
            wording.rate(row.rate_rps),
            wording.duration(row.p50_s),
            wording.duration(row.p99_s),
            wording.number(row.mean_batch),
        )
        for name, curve in named
        for row in sorted(curve)
    ]
    return plain_table("Predicted for one replica", ("Configuration", "Rate", "p50", "p99", "Mean batch"), rows)
