"""Laws that every plan keeps, whatever the profile and the wish: found again by Hypothesis on made-up services."""

from __future__ import annotations

import math
import re
from dataclasses import fields, is_dataclass, replace
from random import Random

import numpy as np
import pytest
import yaml
from factories import SMALL, intent, profiles, request
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kserve_ext.domain import Intent, Plan, Profile, RateRange, Service, Slo, StagePlan
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy import PlanRequest, plan
from kserve_ext.policy.check import check
from kserve_ext.policy.replica import build_replica, simulated
from kserve_ext.render.bundle import render
from kserve_ext.render.pbtxt import parse_config
from kserve_ext.units import parse_duration_s

CONFIG = 'name: "m" backend: "onnxruntime" max_batch_size: 64'  # without inputs: nothing to warm up
MANIFEST = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "service", "annotations": {"serving.kserve.io/deploymentMode": "Knative"}},
    "spec": {"predictor": {"model": {"modelFormat": {"name": "triton"}}}},
}

# an example simulates up to a hundred small runs, so a failure is shown as it was found and not shrunk for minutes
few = settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))


@st.composite
def services(draw: st.DrawFn) -> tuple[Intent, Profile]:
    """A profile and a wish that is hard to grant: an SLO of 1 to 15 service times, up to 30 times what one can do."""
    measured = draw(profiles)
    service_s = measured.stages[0].points[0].mean_s
    high_rps = draw(st.floats(0.001, 30.0)) / service_s
    wanted = intent(
        slo_s=draw(st.floats(1.0, 15.0)) * service_s + measured.overhead_s.values[-1],
        low_rps=high_rps * draw(st.floats(0.01, 1.0)),
        high_rps=high_rps,
        hardware=("cpu", "gpu"),
        availability=draw(st.sampled_from((0.99, 0.999, 0.9999))),
        cold_start_budget_s=draw(st.one_of(st.none(), st.floats(0.1, 200.0))),
    )
    return wanted, measured


def planned(wanted: Intent, measured: Profile) -> Plan | None:
    """The plan, or None where there is none."""
    try:
        return plan(request(wanted, measured))
    except InfeasibleError:
        return None


def cost(decided: Plan) -> int:
    """Cores, or slices, that the busy rate takes."""
    return decided.replicas_at_high_rate * (1 if decided.resources.accelerators else decided.stages[0].instances)


@few
@given(services(), st.floats(1.0, 20.0))
def test_more_traffic_never_takes_fewer_replicas(service: tuple[Intent, Profile], factor: float) -> None:
    wanted, measured = service
    more = replace(wanted, rate=RateRange(low_rps=wanted.rate.low_rps, high_rps=wanted.rate.high_rps * factor))
    one, other = planned(wanted, measured), planned(more, measured)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.replicas_at_high_rate <= other.replicas_at_high_rate
        assert one.scaling.max_replicas <= other.scaling.max_replicas
        assert one.scaling.min_replicas == other.scaling.min_replicas


@few
@given(services(), st.floats(1.0, 20.0))
def test_a_looser_slo_never_costs_more(service: tuple[Intent, Profile], factor: float) -> None:
    wanted, measured = service
    looser = replace(wanted, slo=Slo(p99_s=wanted.slo.p99_s * factor, availability=wanted.slo.availability))
    one, other = planned(wanted, measured), planned(looser, measured)
    if one is not None:
        assert other is not None
        assert cost(other) <= cost(one)
        assert other.capacity_rps >= one.capacity_rps or other.stages[0].instances != one.stages[0].instances


@few
@given(services())
def test_the_same_request_gives_the_same_plan(service: tuple[Intent, Profile]) -> None:
    wanted, measured = service
    assert planned(wanted, measured) == planned(wanted, measured)


@few
@given(services(), st.randoms(use_true_random=False))
def test_the_order_in_which_profiles_points_and_services_come_changes_nothing(
    service: tuple[Intent, Profile], random: Random
) -> None:
    wanted, measured = service
    (stage,) = measured.stages
    points = list(stage.points)
    random.shuffle(points)
    shuffled = replace(measured, stages=(replace(stage, points=tuple(points)),))
    other = replace(measured, hardware="other")
    one = planned(wanted, measured)
    assert planned(replace(wanted, name="another"), measured) != one or one is None  # a service planned in between
    assert planned(wanted, shuffled) == one
    if one is not None:
        both = PlanRequest(intent=wanted, profiles={"other": other, measured.hardware: measured}, settings=SMALL)
        turned = PlanRequest(intent=wanted, profiles={measured.hardware: measured, "other": other}, settings=SMALL)
        assert plan(both) == plan(turned) == one


@settings(few, max_examples=6)  # of 90,000 requests each: near saturation fewer show p99 to a fifth only
@given(services())
def test_what_is_rendered_simulates_to_what_was_promised(service: tuple[Intent, Profile]) -> None:
    """From the text of config.pbtxt and of the manifest alone, on other arrivals than the plan's."""
    wanted, measured = service
    try:
        decided = plan(request(wanted, measured, settings=replace(SMALL, confirmed_requests=20_000)))
    except InfeasibleError:
        return
    bundle = render(Service(manifest=MANIFEST, intent=wanted, source="service.yaml:1"), decided, {"m": CONFIG})
    config = parse_config(bundle.files["model_repo/m/config.pbtxt"])
    predictor = yaml.safe_load(bundle.files["inferenceservice.yaml"])["spec"]["predictor"]
    served = StagePlan(
        model="m", max_batch_size=config.max_batch_size, instances=config.instance_group[0].count, threads=1,
        max_queue_delay_s=config.dynamic_batching.max_queue_delay_microseconds / 1e6,
    )  # fmt: skip
    assert config.HasField("dynamic_batching") == (config.max_batch_size > 1)
    rate_rps = wanted.rate.high_rps / decided.replicas_at_high_rate
    replica = build_replica(measured)
    runs = [
        simulated(replica, [served], rate_rps, settings=replace(SMALL, seed=seed), requests=30_000,
                  concurrency_limit=predictor["containerConcurrency"])
        for seed in range(3)
    ]  # fmt: skip
    p99_s = float(np.mean([run.p99_s for run in runs]))
    assert p99_s == pytest.approx(decided.prediction.p99_s, rel=0.15)
    assert p99_s <= wanted.slo.p99_s
    annotations = {name.rpartition("/")[2]: text for name, text in predictor["annotations"].items()}
    if annotations["metric"] == "rps":
        aim = float(annotations["target"]) * float(annotations["target-utilization-percentage"]) / 100
        asked = min(predictor["maxReplicas"], math.ceil(wanted.rate.high_rps / aim - 1e-6))
        assert asked >= decided.replicas_at_high_rate


