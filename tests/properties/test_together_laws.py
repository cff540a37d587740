"""Laws of replicas that hold several models, found again by Hypothesis on made-up services."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from factories import SMALL, intent, profiles
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kserve_ext.domain import Intent, Neighbour, Plan, Profile, RateRange, Slo, StagePlan
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy import PlanRequest, plan
from kserve_ext.policy.crowd import extended
from kserve_ext.policy.replica import build_replica, poisson_arrivals
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.several import Model, simulate_several

few = settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))

Asked = tuple[Profile, float, RateRange]  # one model: its profile, its p99, its rates


@st.composite
def replicas(draw: st.DrawFn) -> tuple[Asked, ...]:
    """Two or three models, on the same hardware, with SLOs of 5 to 20 service times."""
    hardware = draw(st.sampled_from(("cpu", "gpu")))
    found = []
    for index in range(draw(st.integers(2, 3))):
        measured = draw(profiles)
        (stage,) = measured.stages
        named = replace(measured, model=f"m{index}", hardware=hardware, stages=(replace(stage, model=f"m{index}"),))
        service_s = stage.points[0].mean_s
        high_rps = draw(st.floats(0.05, 5.0)) / service_s
        rates = RateRange(low_rps=high_rps * draw(st.floats(0.01, 1.0)), high_rps=high_rps)
        found.append((named, draw(st.floats(5.0, 20.0)) * service_s + measured.overhead_s.values[-1], rates))
    return tuple(found)


def planned(asked: tuple[Asked, ...]) -> Plan | None:
    (first, p99_s, rates), *others = asked
    wanted: Intent = replace(
        intent(hardware=(first.hardware,)), model=first.model, slo=Slo(p99_s=p99_s), rate=rates,
        neighbours=tuple(Neighbour(model=each.model, p99_s=slo_s, rate=rate) for each, slo_s, rate in others),
    )  # fmt: skip
    beside = {each.model: {each.hardware: each} for each, _, _ in others}
    try:
        return plan(PlanRequest(intent=wanted, profiles={first.hardware: first}, neighbours=beside, settings=SMALL))
    except InfeasibleError:
        return None


def by_model(decided: Plan) -> dict[str, tuple[tuple[StagePlan, ...], float]]:
    return {each.model: (each.stages, each.capacity_rps) for each in (decided, *decided.neighbours)}


@few
@given(replicas(), st.data())
def test_the_order_in_which_models_are_named_changes_nothing(asked: tuple[Asked, ...], data: st.DataObject) -> None:
    one, other = planned(asked), planned(tuple(data.draw(st.permutations(asked))))
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert by_model(one) == by_model(other)
        assert (one.scaling, one.concurrency_limit, one.resources, one.replicas_at_high_rate, one.timeout_s) == (
            other.scaling, other.concurrency_limit, other.resources, other.replicas_at_high_rate, other.timeout_s,
        )  # fmt: skip


@few
@given(replicas(), st.integers(0, 2), st.floats(1.0, 10.0))
def test_more_traffic_for_one_model_never_takes_fewer_replicas(
    asked: tuple[Asked, ...], which: int, factor: float
) -> None:
    place = which % len(asked)
    measured, p99_s, rates = asked[place]
    more = replace(rates, high_rps=rates.high_rps * factor)
    one, other = planned(asked), planned((*asked[:place], (measured, p99_s, more), *asked[place + 1 :]))
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.replicas_at_high_rate <= other.replicas_at_high_rate
        assert one.scaling.max_replicas <= other.scaling.max_replicas


@few
@given(replicas(), st.integers(0, 2), st.floats(1.0, 10.0))
def test_a_looser_slo_of_one_model_never_costs_more(asked: tuple[Asked, ...], which: int, factor: float) -> None:
    place = which % len(asked)
    measured, p99_s, rates = asked[place]
    one, other = planned(asked), planned((*asked[:place], (measured, p99_s * factor, rates), *asked[place + 1 :]))
    if one is not None:
        assert other is not None
        assert other.replicas_at_high_rate <= one.replicas_at_high_rate


@settings(few, max_examples=6)
@given(replicas(), st.integers(0, 9))
def test_a_replica_of_the_plan_holds_every_models_slo_when_all_are_busy(asked: tuple[Asked, ...], seed: int) -> None:
    """Request by request, each model slowed by the instances that are busy at that moment, as far as was measured."""
    decided = planned(asked)
    if decided is None:
        return
    together = sum(stage.instances for stage in decided.all_stages)
    stages = {stage.model: stage for stage in decided.all_stages}
    models = []
    for index, (measured, _, rates) in enumerate(asked):
        (law,) = build_replica(measured).laws
        stage = stages[measured.model]
        rate_rps = rates.high_rps / decided.replicas_at_high_rate
        models.append(Model(
            arrivals_s=poisson_arrivals(4000, 10 * seed + index) / rate_rps,
            stages=[Stage(law=extended(law, together, shared=measured.hardware != "cpu"), instances=stage.instances,
                          max_batch_size=stage.max_batch_size,
                          max_queue_delay_s=stage.max_queue_delay_s if stage.max_batch_size > 1 else None)],
        ))  # fmt: skip
    for (measured, p99_s, _), trace in zip(asked, simulate_several(models, seed=seed), strict=True):
        latencies_s = trace.done_s - trace.arrivals_s + measured.overhead_s.values[-1]
        assert float(np.quantile(latencies_s, 0.99)) <= p99_s
