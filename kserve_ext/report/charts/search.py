"""What else the plan could have been: the load one replica takes, for every batch size and number of instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import batch_axis, name_lines, rate_axis
from kserve_ext.report.content import Candidate, RunReport
from kserve_ext.report.table import Table, plain_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SAME = 1.005  # capacities nearer than the search resolves
_TABLE_ROWS = 60  # the best ones; a grid search can have thousands


def search_chart(report: RunReport) -> Chart | None:
    """The chart, or nothing where there was nothing to choose from."""
    if len(report.candidates) < 2:
        return None
    ranked = sorted(report.candidates, key=lambda candidate: (-candidate.capacity_rps, candidate))
    return Chart(
        key="search",
        title="What else it could have been",
        lead=_lead(report, ranked),
        legend=_legend(ranked),
        paint=lambda figure, narrow: _paint(figure, report),
        wide_height=340,
        narrow_height=340,
        table=_table(ranked),
    )


def _lead(report: RunReport, ranked: Sequence[Candidate]) -> str:
    best_rps, planned_rps, needed_rps = (
        ranked[0].capacity_rps,
        report.plan.capacity_rps,
        report.plan.prediction.rate_rps,
    )
    enough = sum(candidate.capacity_rps >= needed_rps for candidate in ranked)
    most = (
        f"The most any of them takes is {wording.rate(best_rps)}; the plan takes {wording.rate(planned_rps)}."
        if best_rps > _SAME * planned_rps
        else f"None takes more than the plan, {wording.rate(planned_rps)}."
    )
    configurations = wording.plural(len(ranked), "configuration")
    return f"{enough} of {configurations} hold {wording.rate(needed_rps)} within the SLO. {most}"


def _legend(candidates: Sequence[Candidate]) -> str:
    delays = len({candidate.delay_s for candidate in candidates}) > 1
    lines = "Lines: the best queue delay for each batch size, faint dots: the others. " if delays else ""
    gaps = " No dot: the SLO does not hold at any rate." if any(one.capacity_rps <= 0 for one in candidates) else ""
    return f"{lines}Ring: the plan. Dashed: the rate each replica must take.{gaps}"


def _size(candidate: Candidate) -> int:
    return max(candidate.max_batch, 1)


def _paint(figure: Figure, report: RunReport) -> None:
    axes = figure.add_subplot()
    planned = report.plan.stages[report.main_stage]
    usable = [candidate for candidate in report.candidates if candidate.capacity_rps > 0]
    batch_axis(axes, [_size(candidate) for candidate in report.candidates])
    ends = []
    for count in sorted({c.instances for c in usable}, key=lambda count: (count == planned.instances, count)):
        ink = Ink.PLAN if count == planned.instances else Ink.QUIET
        end = _paint_count(axes, [candidate for candidate in usable if candidate.instances == count], ink)
        ends.append((f"{count} inst.", *end, ink is Ink.PLAN))
    _paint_needed(axes, report.plan.prediction.rate_rps)
    axes.plot(
        [max(planned.max_batch_size, 1)], [report.plan.capacity_rps], marker="o", markersize=16, linestyle="none",
        markerfacecolor="none", markeredgecolor=Ink.PLAN.value, markeredgewidth=2.5,
    )  # fmt: skip
    axes.margins(x=0.1)
    rate_axis(axes)
    name_lines(axes, ends)
    axes.set_title("Requests per second one replica takes within the SLO", pad=12)
    axes.set_xlabel("largest batch")


def _paint_count(axes: Axes, candidates: Sequence[Candidate], ink: Ink) -> tuple[int, float]:
    """Dots for all candidates and a line through the best of each batch size; where that line ends."""
    best: dict[int, float] = {}
    for candidate in candidates:
        best[_size(candidate)] = max(best.get(_size(candidate), 0.0), candidate.capacity_rps)
    line = sorted(best.items())
    axes.plot(
        [_size(c) for c in candidates], [c.capacity_rps for c in candidates], marker="o", markersize=4,
        linestyle="none", color=ink.value, alpha=0.35, markeredgewidth=0,
    )  # fmt: skip
    axes.plot([size for size, _ in line], [capacity_rps for _, capacity_rps in line], color=ink.value)
    return line[-1]


def _paint_needed(axes: Axes, rate_rps: float) -> None:
    axes.axhline(rate_rps, color=Ink.TEXT.value, linewidth=1.2, dashes=(3, 3))
    axes.annotate(
        f"needed: {wording.rate(rate_rps)}", (0, rate_rps), (6, 5), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=11,
    )  # fmt: skip


def _table(ranked: Sequence[Candidate]) -> Table:
    shown = ranked[:_TABLE_ROWS]
    caption = "Configurations by capacity" + (f", the best {len(shown)} of {len(ranked)}" if shown != ranked else "")
    rows = [
        (
            str(candidate.max_batch),
            wording.duration(candidate.delay_s),
            str(candidate.instances),
            wording.rate(candidate.capacity_rps),
            wording.duration(candidate.p99_s),
        )
        for candidate in shown
    ]
    return plain_table(
        caption, ("Largest batch", "Queue delay", "Instances", "Capacity", "p99 at the planned rate"), rows
    )
