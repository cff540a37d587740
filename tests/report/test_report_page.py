"""The page as a whole: well-formed, self-contained, escaped, the same bytes for the same report, nothing left out."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from kserve_ext.domain import Plan, Reason
from kserve_ext.errors import MissingExtraError
from kserve_ext.report import Command, LatencyRow, RunReport, render_html
from kserve_ext.report.page import headline

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
EVIL = "<script>alert('$x$')</script>\"&"


class Page(HTMLParser):
    """A strict reader: every tag closed in order. Collects tags, attributes, and the text a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", "".join(self.words))


@pytest.fixture(params=["full", "minimal"])
def report(request: pytest.FixtureRequest) -> RunReport:
    found: RunReport = request.getfixturevalue(request.param)
    return found


def test_the_page_is_well_formed_and_ids_are_unique_and_found(report: RunReport) -> None:
    page = Page(render_html(report))
    ids = Counter(page.values("id"))
    assert not [name for name, count in ids.items() if count > 1]
    referred = [name for value in page.values("aria-labelledby") for name in value.split()]
    referred += [value.removeprefix("#") for value in page.values("href")]
    referred += re.findall(r"url\(#([^)]*)\)", " ".join(page.values("clip-path")))
    assert len(referred) > 10
    assert set(referred) <= set(ids)


def test_the_page_needs_nothing_from_outside(report: RunReport) -> None:
    html = render_html(report)
    page = Page(html)
    assert not re.search(r"https?://|//\w|@import|url\((?!#)", html)
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "object"}
    assert all(value.startswith("#") for value in page.values("href"))


def test_the_same_report_gives_the_same_bytes(full: RunReport) -> None:
    assert render_html(full) == render_html(full)


def test_every_colour_and_font_of_a_chart_is_the_pages_own(full: RunReport) -> None:
    html = render_html(full)
    charts = re.findall(r'<svg class="chart.*?</svg>', html, re.DOTALL)
    assert charts
    for chart in charts:
        assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart)) <= {"none", *_variables(html)}
        assert "DejaVu" not in chart
        assert "<style" not in chart


def _variables(html: str) -> set[str]:
    return {f"var({name})" for name in re.findall(r"(--[\w-]+):", html)}


def test_every_chart_comes_wide_and_narrow_with_a_title_a_description_and_text_as_text(full: RunReport) -> None:
    html = render_html(full)
    wide, narrow = (len(re.findall(rf'<svg class="chart {size}" role="img"', html)) for size in ("wide", "narrow"))
    assert wide == narrow == Page(html).tags["figure"] == 4
    assert (
        len(re.findall(r"<svg class=\"chart[^>]*><title id=\"[^>]*>[^<]+</title><desc id=\"[^>]*>[^<]+</desc>", html))
        == 8
    )
    assert len(re.findall(r">capacity 531/s</text>", html)) == 2


def test_every_figure_has_its_numbers_in_a_table(full: RunReport) -> None:
    page = Page(render_html(full))
    assert page.tags["details"] == page.tags["figure"] - 1  # the first one's table is the comparison, always open
    assert page.tags["table"] >= page.tags["figure"]
    assert page.tags["caption"] == page.tags["table"]


def test_every_reason_and_every_warning_appears_with_its_numbers(full: RunReport) -> None:
    text = Page(render_html(full)).text
    for reason in (*full.plan.reasons, *full.plan.warnings):
        assert reason.text in text
        assert reason.field in text
    assert "burst 800/s" in text
    assert "slo p99 80\u202fms" in text


def test_names_and_texts_of_users_are_escaped_everywhere(full: RunReport) -> None:
    evil = Reason(field=EVIL, code=EVIL, text=EVIL, numbers={EVIL: 1.0})
    stages = tuple(replace(stage, model=EVIL) for stage in full.plan.stages * 2)
    profile = replace(
        full.profile, model=EVIL, hardware=EVIL, model_digest=EVIL, host={EVIL: EVIL}, versions={EVIL: EVIL},
        measured_at=EVIL, stages=full.profile.stages * 2,
    )  # fmt: skip
    measured = {EVIL: replace(full.measured["http"], errors={EVIL: 3})}
    pins = replace(full.intent.pins, autoscaling={EVIL: EVIL}, scale_metric=EVIL)
    report = replace(
        full,
        source=EVIL,
        verdict=EVIL,
        generated_by=EVIL,
        intent=replace(full.intent, name=EVIL, namespace=EVIL, model=EVIL, hardware=(EVIL,), policy=EVIL, pins=pins),
        plan=replace(full.plan, hardware=EVIL, stages=stages, reasons=(evil,), warnings=(evil,)),
        profile=profile,
        measured=measured,
        latency_curve=(*full.latency_curve, *(row._replace(stage=1) for row in full.latency_curve)),
        commands=(Command(EVIL, EVIL),),
    )
    page = Page(render_html(report))
    assert page.tags["script"] == 0
    assert page.text.count(EVIL) >= 25
    assert EVIL in "".join(page.words[-5:])  # the footer


