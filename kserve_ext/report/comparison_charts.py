"""Charts of a comparison: replicas and missed requests over time, cost against attainment, and the ladder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kserve_ext.cases.comparing import Comparison, Result
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import plain_axis
from kserve_ext.report.comparison_figures import in_time, ladder_line, ranked
from kserve_ext.report.layout import margins, place_labels
from kserve_ext.report.table import plain_table
from kserve_ext.simulate.outcome import MINUTE_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 288  # columns that a reader can tell apart: five minutes of a day
_ROW_PX = 74
_HEAD_PX = 150
_LATE = (0.0, 0.02, 0.2)  # shares of late requests beyond those allowed, drawn in stronger and stronger red
_ALPHAS = (0.35, 0.65, 1.0)


class _Column(NamedTuple):
    """What happened in one column of the chart."""

    t_s: float
    rate_rps: float
    ready: float
    billed: float
    late: float


def ink_of(result: Result) -> Ink:
    """Ours in the plan's colour, what no one can run in grey, the others as the untuned."""
    if result.policy.startswith("ours"):
        return Ink.PLAN
    return Ink.QUIET if result.clairvoyant else Ink.UNTUNED


def time_chart(comparison: Comparison) -> Chart:
    """Traffic on top, and below it one band for each policy."""
    results = ranked(comparison)
    height = _HEAD_PX + _ROW_PX * len(results)
    return Chart(
        key="time",
        title="Over time",
        lead=_time_lead(comparison),
        legend=(
            "Top: requests per second. Below, for each policy: line, replicas ready; shaded, replicas billed; red, the "
            f"times with fewer than {wording.percent(comparison.case.attainment)} in time, the stronger the more are late."
        ),
        paint=lambda figure, narrow: _paint_time(figure, comparison, results),
        wide_height=height,
        narrow_height=height,
    )


def _time_lead(comparison: Comparison) -> str:
    minutes = len(comparison.results[0].outcome.minutes)
    missed = [
        f"{result.policy} in {round(result.outcome.violation_share * minutes)}"
        for result in ranked(comparison) if result.outcome.violation_share
    ]  # fmt: skip
    return f"Minutes with fewer than 99 % in time: {', '.join(missed)}." if missed else "No minute below 99 % in time."


def _columns(comparison: Comparison, result: Result) -> list[_Column]:
    """Minutes joined to at most _POINTS columns: means of replicas, late requests of all requests."""
    minutes = result.outcome.minutes
    width = math.ceil(len(minutes) / _POINTS)
    columns = []
    for first in range(0, len(minutes), width):
        joined = minutes[first : first + width]
        requests = sum(minute.requests for minute in joined)
        late = requests - sum(minute.in_time for minute in joined)
        columns.append(_Column(
            joined[0].t_s, requests / (len(joined) * MINUTE_S), sum(m.replicas for m in joined) / len(joined),
            sum(m.billed for m in joined) / len(joined), late / requests if requests else 0.0,
        ))  # fmt: skip
    return columns


def _paint_time(figure: Figure, comparison: Comparison, results: Sequence[Result]) -> None:
    rows = figure.subplots(
        1 + len(results), 1, sharex=True, gridspec_kw={"height_ratios": [1.35] + [1.0] * len(results)}
    )
    trace = comparison.case.trace
    unit_s, unit = (3600, "hours") if trace.duration_s > 3 * 3600 else (60, "minutes")
    width = math.ceil(len(trace.counts) / _POINTS)
    whole = np.add.reduceat(np.array(trace.counts, dtype=float), range(0, len(trace.counts), width))
    edges = np.minimum(np.arange(len(whole) + 1) * width, len(trace.counts)) * trace.step_s
    rates = whole / np.diff(edges)
    rows[0].stairs(rates, edges / unit_s, fill=True, color=Ink.QUIET.value, alpha=0.55, linewidth=0)
    rows[0].set_title("requests per second")
    rows[0].set_ylim(bottom=0)
    bands = [_columns(comparison, result) for result in results]
    top = max((column.billed for band in bands for column in band), default=1.0) * 1.08 or 1.0
    for axes, result, band in zip(rows[1:], results, bands, strict=True):
        _paint_band(axes, comparison, result, band, unit_s, top)
    for axes in rows:
        plain_axis(axes.yaxis)
        axes.yaxis.get_major_locator().set_params(nbins=3)
        axes.margins(x=0)
    plain_axis(rows[-1].xaxis)
    rows[-1].set_xlabel(f"{unit} from the beginning")
    margins(figure, left=34, top=24, right=12, bottom=44, gap=24)


def _paint_band(
    axes: Axes, comparison: Comparison, result: Result, band: Sequence[_Column], unit_s: int, top: float
) -> None:
    ink = ink_of(result).value
    end_s = comparison.case.trace.duration_s
    edges = np.array([*(column.t_s for column in band), end_s]) / unit_s
    axes.stairs([column.billed for column in band], edges, fill=True, color=ink, alpha=0.22, linewidth=0)
    axes.stairs([column.ready for column in band], edges, color=ink, linewidth=1.4, baseline=None)
    allowed = 1 - comparison.case.attainment
    strip = 0.16 * top
    for least, most, alpha in zip(_LATE, (*_LATE[1:], math.inf), _ALPHAS, strict=True):
        spans = [
            (edges[index], edges[index + 1] - edges[index]) for index, column in enumerate(band)
            if least < column.late - allowed <= most
        ]  # fmt: skip
        axes.broken_barh(spans, (-strip, strip * 0.8), color=Ink.LIMIT.value, alpha=alpha, linewidth=0)
    axes.set_ylim(-strip, top)
    seen = result.outcome
    title = f"{result.policy} · {in_time(seen.attainment)} in time, {seen.billed:.2f} billed"
    axes.set_title(title, color=Ink.TEXT.value if comparison.holds(result) else Ink.LIMIT.value, fontsize=11, pad=3)


