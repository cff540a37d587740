"""The picture of a load: one file, everything escaped, the same bytes twice, a stated answer where nothing is to draw."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from kserve_ext.report.traffic import render_traffic
from kserve_ext.traffic import Trace, analyse, read_traces

DATA = Path(__file__).parents[2] / "benchmarks" / "data"


def page(*traces: Trace, source: str = "load.csv") -> str:
    return render_traffic(traces, [analyse(each) for each in traces], source=source, generated_by="kserve-ext test")


def trace(counts: object, service: str = "a", step_s: int = 60) -> Trace:
    whole = np.asarray(counts, dtype=np.int64).tolist()
    return Trace(service=service, start_s=0, step_s=step_s, counts=tuple(whole))


class Outline(HTMLParser):
    """Ids, headings and tags of a page; fails on tags that do not nest."""

    VOID = ("meta", "br", "path", "use", "rect", "circle", "link", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def azure() -> str:
    name = "azure_functions_2019_days_1_7.csv"
    return page(*read_traces((DATA / name).read_text(), name)[:2])


def test_the_page_stands_alone(azure: str) -> None:
    assert not re.search(r"<script|<link|<img|@import|https?://(?!www\.w3\.org)", azure)
    assert len(azure) < 600_000


def test_every_id_is_one_and_every_reference_has_one(azure: str) -> None:
    ids = Outline(azure).ids
    assert len(ids) == len(set(ids))
    named = {name for group in re.findall(r'aria-labelledby="([^"]*)"', azure) for name in group.split()}
    linked = set(re.findall(r'href="#([^"]*)"', azure)) | set(re.findall(r"url\(#([^)]*)\)", azure))
    assert named | linked <= set(ids)


def test_each_service_has_its_charts_its_advice_and_what_it_cannot_tell(azure: str) -> None:
    for title in (
        "Load over time",
        "Burstiness by time scale",
        "The day",
        "What follows",
        "What this trace cannot tell",
    ):
        assert azure.count(f">{title}</h2>") == 2, title
    assert Outline(azure).tags.count("svg") == 2 * 3 * 2  # services, charts, wide and narrow


def test_the_same_trace_gives_the_same_bytes() -> None:
    load = trace(np.random.default_rng(1).poisson(100, 500))
    assert page(load) == page(load)


def test_a_name_is_shown_and_never_interpreted() -> None:
    text = page(trace([5] * 200, service="<b>$x$ & y"), source="<i>.csv")
    assert "<b>$x$" not in text
    assert "<i>.csv" not in text
    assert "&lt;b&gt;$x$ &amp; y" in text


def test_no_traffic_is_said_and_has_no_burstiness() -> None:
    text = page(trace([0] * 200))
    assert "No request at all" in text
    assert "<svg" not in text
    assert not re.search(r"\bnan\b|\binf\b|unbounded", text)


@pytest.mark.parametrize("counts", [[7] * 12, [7] * 500, [0] * 100 + [1] + [0] * 100, [1, 10**12] * 30])
def test_odd_loads_are_drawn_without_a_warning(counts: list[int]) -> None:
    assert Outline(page(trace(counts))).tags.count("svg") >= 2
