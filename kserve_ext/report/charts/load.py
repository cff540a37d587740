"""p99 against load for one replica: the plan and the untuned configuration, the SLO, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from kserve_ext.domain import Measurement
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import drawable, duration_axis, needs_log, plain_axis
from kserve_ext.report.compare import protocol_name
from kserve_ext.report.content import LoadRow, RunReport
from kserve_ext.report.table import Table, plain_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_OVER_SLO = 30.0  # beyond 30 times the SLO the exact latency of an overload tells nothing
_CLEAR = 2.0  # capacities this far apart leave room for a label between the curves
_MARKS = (("o", 12), ("D", 7), ("s", 7), ("^", 7))  # the later, smaller ones lie on top


def load_chart(report: RunReport) -> Chart | None:
    """The chart, or nothing where no curve was predicted."""
    if not (report.load_curve or report.untuned_load_curve):
        return None
    return Chart(
        key="load",
        title="p99 against load, one replica",
        lead=_lead(report),
        legend="Lines: predicted. Dots: measured. Shaded: beyond the SLO.",
        paint=lambda figure, narrow: _paint(figure, report),
        wide_height=360,
        narrow_height=360,
        table=_table(report),
    )


def _lead(report: RunReport) -> str:
    plan = report.plan
    spare = wording.percent(plan.margin)
    text = f"One replica holds the SLO up to {wording.rate(plan.capacity_rps)} with at least {spare} of it to spare"
    if (untuned_rps := report.untuned_capacity_rps) is not None:
        text += f"; untuned up to {wording.rate(untuned_rps)}" if untuned_rps > 0 else "; untuned at no rate"
    return f"{text}. The plan runs it at {wording.rate(plan.prediction.rate_rps)}."


def _paint(figure: Figure, report: RunReport) -> None:
    axes = figure.add_subplot()
    slo_s = report.plan.slo.p99_s
    low, high = _span_s(report)
    log = needs_log([low, high])
    top = high * (1.6 if log else 1.12)
    duration_axis(axes, "y", low / 1.7, top, log=log)
    axes.axhspan(slo_s, top, color=Ink.LIMIT.value, alpha=0.06, linewidth=0)
    axes.axhline(slo_s, color=Ink.LIMIT.value, linewidth=1.5)
    axes.axvline(report.plan.prediction.rate_rps, color=Ink.PLAN.value, linewidth=1.2, dashes=(3, 3))
    _paint_curve(axes, report.untuned_load_curve, Ink.UNTUNED)
    _paint_curve(axes, report.load_curve, Ink.PLAN)
    _paint_runs(axes, report)
    _paint_labels(axes, report)
    plain_axis(axes.xaxis)
    axes.set_xlim(left=0)
    axes.set_xlabel("requests per second")


def _span_s(report: RunReport) -> tuple[float, float]:
    """Least and greatest latency to show: all that was measured, and of the curves what is not lost in overload."""
    slo_s = report.plan.slo.p99_s
    runs = [*report.measured.values(), *([report.untuned] if report.untuned else [])]
    measured = drawable(run.p99_s for run in runs)
    curves = drawable(row.p99_s for row in (*report.load_curve, *report.untuned_load_curve))
    return min(*measured, *curves, slo_s), max(*measured, slo_s, min(max(curves, default=0.0), _MOST_OVER_SLO * slo_s))


def _paint_curve(axes: Axes, curve: Sequence[LoadRow], ink: Ink) -> None:
    """The curve up to its first unbounded row, and from there up and out of the axes."""
    rows = sorted(curve)
    bounded = list(takewhile(lambda row: math.isfinite(row.p99_s), rows))
    shown = [(row.rate_rps, row.p99_s) for row in bounded]
    if bounded and len(bounded) < len(rows):
        shown.append((rows[len(bounded)].rate_rps, 10 * axes.get_ylim()[1]))
    axes.plot([rate_rps for rate_rps, _ in shown], [p99_s for _, p99_s in shown], color=ink.value, linewidth=2.5)


def _paint_runs(axes: Axes, report: RunReport) -> None:
    """Measured points. The protocols share a rate and lie near the curve: names go above left and below right."""
    shifts = (((-9, 13), "right"), ((9, -13), "left"))
    for place, (key, run) in enumerate(report.measured.items()):
        mark, size = _MARKS[place % len(_MARKS)]
        _paint_run(axes, run, Ink.PLAN, protocol_name(key), (mark, size), *shifts[place % 2])
    if report.untuned:
        _paint_run(axes, report.untuned, Ink.UNTUNED, "Untuned", _MARKS[0], (11, 0), "left")


def _paint_run(
    axes: Axes, run: Measurement, ink: Ink, name: str, mark: tuple[str, int], shift: tuple[int, int], side: str
) -> None:
    if not drawable([run.p99_s]):
        return
    axes.plot(
        [run.rate_rps], [run.p99_s], marker=mark[0], markersize=mark[1], color=ink.value, linestyle="none", zorder=5,
        markeredgecolor=Ink.PAGE.value, markeredgewidth=1.5,
    )  # fmt: skip
    axes.annotate(
        name, (run.rate_rps, run.p99_s), shift, textcoords="offset points", ha=side, va="center_baseline",
        color=ink.value,
    )  # fmt: skip


def _paint_labels(axes: Axes, report: RunReport) -> None:
    plan, slo_s = report.plan, report.plan.slo.p99_s
    low_rps, high_rps = sorted((report.untuned_capacity_rps or 0.0, plan.capacity_rps))
    clear = high_rps > _CLEAR * low_rps  # no curve crosses the line half way
    axes.annotate(
        f"SLO {wording.duration(slo_s)}", ((low_rps + high_rps) / 2 if clear else 0.0, slo_s), (6, 5),
        textcoords="offset points", color=Ink.LIMIT.value, fontweight="bold", ha="center" if clear else "left",
    )  # fmt: skip
    axes.annotate(
        f"planned: {wording.rate(plan.prediction.rate_rps)}", (plan.prediction.rate_rps, 1), (0, 4),
        xycoords=("data", "axes fraction"), textcoords="offset points", ha="center", color=Ink.PLAN.value,
        fontsize=11, fontweight="bold",
    )  # fmt: skip
    _paint_capacity(axes, report.untuned_load_curve, report.untuned_capacity_rps or 0.0, Ink.UNTUNED)
    _paint_capacity(axes, report.load_curve, plan.capacity_rps, Ink.PLAN)


def _paint_capacity(axes: Axes, curve: Sequence[LoadRow], rate_rps: float, ink: Ink) -> None:
    """A mark on the curve at the capacity, and its name right below."""
    p99_s = p99_at_s(curve, rate_rps)
    if p99_s is not None:
        axes.plot([rate_rps], [p99_s], marker="|", markersize=15, markeredgewidth=2, color=ink.value)
        axes.annotate(
            f"capacity {wording.rate(rate_rps)}", (rate_rps, p99_s), (6, -14), textcoords="offset points",
            color=ink.value, fontsize=11,
        )  # fmt: skip


def p99_at_s(curve: Sequence[LoadRow], rate_rps: float) -> float | None:
    """p99 of a load curve at a rate, between two rows by a straight line; nothing beyond its bounded rows."""
    rows = sorted(row for row in curve if math.isfinite(row.p99_s))
    for low, high in pairwise(rows):
        if low.rate_rps <= rate_rps <= high.rate_rps:
            return low.p99_s + (high.p99_s - low.p99_s) * (rate_rps - low.rate_rps) / (high.rate_rps - low.rate_rps)
    return None


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