# ------------------------------------------------------------------------------------------- cost and attainment


def cost_chart(comparison: Comparison) -> Chart:
    """Each policy's cost and the share of requests it has late, on a logarithmic scale."""
    asked = wording.percent(comparison.case.attainment)
    return Chart(
        key="cost",
        title="Cost against requests in time",
        lead="Up and left is better: more requests in time, fewer replicas.",
        legend=f"Blue: ours. Hollow grey: clairvoyant. Shaded: fewer than {asked} in time.",
        paint=lambda figure, narrow: _paint_cost(figure, comparison, narrow=narrow),
        wide_height=420,
        narrow_height=420,
    )


def _paint_cost(figure: Figure, comparison: Comparison, *, narrow: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes = figure.add_subplot()
    requests = max(1, sum(comparison.case.trace.counts))
    least = min(0.5 / requests, (1 - comparison.case.attainment) / 20)
    late = [max(1 - result.outcome.attainment, least) for result in comparison.results]
    allowed = 1 - comparison.case.attainment
    bottom = max(*late, allowed) * 2.5
    axes.set_yscale("log")
    axes.set_ylim(bottom, least / 2)
    levels = [10.0**-power for power in range(8) if least <= 10.0**-power <= bottom]
    axes.yaxis.set_major_locator(FixedLocator([*(level for level in levels if level > 3 * least), least]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(
        lambda value, _: "all" if value == least else f"{100 * (1 - value):.10g}{wording.NARROW_SPACE}%"
    ))  # fmt: skip
    axes.axhspan(bottom, allowed, color=Ink.LIMIT.value, alpha=0.06, linewidth=0)
    axes.axhline(allowed, color=Ink.LIMIT.value, linewidth=1.5)
    billed = [result.outcome.billed for result in comparison.results]
    spread = max(billed) - min(billed) or max(*billed, 1.0)
    axes.set_xlim(max(0.0, min(billed) - 0.12 * spread), max(billed) + (0.45 if narrow else 0.25) * spread)
    for result, share in zip(comparison.results, late, strict=True):
        ink = ink_of(result).value
        fill = Ink.PAGE.value if result.clairvoyant else ink
        size = 12 if result is comparison.winner else 8
        axes.plot(
            [result.outcome.billed], [share], marker="o", markersize=size, color=ink, markerfacecolor=fill, zorder=3
        )
    plain_axis(axes.xaxis)
    axes.set_xlabel("replicas billed, on average")
    axes.set_title("in time")
    margins(figure, left=66, top=26, right=12, bottom=44)
    place_labels(figure, axes, [
        (result.policy, result.outcome.billed, share, ink_of(result), result is comparison.winner)
        for result, share in zip(comparison.results, late, strict=True)
    ])  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- ladder


def ladder_chart(comparison: Comparison) -> Chart:
    """From what no policy can go below up to the policies that were run."""
    rows = _rungs(comparison)
    height = 50 + 38 * len(rows)
    return Chart(
        key="ladder",
        title="Where the replicas go",
        lead=ladder_line(comparison)[0].upper() + ladder_line(comparison)[1:] + ".",
        legend=(
            "Grey: bounds and policies that know the future. From work bound to oracle: whole replicas and chance. From "
            "oracle to perfect rate: not knowing each request. From there to reactive: not knowing the rate."
        ),
        paint=lambda figure, narrow: _paint_ladder(figure, rows),
        wide_height=height,
        narrow_height=height,
        table=plain_table(
            "Replicas on average", ("Step", "Billed", "In time", "What it adds"),
            [(step.name, f"{step.billed:.3f}", in_time(step.attainment), step.cause) for step in comparison.ladder],
        ),
    )  # fmt: skip


def _rungs(comparison: Comparison) -> list[tuple[str, float, Ink]]:
    rungs = [(step.name, step.billed, Ink.QUIET if step.name != "reactive" else Ink.PLAN) for step in comparison.ladder]
    winner = comparison.winner
    if winner is not None and winner.policy != "ours-reactive":
        rungs.append((winner.policy, winner.outcome.billed, ink_of(winner)))
    return rungs


def _paint_ladder(figure: Figure, rows: Sequence[tuple[str, float, Ink]]) -> None:
    axes = figure.add_subplot()
    places = range(len(rows))
    axes.barh(places, [billed for _, billed, _ in rows], color=[ink.value for *_, ink in rows], height=0.62, alpha=0.8)
    for place, (_, billed, _) in enumerate(rows):
        axes.annotate(f"{billed:.2f}", (billed, place), (6, 0), textcoords="offset points", va="center_baseline",
                      color=Ink.TEXT.value, fontweight="bold")  # fmt: skip
    axes.set_yticks(places, [name for name, *_ in rows], color=Ink.TEXT.value)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(billed for _, billed, _ in rows) * 1.12 or 1.0)
    axes.grid(visible=False)
    plain_axis(axes.xaxis)
