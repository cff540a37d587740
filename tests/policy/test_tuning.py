from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL, intent, profile, stage_profile

from kserve_ext.domain import Pins, Plan, Reason
from kserve_ext.policy import PlanRequest, plan
from kserve_ext.policy.load import Load, rate_range

FEW = {"slo_s": 0.05, "low_rps": 100.0, "high_rps": 4000.0}  # one replica carries about 1100 rps


def tuned(pins: Pins | None = None, rise_s: int = 600, load: Load | None = None, **changed: float) -> Plan:
    wanted = intent(**(FEW | changed), pins=pins)  # type: ignore[arg-type]
    if load is not None:
        wanted = replace(wanted, rate=rate_range(load))
    measured = profile(stage_profile(batches=(1, 16)))
    settings = replace(SMALL, rise_s=rise_s)
    return plan(PlanRequest(intent=wanted, profiles={"cpu": measured}, settings=settings, load=load))


def why(decided: Plan, field: str) -> Reason:
    (reason,) = (reason for reason in decided.reasons if reason.field == f"scaling.{field}")
    return reason


def test_a_model_that_batches_is_scaled_by_requests_a_second_and_the_reason_tells_what_the_other_metric_does() -> None:
    decided = tuned()
    assert decided.scaling.metric == "rps"
    assert decided.scaling.target == pytest.approx(decided.capacity_rps, abs=0.01)
    reason = why(decided, "metric")
    assert reason.code == "metric-rps"
    assert "in a rise from 100 to 4000 rps within 600s" in reason.text
    assert "(with concurrency, " in reason.text
    assert why(decided, "target").code == "target-capacity-rps"
    assert reason.numbers["late"] <= 0.01


def test_a_steeper_rise_leaves_more_room_or_looks_over_a_shorter_time() -> None:
    slow, steep = tuned(rise_s=3600).scaling, tuned(rise_s=300).scaling
    assert slow.target_utilization_percent >= steep.target_utilization_percent
    assert slow.target_utilization_percent == 100


def test_where_no_setting_holds_the_nearest_is_taken_and_the_plan_says_so() -> None:
    decided = tuned(rise_s=5)
    assert why(decided, "target_utilization_percent").code == "utilization-nearest"
    assert "no setting holds the SLO there" in why(decided, "target_utilization_percent").text


def test_with_one_replica_for_all_of_the_load_nothing_is_tried() -> None:
    decided = tuned(high_rps=500.0)
    assert decided.scaling.metric == "concurrency"
    assert why(decided, "target_utilization_percent").code == "utilization-target-is-capacity"


@pytest.mark.parametrize(
    ("pins", "field", "value"),
    [
        (Pins(autoscaling={"target-utilization-percentage": "65"}), "target_utilization_percent", 65.0),
        (Pins(autoscaling={"window": "47s"}), "window_s", 47.0),
        (Pins(autoscaling={"metric": "concurrency"}), "metric", "concurrency"),
        (Pins(scale_metric="rps"), "metric", "rps"),
        (Pins(autoscaling={"target": "7"}), "target", 7.0),
        (Pins(scale_target=9), "target", 9.0),
    ],
)
def test_what_a_person_set_is_not_varied(pins: Pins, field: str, value: object) -> None:
    decided = tuned(pins)
    assert getattr(decided.scaling, field) == value
    assert why(decided, field).code == "set-by-user"
    if field == "target":
        assert decided.scaling.metric == "concurrency"  # a target counts in the unit of its metric


def test_a_metric_that_is_not_known_here_is_left_alone() -> None:
    decided = tuned(Pins(scale_metric="cpu", scale_target=60))
    assert (decided.scaling.metric, decided.scaling.target) == ("cpu", 60)


def test_with_a_load_its_steepest_piece_is_tried_and_the_replicas_over_it_are_told() -> None:
    load = Load(rates_rps=(100.0,) * 30 + (2500.0,) * 30, step_s=60, source="day.csv (m)")
    decided = tuned(load=load)
    assert "in the steepest 600s of day.csv (m)" in why(decided, "target_utilization_percent").text
    (reason,) = (each for each in decided.reasons if each.field == "replicas_at_high_rate")
    assert "day.csv (m) takes 1 to 3, 2 on average (by sixths: 1, 1, 1, 3, 3, 3)" in reason.text
    assert (reason.numbers["least"], reason.numbers["mean"], reason.numbers["most"]) == (1, 2, 3)
