"""What a batch costs and what it brings: time of one execution and rows per second against batch size, per stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kserve_ext.domain import Quantiles, ServicePoint
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import batch_axis, duration_axis, name_lines, needs_log, rate_axis
from kserve_ext.report.content import LatencyRow, RunReport
from kserve_ext.report.table import Table, plain_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What is known of one stage: the fit, the measured points, and where the plan sits."""

    curve: tuple[LatencyRow, ...]
    points: tuple[ServicePoint, ...]
    batch: int  # planned, at least 1
    instances: int  # planned

    def counts(self) -> list[int]:
        """Numbers of instances, the planned one last so that it is painted on top."""
        found = {row.instances for row in self.curve} | {point.instances for point in self.points}
        return sorted(found, key=lambda count: (count == self.instances, count))

    def batches(self) -> list[int]:
        return sorted({row.batch for row in self.curve} | {point.batch for point in self.points})

    def fitted(self, instances: int) -> list[LatencyRow]:
        return sorted(row for row in self.curve if row.instances == instances)


def batch_charts(report: RunReport) -> tuple[Chart, ...]:
    """One chart for each stage that has a curve or measured points."""
    charts = []
    for place, (planned, profiled) in enumerate(zip(report.plan.stages, report.profile.stages, strict=False)):
        stage = _Stage(
            curve=tuple(row for row in report.latency_curve if row.stage == place),
            points=profiled.points,
            batch=max(planned.max_batch_size, 1),
            instances=planned.instances,
        )
        if stage.batches():
            charts.append(_chart(place, stage, planned.model if len(report.plan.stages) > 1 else ""))
    return tuple(charts)


def spread_s(quantiles: Quantiles) -> tuple[float, float] | None:
    """p10 and p90 where both were kept."""
    kept = dict(zip(quantiles.probabilities, quantiles.values, strict=False))
    return (kept[0.1], kept[0.9]) if 0.1 in kept and 0.9 in kept else None


def _chart(place: int, stage: _Stage, model: str) -> Chart:
    return Chart(
        key=f"batch-{place}",
        title="Latency against batch size" + (f": {model}" if model else ""),
        lead=_lead(stage),
        legend="Line: fitted mean, shaded up to p99. Dots: measured, with p10 to p90; hollow dots: one request of many "
        "rows instead of many merged requests.",
        paint=lambda figure, narrow: _paint(figure, stage, narrow=narrow),
        wide_height=330,
        narrow_height=520,
        table=_table(stage),
    )


def _lead(stage: _Stage) -> str:
    means = {row.batch: row.mean_s for row in stage.fitted(stage.instances)}
    instances = wording.plural(stage.instances, "instance")
    if stage.batch == 1 or stage.batch not in means or 1 not in means:
        return f"The plan serves batches of up to {stage.batch} on {instances}."
    cost, one = means[stage.batch], means[1]
    return (
        f"With {instances} at work, a batch of {stage.batch} takes {wording.duration(cost)}: "
        f"{wording.times(cost, one)} the time of one row, for {wording.times(stage.batch * one, cost)} the rows a second."
    )


# ---------------------------------------------------------------------------------------------------------- painting


def _paint(figure: Figure, stage: _Stage, *, narrow: bool) -> None:
    cost, gain = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    figure.set_layout_engine("constrained", wspace=0.06, hspace=0.08)
    for axes, title in ((cost, "Time of one execution"), (gain, "Rows per second, all instances at work")):
        axes.set_title(title, pad=14)
        axes.axvline(stage.batch, color=Ink.PLAN.value, linewidth=1.2, dashes=(3, 3))
        batch_axis(axes, stage.batches())
        axes.margins(x=0.12)
    cost.set_xlabel("batch size" if not narrow else "")
    gain.set_xlabel("batch size")
    for count in stage.counts():
        _paint_cost(cost, stage, count)
        _paint_gain(gain, stage, count)
    _limits(cost, stage)
    rate_axis(gain)
    for axes, value in ((cost, lambda row: row.mean_s), (gain, _rows_per_s)):
        ends = [(row.instances, row.batch, value(row)) for count in stage.counts() for row in stage.fitted(count)[-1:]]
        name_lines(axes, [(f"{count} inst.", batch, height, count == stage.instances) for count, batch, height in ends])
    cost.annotate(
        f"planned: {stage.batch}", (stage.batch, 1), (0, 3), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="center", color=Ink.PLAN.value, fontsize=11, fontweight="bold",
    )  # fmt: skip


