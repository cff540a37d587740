"""One self-contained page about a run: `render_html(RunReport)` gives the text of `report.html`."""

from kserve_ext.report.content import Candidate, Command, LatencyRow, LoadRow, RunReport
from kserve_ext.report.page import render_html

__all__ = ["Candidate", "Command", "LatencyRow", "LoadRow", "RunReport", "render_html"]
