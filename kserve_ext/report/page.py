"""The page: `render_html` turns a RunReport into the text of one self-contained HTML file.

Text out, nothing written and no clock read: the same report gives the same bytes. Everything in the report is escaped
by the template; only the SVG drawn here is trusted. jinja2 is imported when a page is rendered.
"""

from __future__ import annotations

import shlex
from typing import Any

from kserve_ext.report import compare, facts, reasons, wording, worth
from kserve_ext.report.charts.batch import batch_charts
from kserve_ext.report.charts.canvas import Chart, draw
from kserve_ext.report.charts.load import load_chart
from kserve_ext.report.charts.ranges import ranges_chart
from kserve_ext.report.charts.search import search_chart
from kserve_ext.report.content import Command, RunReport
from kserve_ext.report.template import fill

_VERDICTS = {"held": "SLO held", "missed": "SLO not held", "unknown": "Cannot tell"}


def render_html(report: RunReport) -> str:
    """The page as HTML text. Raises MissingExtraError where jinja2 or matplotlib is not installed."""
    return fill("template.html.j2", _content(report))


def _content(report: RunReport) -> dict[str, Any]:
    plan, profile = report.plan, report.profile
    state = "held" if report.held else "unknown" if report.uncertain else "missed"
    charts = (load_chart(report), *batch_charts(report), search_chart(report))
    return {
        "report": report,
        "state": state,
        "verdict": _VERDICTS[state],
        "headline": headline(report),
        "tiles": worth.tiles(report),
        "ranges": _drawn(ranges_chart(report)),
        "comparison": compare.comparison(report),
        "comparison_note": compare.COMPARISON_NOTE,
        "figures": [_drawn(chart) for chart in charts if chart],
        "warnings": [reasons.reason_row(plan, warning) for warning in plan.warnings],
        "groups": reasons.grouped_reasons(plan),
        "asked": facts.asked(report.intent),
        "planned": facts.planned(plan),
        "profiled": (
            (("Profile", facts.profiled(profile)),),
            tuple(
                (title, facts.named(of)) for title, of in (("Host", profile.host), ("Versions", profile.versions)) if of
            ),
        ),
        "commands": report.commands or _default_commands(report.source),
    }


def _drawn(chart: Chart) -> dict[str, Any]:
    from markupsafe import Markup

    return {"chart": chart, "svgs": [Markup(draw(chart, narrow=narrow)) for narrow in (False, True)]}


def headline(report: RunReport) -> str:
    """The figures of the verdict: the longest measured p99 against the SLO, and failures where there were too many."""
    worst = compare.worst_measurement(report)
    if worst is None:
        return "No load was sent"
    load = f"at {wording.number(worst.rate_rps)} requests a second"
    if not worst.succeeded:
        return f"No request was answered, {load}"
    slo = report.plan.slo
    allowed = f"{' of' if worst.p99_s <= slo.p99_s else ','} {wording.duration(slo.p99_s)} allowed"
    answered = min(compare.answered_share(run) for run in report.measured.values())
    failed = f", {wording.percent(1 - answered)} not answered" if answered < slo.availability else ""
    return f"p99 {wording.duration(worst.p99_s)}{allowed}{failed}, {load}"


def _default_commands(source: str) -> tuple[Command, ...]:
    file, colon, line = source.rpartition(":")
    path = file if colon and line.isdigit() else source
    return (Command(f"kserve-ext run {shlex.quote(path)}", "profile, plan, serve and verify again"),)
