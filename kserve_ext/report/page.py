"""The page: `render_html` turns a RunReport into the text of one self-contained HTML file.

Text out, nothing written and no clock read: the same report gives the same bytes. Everything in the report is escaped
by the template; only the SVG drawn here is trusted. jinja2 is imported when a page is rendered.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from kserve_ext.domain import Pins, Plan, Profile, RateRange
from kserve_ext.errors import MissingExtraError
from kserve_ext.report import wording
from kserve_ext.report.charts.batch import batch_charts
from kserve_ext.report.charts.canvas import Chart, draw
from kserve_ext.report.charts.load import load_chart
from kserve_ext.report.charts.ranges import ranges_chart
from kserve_ext.report.charts.search import search_chart
from kserve_ext.report.compare import comparison, protocol_name, tiles, worst_measurement
from kserve_ext.report.content import Command, RunReport
from kserve_ext.report.reasons import grouped_reasons, reason_row
