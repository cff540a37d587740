"""The pictures of a load: over time, its dispersion by time scale, and the course of its strongest season."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import log_ticks, name_lines, rate_axis
from kserve_ext.report.table import Table, plain_table
from kserve_ext.traffic import Season, Trace, Traffic
from kserve_ext.traffic.seasons import Shape, noticed, shape
from kserve_ext.traffic.wording import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS, _NARROW_PARTS = 420, 180  # of a trace: what a window can show
_UNITS = (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_SCALE_TICKS_S = (1, 10, 60, 600, 3600, 21_600, 86_400)


def load_chart(trace: Trace, load: Traffic) -> Chart | None:
    """The rate over the whole trace, with the spikes; nothing where nothing came."""
    if load.requests == 0:
        return None
    lead = f"Mean {wording.rate(load.level.mean_rps)}, busiest {span(load.step_s)} {wording.rate(load.level.max_rps)}."
    spikes = " Triangles: spikes." if load.spikes.found else ""
    return Chart(
        key="load", title="Load over time", lead=lead,
        legend=f"Line: mean of {span(_part_s(trace, _PARTS))}. Shaded: least to busiest {span(trace.step_s)} in it.{spikes}",
        paint=lambda figure, narrow: _paint_load(figure, trace, load, _NARROW_PARTS if narrow else _PARTS),
        wide_height=320, narrow_height=280,
    )  # fmt: skip


def _part_s(trace: Trace, parts: int) -> int:
    return math.ceil(len(trace.counts) / parts) * trace.step_s


def _paint_load(figure: Figure, trace: Trace, load: Traffic, parts: int) -> None:
    axes = figure.add_subplot()
    width = _part_s(trace, parts) // trace.step_s
    rates = np.asarray(trace.counts, dtype=np.float64) / trace.step_s
    whole = rates[: len(rates) // width * width].reshape(-1, width)
    unit, unit_s = _unit(load.duration_s)
    times = (np.arange(len(whole)) + 0.5) * width * trace.step_s / unit_s
    if width > 1:
        axes.fill_between(times, whole.min(axis=1), whole.max(axis=1), color=Ink.QUIET.value, alpha=0.35, linewidth=0)
    axes.plot(times, whole.mean(axis=1), color=Ink.PLAN.value, linewidth=1.6)
    spikes = load.spikes.found
    axes.plot(
        [spike.peak_s / unit_s for spike in spikes], [spike.peak_rps for spike in spikes], linestyle="none", marker="v",
        markersize=5, color=Ink.LIMIT.value, alpha=0.8, markeredgewidth=0,
    )  # fmt: skip
    axes.set_xlim(0, load.duration_s / unit_s)
    rate_axis(axes)
    axes.set_title("Requests per second", pad=12)
    axes.set_xlabel(f"{unit} from the start of the trace")


def _unit(duration_s: float) -> tuple[str, float]:
    return next(((name, size) for name, size in _UNITS if duration_s >= 2 * size), _UNITS[-1])


def dispersion_chart(load: Traffic) -> Chart | None:
    """Burstiness by time scale against Poisson; nothing where too few steps were counted."""
    if len(load.dispersion) < 2:
        return None
    finest = load.dispersion[0]
    return Chart(
        key="dispersion", title="Burstiness by time scale",
        lead=f"Counts of {span(finest.scale_s)} vary {wording.times(finest.index, 1.0) or '0×'} as much as Poisson arrivals, "
             f"those next to each other {wording.times(finest.local, 1.0) or '0×'}.",
        legend="Index of dispersion: variance over mean of the counts, Poisson = 1. Shaded: 95 of 100 Poisson traces of this "
               "length. Unbiased for independent counts, too low from about a tenth of the trace on.",
        paint=lambda figure, narrow: _paint_dispersion(figure, load),
        wide_height=320, narrow_height=320, table=_dispersion_table(load),
    )  # fmt: skip


def _paint_dispersion(figure: Figure, load: Traffic) -> None:
    axes = figure.add_subplot()
    found = load.dispersion
    scales = [each.scale_s for each in found]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.fill_between(scales, [each.poisson_low for each in found], [each.poisson_high for each in found],
                      color=Ink.QUIET.value, alpha=0.35, linewidth=0)  # fmt: skip
    axes.axhline(1.0, color=Ink.QUIET.value, linewidth=1.2)
    ends = []
    for name, values, ink in (
        ("all steps", [each.index for each in found], Ink.MUTED),
        ("neighbours", [each.local for each in found], Ink.PLAN),
    ):
        if shown := [(scale, value) for scale, value in zip(scales, values, strict=True) if value > 0]:
            axes.plot(*zip(*shown, strict=True), color=ink.value, marker="o", markersize=4)
            ends.append((name, *shown[-1], ink is Ink.PLAN))
    _dispersion_axes(axes, load)
    name_lines(axes, ends)


def _dispersion_axes(axes: Axes, load: Traffic) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    values = [value for each in load.dispersion for value in (each.index, each.local, each.poisson_low) if value > 0]
    low, high = min(0.5, *values) / 1.5, max(2.0, *values) * 1.5
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(log_ticks(low, high, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.number(value)))
    first, last = load.dispersion[0].scale_s, load.dispersion[-1].scale_s
    axes.set_xlim(first / 1.2, last * 3.0)  # room for the names of the lines
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in _SCALE_TICKS_S if first <= tick <= last] or [first]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: span(value)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_title("Index of dispersion", pad=12)
    axes.set_xlabel("time scale")


def _dispersion_table(load: Traffic) -> Table:
    rows = [
        (span(each.scale_s), f"{each.steps:,}", wording.number(each.index), wording.number(each.local),
         wording.percent(each.jumps), f"{each.poisson_low:.2f} to {each.poisson_high:.2f}")
        for each in load.dispersion
    ]  # fmt: skip
    return plain_table(
        "Dispersion by time scale", ("Scale", "Steps", "All steps", "Neighbours", "Jumps", "Poisson"), rows
    )


def season_chart(trace: Trace, load: Traffic) -> Chart | None:
    """The course of the strongest season; nothing where there is none beyond chance."""
    found = noticed(load.seasons)
    if not found:
        return None
    season = found[0]
    course = shape(np.asarray(trace.counts, dtype=np.int64), trace.step_s, trace.start_s, season)
    return Chart(
        key="season", title=f"The {season.name}",
        lead=f"{season.periods} of them; the others explain {wording.percent(season.explained)} of each one's variance, "
             f"by chance up to {wording.percent(season.by_chance)}.",
        legend=f"Line: median of {span(season.scale_s)}. Shaded: 10 to 90 % of the periods.",
        paint=lambda figure, narrow: _paint_season(figure, course, season),
        wide_height=280, narrow_height=260, table=_season_table(course, season),
    )  # fmt: skip


def _paint_season(figure: Figure, course: Shape, season: Season) -> None:
    from matplotlib.ticker import MultipleLocator

    axes = figure.add_subplot()
    unit, unit_s = _unit(season.period_s / 2)
    times = _times(course) / unit_s
    axes.fill_between(times, course.low_rps, course.high_rps, color=Ink.PLAN.value, alpha=0.18, linewidth=0)
    axes.plot(times, course.middle_rps, color=Ink.PLAN.value)
    axes.set_xlim(0, season.period_s / unit_s)
    axes.xaxis.set_major_locator(MultipleLocator(_even(season.period_s / unit_s)))
    rate_axis(axes)
    axes.set_title("Requests per second", pad=12)
    axes.set_xlabel(f"{unit} from where t_s is a multiple of the {season.name}")


def _times(course: Shape) -> NDArray[np.float64]:
    return (np.arange(len(course.middle_rps)) + 0.5) * float(course.scale_s)


def _even(length: float) -> float:
    """A step that divides the length into at most eight parts."""
    return next(length / parts for parts in (8, 7, 6, 5, 4, 3, 2, 1) if (length / parts).is_integer() or parts == 1)


def _season_table(course: Shape, season: Season) -> Table:
    every = max(1, len(course.middle_rps) // 24)
    rows = [
        (wording.duration(place * course.scale_s) if place else "0 s", *(_rates(course, place)))
        for place in range(0, len(course.middle_rps), every)
    ]
    return plain_table(f"Course of the {season.name}", ("From", "10 %", "Median", "90 %"), rows)


def _rates(course: Shape, place: int) -> Sequence[str]:
    return [wording.rate(values[place]) for values in (course.low_rps, course.middle_rps, course.high_rps)]