@few
@given(services())
def test_every_number_of_a_plan_has_a_reason_and_every_reason_a_field(service: tuple[Intent, Profile]) -> None:
    wanted, measured = service
    decided = planned(wanted, measured)
    if decided is None:
        return
    reasons = [reason.field for reason in decided.reasons]
    assert len(reasons) == len(set(reasons))
    assert numeric_fields(decided) <= set(reasons)
    assert all(reason.text and reason.code for reason in decided.reasons)
    assert all(leads_to_a_value(decided, field) for field in reasons)


def numeric_fields(value: object, path: str = "") -> set[str]:
    """Paths of the numbers in a plan, walked by type; the wish (slo) and the forecast (prediction) are not decided."""
    if is_dataclass(value):
        found: set[str] = set()
        for field in fields(value):
            if field.name not in ("slo", "prediction", "reasons", "warnings"):
                found |= numeric_fields(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
        return found
    if isinstance(value, tuple):
        return {each for index, part in enumerate(value) for each in numeric_fields(part, f"{path}[{index}]")}
    return {path} if isinstance(value, int | float) else set()


def leads_to_a_value(value: object, path: str) -> bool:
    for name, index in re.findall(r"(\w+)(?:\[(\d+)\])?", path):
        value = getattr(value, name)
        value = value[int(index)] if index and isinstance(value, tuple) else value
    return value is not None


@few
@given(services())
def test_a_plan_stays_within_the_bounds_of_knative_and_of_what_was_measured(service: tuple[Intent, Profile]) -> None:
    wanted, measured = service
    decided = planned(wanted, measured)
    if decided is None:
        return
    assert check(decided, "default") is decided
    scaler, stage = decided.scaling, decided.stages[0]
    assert 0 <= scaler.min_replicas <= scaler.max_replicas
    assert decided.replicas_at_high_rate <= scaler.max_replicas
    assert 1 <= scaler.initial_scale <= max(1, scaler.min_replicas)
    assert 1 <= decided.concurrency_limit <= 1000
    most = decided.capacity_rps if scaler.metric == "rps" else decided.concurrency_limit
    assert 0.01 <= scaler.target <= max(0.01, most)
    assert stage.max_batch_size <= measured.stages[0].max_batch
    assert 1 <= stage.instances <= max(point.instances for point in measured.stages[0].points)
    assert decided.capacity_rps * decided.replicas_at_high_rate >= wanted.rate.high_rps * (1 - 1e-6)
    assert wanted.slo.p99_s < decided.timeout_s <= 600
    assert decided.warnings == ()


@few
@given(services())
def test_the_prediction_at_the_busy_rate_holds_the_slo_with_the_margin(service: tuple[Intent, Profile]) -> None:
    """With the concurrency limit in place, which the search does without; on the same arrivals as the search."""
    wanted, measured = service
    same = replace(SMALL, confirmed_requests=SMALL.simulated_requests)
    try:
        decided = plan(request(wanted, measured, settings=same))
    except InfeasibleError:
        return
    assert decided.prediction.rate_rps == pytest.approx(wanted.rate.high_rps / decided.replicas_at_high_rate)
    assert decided.prediction.p99_s <= wanted.slo.p99_s * (1 - SMALL.margin) * 1.05
    assert decided.prediction.p50_s <= decided.prediction.p95_s <= decided.prediction.p99_s


@few
@given(services(), st.integers(1, 4))
def test_what_an_infeasible_answer_offers_is_feasible(service: tuple[Intent, Profile], most: int) -> None:
    wanted, measured = service
    allowed = replace(wanted, max_replicas=most)
    if planned(allowed, measured) is not None:
        return
    with pytest.raises(InfeasibleError) as refusal:
        plan(request(allowed, measured))
    assert refusal.value.binding in ("slo-p99", "max-replicas")
    for offer in offered(refusal.value, allowed):
        assert plan(request(offer, measured)).scaling.max_replicas == offer.max_replicas


def offered(refusal: InfeasibleError, wanted: Intent) -> list[Intent]:
    """The wish, changed as each of the alternatives in `nearest` says."""
    changed = []
    for offer in refusal.nearest.split(", or "):
        slo, replicas = re.search(r"slo-p99: (\S+)", offer), re.search(r'max-replicas: "(\d+)"', offer)
        rate = re.search(r"a rate of at most ([\d.]+)rps", offer)
        assert slo or replicas or rate, offer
        each = wanted
        if slo:
            each = replace(each, slo=replace(each.slo, p99_s=parse_duration_s(slo[1])))
        if replicas:
            each = replace(each, max_replicas=int(replicas[1]))
        if rate:
            high_rps = float(rate[1])
            each = replace(each, rate=RateRange(low_rps=min(each.rate.low_rps, high_rps), high_rps=high_rps))
        changed.append(each)
    return changed
