"""The page of a comparison and of a knob: self-contained, escaped, the same bytes for the same figures."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from kserve_ext.cases import Question, build_case
from kserve_ext.cases.comparing import Comparison, compare
from kserve_ext.cases.varying import Variation, parse_knob, vary
from kserve_ext.profile.service_law import Lognormal, OneAtATime
from kserve_ext.report.comparison import render_comparison, render_variations
from kserve_ext.report.comparison_figures import figures, in_time, ranked, rows, span, verdict
from kserve_ext.report.variation_figures import verdict as variation_verdict
from kserve_ext.traffic import Trace

LAW = OneAtATime(time=Lognormal(distribution="lognormal", loc=0.08, scale=0.07, shape=0.42))
TRACE = Trace(service="<web>", start_s=0, step_s=10, counts=tuple(20 + 3 * index for index in range(40)))
QUESTION = Question(trace=TRACE, law=LAW, slo_s=0.72, cold_start_s=35.0)


FEW = ("ours", "kpa-default", "hpa-cpu-60", "oracle")


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(build_case(QUESTION), FEW)


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> str:
    few = replace(comparison, results=comparison.results[:1])
    return render_comparison([comparison, few], "day.csv")


@pytest.fixture(scope="module")
def variation() -> Variation:
    return vary(QUESTION, "hpa-cpu-80", parse_knob("rate=0.2,20"))


class _Names(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in ("href", "src", "xlink:href") and value:
                self.links.append(value)


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    names = _Names()
    names.feed(page)
    assert all(link.startswith("#") for link in names.links)
    assert not re.search(r"<script|@import|url\((?!#)", page)


def test_every_id_on_a_page_of_two_services_is_its_own(page: str) -> None:
    names = _Names()
    names.feed(page)
    assert len(names.ids) == len(set(names.ids))


def test_names_of_services_are_escaped(page: str) -> None:
    assert "<web>" not in page
    assert "&lt;web&gt;" in page


def test_every_policy_is_in_the_table_and_in_the_charts(page: str, comparison: Comparison) -> None:
    for name in FEW:
        assert page.count(name) >= 3
    assert comparison.winner is not None
    assert f'<tr class="strong"><th scope="row">{comparison.winner.policy}<' in page


def test_the_same_comparison_gives_the_same_bytes(comparison: Comparison) -> None:
    few = replace(comparison, results=comparison.results[:2])
    assert render_comparison([few], "x") == render_comparison([few], "x")


def test_a_page_without_a_policy_that_holds_says_so(comparison: Comparison) -> None:
    missed = replace(comparison, results=tuple(each for each in comparison.results if each.policy == "kpa-default"))
    assert missed.winner is None
    assert "No policy keeps 99" in render_comparison([missed], "x")


def test_a_page_about_no_traffic_can_be_drawn() -> None:
    empty = compare(build_case(replace(QUESTION, trace=replace(TRACE, counts=(0,) * 12))), ("ours", "oracle"))
    assert "No traffic" in render_comparison([empty], "x")


def test_a_knob_has_a_page_that_says_where_the_slo_is_lost(variation: Variation) -> None:
    page = render_variations([variation], "day.csv")
    said = variation_verdict(variation)
    assert said.startswith("rate 0.2 still holds; the SLO is lost at rate 20")
    assert said[1:] in page


# --------------------------------------------------------------------------------------------------------- figures


def test_the_record_names_every_policy_and_every_rung(comparison: Comparison) -> None:
    record = figures(comparison, "day.csv")
    assert list(record["policies"]) == list(FEW)
    assert list(record["ladder"]) == ["work_bound", "oracle_bound", "oracle_path"]
    assert record["trace"]["requests"] == sum(TRACE.counts)


def test_policies_that_hold_stand_before_those_that_do_not(comparison: Comparison) -> None:
    held = [comparison.holds(result) for result in ranked(comparison)]
    assert held == sorted(held, reverse=True)
    assert [row[0] for row in rows(comparison)] == [result.policy for result in ranked(comparison)]


def test_the_verdict_names_the_winner(comparison: Comparison) -> None:
    assert comparison.winner is not None
    assert verdict(comparison).startswith(comparison.winner.policy)


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100"), (0.99999, "99.99"), (0.99, "99.00"), (0.989999, "98.99"), (0.5, "50.0"), (0.0, "0.0")],
)
def test_what_falls_short_of_a_level_never_reads_as_it(share: float, text: str) -> None:
    assert in_time(share).split("\u202f")[0] == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "1.5 min"), (3600, "1 h"), (86400, "24 h"), (259200, "3 days"), (5, "5\u202fs")]
)
def test_spans_are_in_the_unit_people_use(seconds: float, text: str) -> None:
    assert span(seconds) == text
