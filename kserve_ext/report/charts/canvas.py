"""From a matplotlib drawing to inline SVG that belongs to the page: its colours and font are the page's CSS variables.

A painter in, SVG text out; the same painter gives the same bytes. Every chart is painted twice, for a wide and for a
narrow window, so that its text stays readable on a phone. matplotlib is imported here and only when a chart is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from kserve_ext.errors import MissingExtraError
from kserve_ext.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Ink(StrEnum):
    """Colours a painter may use. Each stands for a CSS variable of the page and is replaced by it in the SVG."""

    TEXT = "#f00001"
    MUTED = "#f00002"
    RULE = "#f00003"
    PAGE = "#f00004"
    PLAN = "#f00005"
    UNTUNED = "#f00006"
    LIMIT = "#f00007"
    QUIET = "#f00008"  # what is there for comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One figure of the page: what it says in words, how it is painted, and the table behind it."""

    key: str  # unique on the page, part of every id in the SVG
    title: str
    lead: str  # one or two sentences with the numbers to take away
    legend: str  # what the marks mean
    paint: Callable[[Figure, bool], None]  # the bool: paint for a narrow window
    wide_height: int
    narrow_height: int
    table: Table | None = None


WIDE, NARROW = 880, 400  # widths in CSS pixels at which text has its own size

_STYLE: dict[str, object] = {
    "svg.fonttype": "none",  # text stays text: searchable, read aloud, in the page's font
    "svg.hashsalt": "kserve-ext",  # ids from content, not from chance
    "text.parse_math": False,  # a $ in a name is a $
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout everywhere; shown in the page's font
    "font.size": 12,
    "text.color": Ink.TEXT.value,
    "axes.edgecolor": Ink.RULE.value,
    "axes.labelcolor": Ink.MUTED.value,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "axes.titlecolor": Ink.MUTED.value,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": Ink.RULE.value,
    "grid.linewidth": 1,
    "xtick.color": Ink.MUTED.value,
    "ytick.color": Ink.MUTED.value,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 6,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "savefig.transparent": True,
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def draw(chart: Chart, *, narrow: bool) -> str:
    """The chart as one `<svg>` element with title and description. Raises MissingExtraError without matplotlib."""
    try:
        import matplotlib.style
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "report") from error
    size = (NARROW, chart.narrow_height) if narrow else (WIDE, chart.wide_height)
    text = StringIO()
    with matplotlib.style.context(["default", _STYLE]):  # not what a user's matplotlibrc says
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")  # 72 units an inch: 1 unit = 1 px
        chart.paint(figure, narrow)
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    return _for_page(text.getvalue(), chart, "narrow" if narrow else "wide")


def _for_page(svg: str, chart: Chart, variant: str) -> str:
    prefix = f"{chart.key}-{variant}"
    body = svg[svg.index(">", svg.index("<svg ")) + 1 :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)  # would style the page
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", body)
    body = re.sub(r' transform="rotate\(-?0 [^"]*"', "", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    for ink in Ink:
        body = body.replace(ink.value, f"var(--{ink.name.lower()})")
    view_box = re.search(r'viewBox="[^"]*"', svg)
    head = (
        f'<svg class="chart {variant}" role="img" {view_box[0] if view_box else ""}'
        f' aria-labelledby="{prefix}-title {prefix}-desc">'
        f'<title id="{prefix}-title">{escape(chart.title)}</title>'
        f'<desc id="{prefix}-desc">{escape(chart.lead)} {escape(chart.legend)}</desc>'
    )
    return head + body.strip()