def _rows_per_s(row: LatencyRow | ServicePoint) -> float:
    return row.batch * row.instances / row.mean_s


def _limits(axes: Axes, stage: _Stage) -> None:
    values = [row.p99_s for row in stage.curve] + [point.mean_s for point in stage.points]
    values += [spread[1] for point in stage.points if (spread := spread_s(point.quantiles_s))]
    lows = [row.mean_s for row in stage.curve] + [point.mean_s for point in stage.points]
    duration_axis(axes, "y", min(lows) / 1.5, max(values) * 1.08, log=needs_log(values))


def _ink(stage: _Stage, count: int) -> str:
    return (Ink.PLAN if count == stage.instances else Ink.QUIET).value


def _paint_cost(axes: Axes, stage: _Stage, count: int) -> None:
    ink, rows = _ink(stage, count), stage.fitted(count)
    batches, means = [row.batch for row in rows], [row.mean_s for row in rows]
    axes.plot(batches, means, color=ink)
    if count == stage.instances:
        axes.fill_between(batches, means, [row.p99_s for row in rows], color=ink, alpha=0.12, linewidth=0)
    for point in stage.points:
        if point.instances == count:
            _paint_point(axes, point, ink)


def _paint_point(axes: Axes, point: ServicePoint, ink: str) -> None:
    if spread := spread_s(point.quantiles_s):
        axes.plot([point.batch, point.batch], spread, color=ink, linewidth=1.2)
    merged = point.requests == point.batch
    fill = ink if merged else Ink.PAGE.value
    axes.plot([point.batch], [point.mean_s], marker="o", markersize=5.5, color=ink, markerfacecolor=fill)


def _paint_gain(axes: Axes, stage: _Stage, count: int) -> None:
    ink, rows = _ink(stage, count), stage.fitted(count)
    batches, rates = [row.batch for row in rows], [_rows_per_s(row) for row in rows]
    axes.plot(batches, rates, color=ink)
    for point in stage.points:
        if point.instances == count and point.requests == point.batch:
            axes.plot([point.batch], [_rows_per_s(point)], marker="o", markersize=5.5, color=ink)


# ------------------------------------------------------------------------------------------------------------- table


def _table(stage: _Stage) -> Table:
    head = ("Batch", "Instances", "Requests", "Measured mean", "p10", "p90", "Executions", "Fitted mean", "Fitted p99")
    fits = {(row.instances, row.batch): row for row in stage.curve}
    points: dict[tuple[int, int], list[ServicePoint]] = {}
    for point in stage.points:
        points.setdefault((point.instances, point.batch), []).append(point)
    rows = [
        (str(batch), str(instances), *_measured_cells(point), *_fitted_cells(fits.get((instances, batch))))
        for instances, batch in sorted(fits.keys() | points.keys())
        for point in points.get((instances, batch), [None])
    ]
    return plain_table("Measured and fitted time of one execution", head, rows)


def _measured_cells(point: ServicePoint | None) -> tuple[str, ...]:
    if point is None:
        return (wording.NONE,) * 5
    spread = spread_s(point.quantiles_s)
    ends = tuple(wording.duration(value) for value in spread) if spread else (wording.NONE, wording.NONE)
    return (str(point.requests), wording.duration(point.mean_s), *ends, wording.number(point.count))


def _fitted_cells(row: LatencyRow | None) -> tuple[str, str]:
    return (wording.duration(row.mean_s), wording.duration(row.p99_s)) if row else (wording.NONE, wording.NONE)