def test_a_model_of_two_stages_gets_a_latency_figure_for_each(full: RunReport) -> None:
    second = replace(full.plan.stages[0], model="pooling", max_batch_size=8)
    report = replace(
        full,
        plan=replace(full.plan, stages=(*full.plan.stages, second)),
        profile=replace(full.profile, stages=full.profile.stages * 2),
        latency_curve=(
            *full.latency_curve,
            LatencyRow(1, 1, 0.002, 0.003, stage=1),
            LatencyRow(8, 1, 0.004, 0.006, stage=1),
        ),
    )
    text = Page(render_html(report)).text
    assert "Latency against batch size: digits" in text
    assert "Latency against batch size: pooling" in text
    assert "a batch of 8 takes 4\u202fms: 2.0× the time of one row, for 4.0× the rows a second" in text


def test_a_model_that_cannot_be_batched_is_drawn_too(full: RunReport, plan: Plan) -> None:
    stage = replace(plan.stages[0], max_batch_size=0)
    fixed = replace(full.profile.stages[0], max_batch=0, points=full.profile.stages[0].points[:1])
    report = replace(
        full,
        plan=replace(plan, stages=(stage,)),
        profile=replace(full.profile, stages=(fixed,)),
        latency_curve=full.latency_curve[:1],
        candidates=tuple(one for one in full.candidates if one.max_batch == 1),
    )
    text = Page(render_html(report)).text
    assert "The plan serves batches of up to 1 on 1 instance." in text
    assert "Batchoff" in text


def test_a_run_without_an_answer_is_told_and_not_drawn(minimal: RunReport) -> None:
    silent = replace(minimal.measured["http"], succeeded=0, failed=12041, p50_s=0.0, p95_s=0.0, p99_s=0.0)
    report = replace(minimal, held=False, measured={"http": silent}, untuned=replace(silent, p99_s=math.nan))
    text = Page(render_html(report)).text
    assert "SLO not held" in text
    assert "No request was answered, at 400 requests a second" in text
    assert "of the SLO used" not in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "p99 45.8\u202fms of 80\u202fms allowed, at 400 requests a second"),
        ({"p99_s": 0.131}, "p99 131\u202fms, 80\u202fms allowed, at 400 requests a second"),
        (
            {"succeeded": 11800, "failed": 241},
            "p99 45.8\u202fms of 80\u202fms allowed, 2\u202f% not answered, at 400 requests a second",
        ),
        ({"rate_rps": 1234.0}, "p99 45.8\u202fms of 80\u202fms allowed, at 1,234 requests a second"),
    ],
)
def test_the_headline_has_the_figures_of_the_verdict(minimal: RunReport, changes: dict[str, float], told: str) -> None:
    run = replace(minimal.measured["http"], **changes)  # type: ignore[arg-type]
    assert headline(replace(minimal, measured={"http": run})) == told


def test_the_headline_takes_the_worse_protocol(full: RunReport) -> None:
    slow = replace(full.measured["grpc"], p99_s=0.0712)
    assert headline(replace(full, measured={**full.measured, "grpc": slow})).startswith(
        "p99 71.2\u202fms of 80\u202fms"
    )


def test_the_command_to_reproduce_survives_a_shell(minimal: RunReport) -> None:
    text = Page(render_html(replace(minimal, source="my models/$x.yaml:12"))).text
    assert "kserve-ext run 'my models/$x.yaml'" in text


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_a_missing_library_names_the_extra_to_install(
    minimal: RunReport, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        render_html(minimal)
    assert caught.value.module == module
    assert caught.value.remedy == "pip install 'kserve-ext[report]'"


@pytest.mark.parametrize(
    ("held", "uncertain", "verdict"),
    [(True, False, "SLO held"), (False, False, "SLO not held"), (False, True, "Cannot tell")],
)
def test_the_page_opens_with_the_verdict(minimal: RunReport, held: bool, uncertain: bool, verdict: str) -> None:
    html = render_html(replace(minimal, held=held, uncertain=uncertain))
    assert f"<title>digits: {verdict}</title>" in html
    assert re.search(rf"<h1[^>]*>\s*<svg.*?</svg>\s*{verdict}</h1>", html, re.DOTALL)


def test_a_counted_attainment_takes_the_place_of_the_bound(full: RunReport) -> None:
    text = Page(render_html(replace(full, attainment={"http": 0.9987}))).text
    assert "99.87\u202f%" in text
    assert "≥ 99\u202f%" in text  # gRPC, not counted
