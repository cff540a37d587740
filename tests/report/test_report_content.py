"""What the page says, before it is a page: numbers in words, comparison, worth, reasons, scales."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Plan, Quantiles, Reason
from kserve_ext.report import LoadRow, RunReport, wording
from kserve_ext.report.charts.batch import spread_s
from kserve_ext.report.charts.load import p99_at_s
from kserve_ext.report.charts.scale import apart, log_ticks
from kserve_ext.report.compare import attainment, comparison
from kserve_ext.report.reasons import grouped_reasons, plan_value, reason_row
from kserve_ext.report.worth import tiles


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0318, "31.8 ms"), (0.00041, "410 µs"), (0.9999, "1 s"), (9.874, "9.87 s"), (1234.5, "1,230 s"), (0, "0"),
     (math.inf, "unbounded"), (math.nan, "–")],
)  # fmt: skip
def test_a_duration_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text.replace(" ", "\u202f")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("p99_s", 0.08, "80 ms"), ("capacity_rps", 531.2, "531/s"), ("peak_bytes", 3 * 2**29, "1.5 GiB"),
     ("memory_bytes", 768 * 2**20, "768 MiB"), ("window_percent", 10.0, "10 %"), ("instances", 2, "2"),
     ("mean_batch", 6.125, "6.12"), ("requests", 12041, "12,041")],
)  # fmt: skip
def test_a_number_takes_its_unit_from_its_name(name: str, value: float, text: str) -> None:
    assert wording.quantity(name, value) == text.replace(" ", "\u202f")


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100 %"), (0.9995, "99.95 %"), (0.999, "99.9 %"), (0.572, "57.2 %"), (0.0, "0 %")]
)
def test_a_share_keeps_the_digits_that_matter(share: float, text: str) -> None:
    assert wording.percent(share) == text.replace(" ", "\u202f")


@given(st.floats(1e-7, 1e4))
def test_a_duration_never_shows_an_exponent(seconds: float) -> None:
    assert "e+" not in wording.duration(seconds)


def test_the_comparison_has_a_column_for_each_run_and_the_same_length_everywhere(full: RunReport) -> None:
    table = comparison(full)
    assert table.head == ("", "Predicted", "Measured, HTTP", "Measured, gRPC", "Untuned")
    assert {len(row) for row in table.rows} == {5}


def test_the_comparison_says_how_far_measured_is_from_predicted_and_untuned_from_measured(full: RunReport) -> None:
    p99 = next(row for row in comparison(full).rows if row[0].text == "p99")
    assert [cell.note for cell in p99] == ["", "", "+3.9\u202f%", "−2.7\u202f%", "216×"]
    assert [cell.tone for cell in p99] == ["", "good", "good", "good", "bad"]


@pytest.mark.parametrize(
    ("quantiles_s", "succeeded", "text"),
    [((0.02, 0.03, 0.04), 1000, "≥ 99 %"), ((0.02, 0.03, 0.09), 1000, "≥ 95 %"), ((0.02, 0.09, 0.1), 1000, "≥ 50 %"),
     ((0.09, 0.1, 0.2), 1000, "< 50 %"), ((0.0, 0.0, 0.0), 0, "< 50 %")],
)  # fmt: skip
def test_the_share_within_the_slo_is_bounded_by_the_quantiles(
    minimal: RunReport, quantiles_s: tuple[float, float, float], succeeded: int, text: str
) -> None:
    p50_s, p95_s, p99_s = quantiles_s
    run = minimal.measured["http"]
    run = replace(run, sent=1000, succeeded=succeeded, p50_s=p50_s, p95_s=p95_s, p99_s=p99_s)
    assert attainment(run, minimal.plan.slo) == text.replace(" %", "\u202f%")


def test_the_tiles_say_what_the_plan_is_worth(full: RunReport) -> None:
    assert [(tile.value, tile.label, tile.tone) for tile in tiles(full)] == [
        ("216×", "lower p99 than untuned", "good"),
        ("6.2×", "the load one replica takes", "good"),
        ("1", "replica at 400/s", "good"),
        ("+3.9\u202f%", "p99 off the prediction", ""),
    ]
    assert tiles(full)[2].detail == "5 needed untuned"


@pytest.mark.parametrize(
    ("untuned_p99_s", "value", "label", "tone"),
    [(0.0229, "2.0×", "higher p99 than untuned", "bad"), (0.0460, "Same", "p99 as untuned", "")],
)
def test_a_plan_that_is_no_better_says_so(
    full: RunReport, untuned_p99_s: float, value: str, label: str, tone: str
) -> None:
    assert full.untuned is not None
    first = tiles(replace(full, untuned=replace(full.untuned, p99_s=untuned_p99_s)))[0]
    assert (first.value, first.label, first.tone) == (value, label, tone)


@pytest.mark.parametrize(
    ("untuned_rps", "value", "replicas"),
    [
        (0.0, "531/s", "up to 2"),
        (None, "531/s", "up to 2"),
        (531.0, "1.0×", "1 needed untuned"),
        (50.0, "11×", "8 needed untuned"),
    ],
)
def test_the_gain_in_capacity_is_told_for_any_untuned_capacity(
    full: RunReport, untuned_rps: float | None, value: str, replicas: str
) -> None:
    found = tiles(replace(full, untuned_capacity_rps=untuned_rps))
    assert (found[1].value, found[2].detail) == (value, replicas)


@pytest.mark.parametrize(("rate_rps", "p99_s"), [(10, 0.02), (15, 0.03), (20, 0.04), (25, None), (5, None)])
def test_a_load_curve_is_read_between_its_bounded_rows(rate_rps: float, p99_s: float | None) -> None:
    curve = (LoadRow(10, 0.01, 0.02, 1), LoadRow(20, 0.02, 0.04, 2), LoadRow(30, math.inf, math.inf, 2))
    assert p99_at_s(curve, rate_rps) == (None if p99_s is None else pytest.approx(p99_s))


def test_reasons_are_grouped_by_what_they_decide_and_an_unknown_field_comes_last(plan: Plan) -> None:
    strange = Reason(field="my_policy.colour", code="because", text="It is so.")
    groups = grouped_reasons(replace(plan, reasons=(strange, *plan.reasons)))
    assert [group.area for group in groups] == [
        "Batching and instances", "Concurrency and time limits", "Replicas and autoscaling", "Resources", "Capacity",
        "Other choices",
    ]  # fmt: skip
    assert [row.field for row in groups[-1].rows] == ["my_policy.colour"]
    assert sum(len(group.rows) for group in groups) == len(plan.reasons) + 1


@pytest.mark.parametrize(
    ("path", "text"),
    [("stages[0].max_batch_size", "16"), ("stages[7].max_batch_size", "–"), ("timeout_s", "800 ms"), ("margin", "20 %"),
     ("resources.memory_bytes", "768 MiB"), ("resources.accelerators[nvidia.com/gpu]", "2"), ("scaling", "–"),
     ("scaling.metric", "concurrency"), ("__class__.__name__", "–"), ("", "–")],
)  # fmt: skip
def test_a_reason_stands_beside_the_value_at_its_path(plan: Plan, path: str, text: str) -> None:
    plan = replace(plan, resources=replace(plan.resources, accelerators={"nvidia.com/gpu": 2}))
    assert plan_value(plan, path) == text.replace(" ", "\u202f")


def test_a_reason_about_a_whole_mapping_shows_what_is_in_it(plan: Plan) -> None:
    assert plan_value(plan, "resources.accelerators") == "none"
    plan = replace(plan, resources=replace(plan.resources, accelerators={"nvidia.com/mig-1g.10gb": 2}))
    assert plan_value(plan, "resources.accelerators") == "nvidia.com/mig-1g.10gb: 2"


def test_a_number_that_only_repeats_the_value_is_left_out(plan: Plan) -> None:
    reason = Reason(field="scaling.window_s", code="c", text="t", numbers={"window_s": 60.0, "start_s": 6.8})
    assert reason_row(plan, reason).numbers == (("start", "6.8\u202fs"),)


def test_the_spread_is_shown_only_where_both_ends_were_kept() -> None:
    assert spread_s(Quantiles(probabilities=(0.1, 0.5, 0.9), values=(1.0, 2.0, 3.0))) == (1.0, 3.0)
    assert spread_s(Quantiles(probabilities=(0.5, 0.9), values=(2.0, 3.0))) is None


@given(st.floats(1e-6, 1.0), st.floats(20, 1e6), st.integers(3, 9))
def test_log_ticks_are_few_and_inside_the_axis(low: float, spread: float, most: int) -> None:
    ticks = log_ticks(low, low * spread, most)
    assert 1 <= len(ticks) <= most
    assert all(low <= tick <= low * spread for tick in ticks)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_labels_keep_their_order_and_their_distance(heights: list[float]) -> None:
    placed = apart(heights, 0.06)
    assert all(after >= before for before, after in zip(heights, placed, strict=True))
    ordered = sorted(placed)
    assert all(upper - lower >= 0.06 - 1e-9 for lower, upper in pairwise(ordered))
