"""The page of a service's alternatives: cost per million requests against p99, with the front that none beats.

Alternatives in, the text of one self-contained HTML file out; the same alternatives give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from kserve_ext.policy.fleet.alternatives import Alternative, Alternatives
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, Ink, draw
from kserve_ext.report.charts.scale import duration_axis, plain_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROOM = 1.15  # beyond the outermost point, so that its mark is whole
_HEAD = ("Runs on", "Pool", "Replicas", "On spot", "SLO", "p99", "Cost an hour", "Cost per million")


def render_alternatives(found: Alternatives) -> str:
    """The page as HTML text. Raises MissingExtraError where matplotlib is not installed."""
    chart = pareto_chart(found)
    drawn = "".join(draw(chart, narrow=narrow) for narrow in (False, True)) if chart else ""
    lead = escape(chart.lead if chart else "No alternative has a price: give pricePerHour in the fleet file.")
    legend = f"<figcaption>{escape(chart.legend)}</figcaption>" if chart else ""
    refused = "".join(f"<li>{escape(each.field)}: {escape(each.text)}</li>" for each in found.refused)
    style = (files("kserve_ext.report") / "style.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(found.service)}: alternatives</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(found.service)}</h1>\n<p class="headline">{lead}</p>\n'
        f'<section class="first"><figure>{drawn}{legend}</figure></section>\n'
        f"<section><h2>All alternatives at {escape(wording.rate(found.rate_rps))}</h2>\n{_table(found.found)}</section>\n"
        + (f"<section><h2>Not possible</h2><ul>{refused}</ul></section>\n" if refused else "")
        + "</main>\n</body>\n</html>\n"
    )


def pareto_chart(found: Alternatives) -> Chart | None:
    """The chart, or nothing where no alternative has a price."""
    priced = [one for one in found.found if one.cost_per_million is not None]
    if not priced:
        return None
    cheapest = min(priced, key=_cost)
    asked = [one for one in priced if one.as_asked]
    best = min(asked, key=_cost, default=cheapest)
    front = sum(one.best for one in priced)
    return Chart(
        key="pareto",
        title="Cost against p99",
        lead=f"{wording.plural(len(priced), 'alternative')}, {front} of them on the front. For the SLO asked for "
        f"{best.kind} in {best.pool} is cheapest: {_cost(best):.4g} per million requests, p99 {wording.duration(best.p99_s)}.",
        legend="Line: alternatives that no other beats in both. Ring: the cheapest for the SLO asked for. "
        "Faint dots: the others, at the SLO asked for and at multiples of it.",
        paint=lambda figure, narrow: _paint(figure, priced, best),
        wide_height=360,
        narrow_height=340,
    )


def _cost(one: Alternative) -> float:
    return one.cost_per_million or 0.0


def _paint(figure: Figure, priced: Sequence[Alternative], ring: Alternative) -> None:
    axes = figure.add_subplot()
    axes.plot(
        [one.p99_s for one in priced], [_cost(one) for one in priced], marker="o", markersize=5, linestyle="none",
        color=Ink.QUIET.value, alpha=0.6, markeredgewidth=0,
    )  # fmt: skip
    front = sorted((one.p99_s, _cost(one)) for one in priced if one.best)
    axes.plot([p99 for p99, _ in front], [cost for _, cost in front], marker="o", color=Ink.PLAN.value)
    axes.plot(
        [ring.p99_s], [_cost(ring)], marker="o", markersize=15, linestyle="none", markerfacecolor="none",
        markeredgecolor=Ink.PLAN.value, markeredgewidth=2.5,
    )  # fmt: skip
    duration_axis(axes, "x", 0.0, max(one.p99_s for one in priced) * _ROOM, log=False)
    plain_axis(axes.yaxis)
    axes.set_ylim(0, max(_cost(one) for one in priced) * _ROOM)
    axes.set_title("Cost per million requests", pad=12)
    axes.set_xlabel("predicted p99 at the busy rate")


def _table(found: Sequence[Alternative]) -> str:
    head = "".join(f'<th scope="col">{text}</th>' for text in _HEAD)
    rows = "".join(
        f'<tr{" class=strong" if one.best else ""}><th scope="row">{escape(one.kind)}</th>'
        + "".join(f"<td>{escape(text)}</td>" for text in _cells(one))
        + "</tr>"
        for one in found
    )
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _cells(one: Alternative) -> tuple[str, ...]:
    costs = ("-" if cost is None else f"{cost:.4g}" for cost in (one.cost_per_hour, one.cost_per_million))
    times = (wording.duration(one.slo_p99_s), wording.duration(one.p99_s))
    return (one.pool, str(one.replicas), str(one.spot_replicas), *times, *costs)
