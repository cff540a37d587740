"""From the results of a run to its report: the curves agree with the plan that they explain."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from kserve_ext.domain import Plan, Profile, RateRange, Service
from kserve_ext.policy import PlanRequest, Settings
from kserve_ext.policy import plan as make_plan
from kserve_ext.report import RunReport
from kserve_ext.report.assemble import assemble, latency_rows

SETTINGS = Settings(simulated_requests=2000, confirmed_requests=4000, capacity_steps=6)


@pytest.fixture
def planned(full: RunReport) -> Plan:
    intent = replace(full.intent, rate=RateRange(low_rps=20, high_rps=300))
    return make_plan(PlanRequest(intent=intent, profiles={"cpu": full.profile}, settings=SETTINGS))


@pytest.fixture
def assembled(full: RunReport, planned: Plan) -> RunReport:
    return assemble(
        Service(manifest={}, intent=full.intent, source=full.source),
        full.profile,
        planned,
        measured=full.measured,
        untuned=full.untuned,
        held=True,
        verdict="SLO held",
        commands=(),
        generated_by="kserve-ext 0.1.0",
        settings=SETTINGS,
    )


def test_both_load_curves_reach_from_quiet_to_saturated(assembled: RunReport) -> None:
    for curve in (assembled.load_curve, assembled.untuned_load_curve):
        bounded = [row for row in curve if math.isfinite(row.p99_s)]
        assert 8 <= len(bounded) < len(curve)
        assert bounded[0].p99_s < bounded[-1].p99_s


def test_the_load_curve_meets_the_slo_near_the_planned_capacity(assembled: RunReport, planned: Plan) -> None:
    limit_s = planned.slo.p99_s * (1 - planned.margin)
    within = [row.rate_rps for row in assembled.load_curve if row.p99_s <= limit_s]
    beyond = [row.rate_rps for row in assembled.load_curve if row.p99_s > limit_s]
    assert max(within) <= planned.capacity_rps * 1.02
    assert min(beyond) >= planned.capacity_rps * 0.98


def test_the_untuned_capacity_is_known_well_below_saturation(assembled: RunReport, profile: Profile) -> None:
    assert assembled.untuned_capacity_rps is not None
    one_row_s = next(row.mean_s for row in latency_rows(profile) if (row.batch, row.instances) == (1, 1))
    assert 0.6 / one_row_s < assembled.untuned_capacity_rps < 1 / one_row_s


def test_the_fitted_p99_is_the_measured_shape_around_the_fitted_mean(profile: Profile) -> None:
    rows = {(row.batch, row.instances): row for row in latency_rows(profile)}
    point = next(point for point in profile.stages[0].points if (point.batch, point.requests) == (16, 16))
    row = rows[16, point.instances]
    assert row.p99_s == pytest.approx(row.mean_s * point.quantiles_s.values[-1] / point.mean_s, rel=0.05)
    assert all(row.mean_s < row.p99_s < 1.5 * row.mean_s for row in rows.values())


def test_the_planned_configuration_is_a_candidate_and_carries_what_the_plan_says(
    assembled: RunReport, planned: Plan
) -> None:
    stage = planned.stages[0]
    found = {(one.max_batch, one.instances): one.capacity_rps for one in assembled.candidates}
    assert set(found) == {(batch, count) for batch in (1, 2, 4, 8, 16, 32) for count in (1, 2)}
    assert found[stage.max_batch_size, stage.instances] == pytest.approx(planned.capacity_rps)


def test_of_an_ensemble_the_stage_that_binds_is_varied(full: RunReport, planned: Plan) -> None:
    quick = replace(
        full.profile.stages[0],
        model="tokenizer",
        points=tuple(replace(point, mean_s=point.mean_s / 50) for point in full.profile.stages[0].points),
    )
    profile = replace(full.profile, stages=(quick, full.profile.stages[0]))
    plan = replace(planned, stages=(replace(planned.stages[0], model="tokenizer"), planned.stages[0]))
    report = assemble(
        Service(manifest={}, intent=full.intent, source=full.source),
        profile,
        plan,
        measured=full.measured,
        untuned=None,
        held=True,
        verdict="SLO held",
        commands=(),
        generated_by="kserve-ext 0.1.0",
        settings=SETTINGS,
    )
    assert report.main_stage == 1
    assert {row.stage for row in report.latency_curve} == {0, 1}
