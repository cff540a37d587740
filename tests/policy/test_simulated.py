"""What the engine serves with is what the planner reckoned with."""

from __future__ import annotations

import numpy as np
import pytest
from factories import SMALL, intent, profile, request, stage_profile

from kserve_ext.domain import StagePlan
from kserve_ext.errors import ProfileError
from kserve_ext.policy import plan
from kserve_ext.policy.replica import build_replica, latencies_s, poisson_arrivals
from kserve_ext.policy.simulated import batch_service, planned_service, service_time
from kserve_ext.profile.service_law import Lognormal, OneAtATime, Spread
from kserve_ext.simulate.arrivals import Exact
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.scalers import StaticScaler


def stage(max_batch: int = 8, instances: int = 1, delay_s: float = 0.0) -> StagePlan:
    return StagePlan(
        model="m", max_batch_size=max_batch, max_queue_delay_s=delay_s, instances=instances, threads=1
    )  # fmt: skip


def test_the_engine_draws_from_the_laws_the_planner_has() -> None:
    measured = profile(stage_profile(instances=2))
    service = batch_service(measured, [stage(instances=2)], 32)
    replica = build_replica(measured)
    assert tuple(each.law for each in service.stages) == replica.laws
    assert service.overhead_levels_s == replica.overhead_levels_s


def test_one_replica_in_the_engine_answers_as_the_planner_predicts() -> None:
    measured = profile()
    arrivals_s = poisson_arrivals(4000, seed=7) / 200.0
    stages = [stage(max_batch=8)]
    predicted, _ = latencies_s(build_replica(measured), stages, arrivals_s, concurrency_limit=64, seed=1)
    workload = Workload(
        name="m", arrivals=Exact(times_s=tuple(arrivals_s.tolist())), service=batch_service(measured, stages, 64),
        slo_s=0.05, cold_start=ColdStart(),
    )  # fmt: skip
    (seen,) = simulate_fleet([workload], [StaticScaler(replicas=1)], seed=1)
    p50, p99 = np.quantile(predicted, [0.5, 0.99])
    assert (seen.p50_s, seen.p99_s) == (pytest.approx(p50, rel=0.03), pytest.approx(p99, rel=0.1))


def test_a_plan_brings_its_stages_and_its_limit() -> None:
    measured = profile()
    decided = plan(request(intent(), measured, settings=SMALL))
    service = planned_service(measured, decided)
    assert service.concurrency_limit == decided.concurrency_limit
    assert [each.max_batch_size for each in service.stages] == [each.max_batch_size for each in decided.stages]


@pytest.mark.parametrize(("max_batch", "delay"), [(0, None), (1, None), (8, 0.0)])
def test_without_batching_there_is_no_queue_delay(max_batch: int, delay: float | None) -> None:
    (served,) = batch_service(profile(), [stage(max_batch)], 4).stages
    assert served.max_queue_delay_s == delay


def test_no_limit_is_the_most_that_knative_allows() -> None:
    assert batch_service(profile(), [stage()], 0).concurrency_limit == 1000


@pytest.mark.parametrize(
    ("stages", "field", "allowed"),
    [
        ([stage(max_batch=32)], "stages[0].max_batch_size", "1 to 16"),
        ([stage(instances=3)], "stages[0].instances", "1 to 1"),
        ([], "stages", "m"),
    ],
)
def test_what_the_profile_does_not_cover_is_refused(stages: list[StagePlan], field: str, allowed: str) -> None:
    with pytest.raises(ProfileError) as refused:
        batch_service(profile(), stages, 4)
    (problem,) = refused.value.problems
    assert (problem.field, problem.allowed) == (field, allowed)


@pytest.mark.parametrize(
    "time",
    [
        Lognormal(distribution="lognormal", loc=0.08, scale=0.07, shape=0.42),
        Spread(mean_s=0.15),
        Spread(mean_s=0.3, quantiles_s=profile().overhead_s),
        Spread(quantiles_s=profile().overhead_s),
    ],
)
def test_draws_of_a_law_have_its_mean(time: Lognormal | Spread) -> None:
    drawn = service_time(OneAtATime(time=time))
    values = drawn.draw_s(np.random.default_rng(0), 100_000)
    assert values.mean() == pytest.approx(drawn.mean_s, rel=0.01)
    assert values.min() >= drawn.least_s
