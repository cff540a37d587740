"""The first figure: from p50 to p99 of every run, one line each, against the SLO."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kserve_ext.domain import Measurement, Prediction
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import drawable, duration_axis, needs_log
from kserve_ext.report.compare import protocol_name
from kserve_ext.report.content import RunReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_PX = 46


class _Range(NamedTuple):
    label: str
    p50_s: float
    p95_s: float
    p99_s: float
    ink: Ink
    solid: bool  # measured, not predicted


def ranges_chart(report: RunReport) -> Chart:
    """p50 to p99 of measured, predicted and untuned on one axis."""
    rows = _rows(report)
    height = 60 + _ROW_PX * len(rows)
    return Chart(
        key="ranges",
        title="Latency with and without the plan" if report.untuned else "Latency against the SLO",
        lead="; ".join(f"{row.label}: p99 {wording.duration(row.p99_s)}" for row in rows) + ".",
        legend="Small dot p50, tick p95, large dot p99. Hollow: predicted. Shaded: beyond the SLO.",
        paint=lambda figure, narrow: _paint(figure, rows, report.plan.slo.p99_s, narrow=narrow),
        wide_height=height,
        narrow_height=height,
    )


def _rows(report: RunReport) -> list[_Range]:
    runs = [(f"Measured, {protocol_name(key)}", run, Ink.PLAN, True) for key, run in report.measured.items()]
    found = [_range(label, run, ink, solid) for label, run, ink, solid in runs]
    found.append(_range("Predicted", report.plan.prediction, Ink.PLAN, False))
    if report.untuned:
        found.append(_range("Untuned", report.untuned, Ink.UNTUNED, True))
    return [row for row in found if len(drawable(row[1:4])) == 3]


def _range(label: str, source: Measurement | Prediction, ink: Ink, solid: bool) -> _Range:
    return _Range(label, source.p50_s, source.p95_s, source.p99_s, ink, solid)


def _paint(figure: Figure, rows: list[_Range], slo_s: float, *, narrow: bool) -> None:
    axes = figure.add_subplot()
    values = [value for row in rows for value in row[1:4]] + [slo_s]
    log = needs_log(values)
    low, high = (min(values) / 1.6, max(values) * 1.6) if log else (0.0, max(values) * 1.08)
    duration_axis(axes, "x", low, high, log=log, most=4 if narrow else 7)
    axes.grid(visible=False)
    axes.axvspan(slo_s, high, color=Ink.LIMIT.value, alpha=0.06, linewidth=0)
    axes.axvline(slo_s, color=Ink.LIMIT.value, linewidth=1.5)
    axes.annotate(
        f"SLO {wording.duration(slo_s)}", (slo_s, 1), (0, 5), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="center", color=Ink.LIMIT.value, fontweight="bold",
    )  # fmt: skip
    _beside(axes, 1.0, "p99", Ink.MUTED, (14, 5), "bottom")
    for place, row in enumerate(rows):
        _paint_row(axes, place, row)
        ink = Ink.LIMIT if row.p99_s > slo_s else Ink.TEXT
        _beside(axes, place, wording.duration(row.p99_s), ink, (14, 0), "center_baseline")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], color=Ink.TEXT.value, fontsize=13)


def _paint_row(axes: Axes, place: int, row: _Range) -> None:
    ink = row.ink.value
    fill = ink if row.solid else Ink.PAGE.value
    axes.plot([row.p50_s, row.p99_s], [place, place], color=ink, linewidth=3, alpha=0.45)
    axes.plot([row.p95_s], [place], marker="|", color=ink, markersize=13, markeredgewidth=2)
    axes.plot([row.p50_s], [place], marker="o", markersize=7, color=ink, markerfacecolor=fill)
    axes.plot([row.p99_s], [place], marker="o", markersize=12, color=ink, markerfacecolor=fill, markeredgewidth=2)


def _beside(axes: Axes, place: float, text: str, ink: Ink, shift: tuple[int, int], align: str) -> None:
    """Text in the column right of the axes; its head stands at the top of the axes, a value at its row."""
    vertical = "data" if align == "center_baseline" else "axes fraction"
    axes.annotate(
        text, (1, place), shift, xycoords=("axes fraction", vertical), textcoords="offset points", va=align,
        color=ink.value, fontweight="bold" if vertical == "data" else "normal",
    )  # fmt: skip
