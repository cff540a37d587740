"""The chart of a knob: requests in time and replicas billed at each of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kserve_ext.cases.varying import Variation
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink
from kserve_ext.report.charts.scale import plain_axis
from kserve_ext.report.layout import margins

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def variation_chart(variation: Variation) -> Chart:
    """Two bands over the values, evenly apart in the order given."""
    return Chart(
        key="knob",
        title=f"What {variation.knob.name} does",
        lead="Above: requests that are late. Below: replicas billed, on average.",
        legend="Red: the SLO does not hold. The line: late requests allowed. No bar: infeasible, or none late.",
        paint=lambda figure, narrow: _paint(figure, variation),
        wide_height=380,
        narrow_height=380,
    )


def _paint(figure: Figure, variation: Variation) -> None:
    from matplotlib.ticker import FuncFormatter

    late_axes, cost_axes = figure.subplots(2, 1, sharex=True)
    places = range(len(variation.tries))
    inks = [(Ink.PLAN if each.holds else Ink.LIMIT).value for each in variation.tries]
    late = [1 - each.outcome.attainment if each.outcome else 0.0 for each in variation.tries]
    late_axes.bar(places, late, color=inks, width=0.5)
    allowed = [1 - each.attainment_asked for each in variation.tries]
    late_axes.hlines(
        allowed, [p - 0.4 for p in places], [p + 0.4 for p in places], color=Ink.LIMIT.value, linewidth=1.5
    )
    late_axes.set_title("late")
    late_axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.percent(value)))
    cost_axes.bar(
        places, [each.outcome.billed if each.outcome else 0.0 for each in variation.tries], color=inks, width=0.5
    )
    cost_axes.set_title("replicas billed")
    plain_axis(cost_axes.yaxis)
    cost_axes.set_xticks(places, [each.value for each in variation.tries], color=Ink.TEXT.value)
    cost_axes.set_xlabel(variation.knob.name)
    margins(figure, left=52, top=24, right=12, bottom=44, gap=34)
