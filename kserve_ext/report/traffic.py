"""The page of a load: `render_traffic` turns traces and what was found in them into one self-contained HTML text.

Text out, nothing written and no clock read. Names are escaped by the template; only the SVG drawn here is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kserve_ext.domain import Reason
from kserve_ext.report import wording
from kserve_ext.report.charts.canvas import Chart, draw
from kserve_ext.report.template import fill
from kserve_ext.report.traffic_charts import dispersion_chart, load_chart, season_chart
from kserve_ext.report.worth import Tile
from kserve_ext.traffic import Trace, Traffic
from kserve_ext.traffic.seasons import noticed
from kserve_ext.traffic.wording import headline, lines, setting, span


def render_traffic(traces: Sequence[Trace], loads: Sequence[Traffic], *, source: str, generated_by: str) -> str:
    """The page as HTML text. Raises MissingExtraError where jinja2 or matplotlib is not installed."""
    shown = [_load(place, *pair) for place, pair in enumerate(zip(traces, loads, strict=True))]
    content = {"loads": shown, "source": source, "generated_by": generated_by}
    return fill("traffic.html.j2", content)


def _load(place: int, trace: Trace, load: Traffic) -> dict[str, Any]:
    charts = (load_chart(trace, load), dispersion_chart(load), season_chart(trace, load))
    return {
        "key": f"load{place}",
        "service": load.service,
        "headline": headline(load),
        "held": f"{span(load.duration_s)} in steps of {span(load.step_s)}, {load.requests:,} requests",
        "tiles": _tiles(load),
        "figures": [_drawn(chart, f"load{place}") for chart in charts if chart],
        "lines": lines(load),
        "advice": [_advised(load, reason) for reason in load.advice.reasons],
        "notes": [note.text for note in load.notes],
    }


def _advised(load: Traffic, reason: Reason) -> dict[str, Any]:
    numbers = [(wording.label(name), wording.quantity(name, number)) for name, number in reason.numbers.items()]
    value = setting(load.advice, reason.field)
    return {"name": wording.label(reason.field), "value": value, "text": reason.text, "numbers": numbers}


def _drawn(chart: Chart, key: str) -> dict[str, Any]:
    from markupsafe import Markup

    keyed = replace(chart, key=f"{key}-{chart.key}")
    return {"chart": keyed, "svgs": [Markup(draw(keyed, narrow=narrow)) for narrow in (False, True)]}


def _tiles(load: Traffic) -> tuple[Tile, ...]:
    """What sums up the load; nothing is left to say of one without requests."""
    if load.requests == 0:
        return ()
    level, swing, idle = load.level, load.swing, load.idle
    return (
        Tile(value=wording.rate(level.mean_rps), label="mean load", detail=f"p99 {wording.rate(level.p99_rps)}"),
        Tile(value=wording.times(swing.peak, 1.0), label=f"busiest {span(swing.smooth_s)} over the mean",
             detail=f"by chance {wording.times(swing.peak_by_chance, 1.0)}"),
        _season_tile(load),
        Tile(value=wording.percent(swing.rise), label=f"growth within {span(swing.ahead_s)}",
             detail=f"of the mean, exceeded 1 % of the time; by chance {wording.percent(swing.rise_by_chance)}"),
        Tile(value=wording.percent(idle.share), label="idle",
             detail=f"longest pause {span(idle.longest_s)}; scaled to zero {wording.percent(idle.spared)} of the time"),
    )  # fmt: skip


def _season_tile(load: Traffic) -> Tile:
    found = noticed(load.seasons)
    if not found:
        looked = ", ".join(season.name for season in load.seasons)
        return Tile(value="None", label="season", detail=f"looked for: {looked or 'nothing, the trace is too short'}")
    best = found[0]
    return Tile(value=wording.percent(best.explained), label=f"explained by the {best.name}",
                detail=f"{best.periods} seen; by chance {wording.percent(best.by_chance)}")  # fmt: skip
