"""The page of a comparison of policies, or of a knob that was turned: one self-contained HTML text.

Text out, nothing written and no clock read: the same comparison gives the same bytes. Names are escaped by the template;
only the SVG drawn here is trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kserve_ext import __version__
from kserve_ext.cases.comparing import Comparison, Result
from kserve_ext.cases.varying import Variation
from kserve_ext.policy.contenders import CONTENDERS
from kserve_ext.report import comparison_figures, variation_figures, wording
from kserve_ext.report.charts.canvas import Chart, draw
from kserve_ext.report.comparison_charts import cost_chart, ladder_chart, time_chart
from kserve_ext.report.comparison_figures import in_time
from kserve_ext.report.table import Cell, Table
from kserve_ext.report.template import fill
from kserve_ext.report.variation_chart import variation_chart
from kserve_ext.report.worth import Tile

_NOTE = (
    "In time: share of all requests answered within the SLO; dropped and unanswered ones count as late. Billed: mean "
    "replicas paid for, from the decision to start one until it has drained. Regret: billed over what an oracle pays for "
    "as many requests in time. Clairvoyant policies know the future: nobody can run them."
)
_VARIATION_NOTE = "Mostly late: what the service was short of when most of the late requests came."


def render_comparison(comparisons: Sequence[Comparison], source: str) -> str:
    """The page as HTML text. Raises MissingExtraError where jinja2 or matplotlib is not installed."""
    parts = [_part(place, comparison) for place, comparison in enumerate(comparisons)]
    return _render("Policies side by side", parts, source)


def render_variations(variations: Sequence[Variation], source: str) -> str:
    """The page of a knob. Raises MissingExtraError where jinja2 or matplotlib is not installed."""
    parts = [_varied(place, variation) for place, variation in enumerate(variations)]
    return _render(f"What if: {variations[0].knob.name}", parts, source)


def _render(title: str, parts: Sequence[dict[str, Any]], source: str) -> str:
    return fill(
        "comparison.html.j2",
        {"title": title, "parts": parts, "source": source, "generated_by": f"kserve-ext {__version__}"},
    )


def _part(place: int, comparison: Comparison) -> dict[str, Any]:
    key, winner = f"case{place}", comparison.winner
    charts = (time_chart(comparison), cost_chart(comparison), ladder_chart(comparison))
    return {
        "key": key,
        "name": comparison.case.workload.name,
        "state": "held" if winner else "missed",
        "headline": _sentence(comparison_figures.verdict(comparison)),
        "lead": comparison_figures.facts_line(comparison).partition(": ")[2],
        "tiles": _tiles(comparison),
        "table": _table(comparison),
        "strong": winner.policy if winner else "",
        "note": _NOTE,
        "figures": [_drawn(chart, key) for chart in charts],
    }


def _varied(place: int, variation: Variation) -> dict[str, Any]:
    key = f"knob{place}"
    rows = tuple(
        tuple(Cell(text=text, tone=("good" if each.holds else "bad") if index == 1 and each.outcome else "")
              for index, text in enumerate(row))
        for each, row in zip(variation.tries, variation_figures.rows(variation), strict=True)
    )  # fmt: skip
    head = variation_figures.columns(variation)
    return {
        "key": key,
        "name": variation.question.trace.service,
        "state": "missed" if variation.lost else "held",
        "headline": _sentence(variation_figures.verdict(variation)),
        "lead": variation_figures.facts_line(variation).partition(": ")[2],
        "tiles": (),
        "table": Table(caption=f"Turning {variation.knob.name} under {variation.policy}", head=head, rows=rows),
        "strong": "",
        "note": _VARIATION_NOTE,
        "figures": [_drawn(variation_chart(variation), key)],
    }


def _sentence(text: str) -> str:
    """With a capital, but for the name of a policy."""
    return text if text.split()[0] in CONTENDERS else text[0].upper() + text[1:]


def _drawn(chart: Chart, key: str) -> dict[str, Any]:
    from markupsafe import Markup

    keyed = replace(chart, key=f"{key}-{chart.key}")
    return {"chart": keyed, "svgs": [Markup(draw(keyed, narrow=narrow)) for narrow in (False, True)]}


def _table(comparison: Comparison) -> Table:
    """One row for each policy, the best first; the winner's cost is what the others' is compared with."""
    winner = comparison.winner
    head = ("", "In time", "Billed", "Starts", "p50", "p99", "Worst minute", "Minutes missed", "Regret")
    rows = []
    for result in comparison_figures.ranked(comparison):
        seen = result.outcome
        held = comparison.holds(result)
        note = wording.change(seen.billed, winner.outcome.billed) if winner and held and result is not winner else ""
        rows.append((
            Cell(text=result.policy, note="clairvoyant" if result.clairvoyant else ""),
            Cell(text=in_time(seen.attainment), tone="good" if held else "bad"),
            Cell(text=f"{seen.billed:.2f}", note=note),
            Cell(text=wording.number(seen.starts)),
            Cell(text=wording.duration(seen.p50_s)),
            Cell(text=wording.duration(seen.p99_s)),
            Cell(text=in_time(seen.worst_minute)),
            Cell(text=wording.percent(seen.violation_share)),
            Cell(text=f"{result.regret:.2f}" if math.isfinite(result.regret) else wording.NONE),
        ))  # fmt: skip
    return Table(caption="Every policy on the same requests", head=head, rows=tuple(rows))


def _tiles(comparison: Comparison) -> tuple[Tile, ...]:
    """What the winner attains and costs, beside the next best and the worst."""
    winner = comparison.winner
    if winner is None or not sum(comparison.case.trace.counts):
        return ()
    seen, asked = winner.outcome, comparison.case.attainment
    tiles = [
        Tile(value=in_time(seen.attainment), label=f"in time under {winner.policy}",
             detail=f"{wording.percent(asked)} asked for; worst minute {in_time(seen.worst_minute)}", tone="good"),
        Tile(value=f"{seen.billed:.2f}", label="replicas billed, on average",
             detail=f"an oracle pays {seen.billed / winner.regret:.2f} for as many in time"),
    ]  # fmt: skip
    others = [result for result in comparison_figures.ranked(comparison)
              if not result.clairvoyant and not result.policy.startswith("ours")]  # fmt: skip
    held = [result for result in others if comparison.holds(result) and result is not winner]
    missed = [result for result in others if not comparison.holds(result)]
    if held:
        tiles.append(_next_best(winner, held[0]))
    if missed:
        worst = missed[-1]
        tiles.append(Tile(value=in_time(worst.outcome.attainment), label=f"in time under {worst.policy}",
                          detail=f"for {worst.outcome.billed:.2f} replicas", tone="bad"))  # fmt: skip
    return tuple(tiles)


def _next_best(winner: Result, other: Result) -> Tile:
    saved = 1 - winner.outcome.billed / other.outcome.billed
    if saved < 0.005:
        return Tile(value="Same", label=f"cost as {other.policy}", detail="the next best that holds")
    return Tile(value=wording.percent(saved), label=f"fewer replicas than {other.policy}",
                detail=f"{other.outcome.billed:.2f}, the next best that holds", tone="good")  # fmt: skip
