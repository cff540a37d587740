"""Laws that every plan keeps, whatever the profile and the wish: found again by Hypothesis on made-up services."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace

import pytest
from factories import SMALL, intent, profiles, request
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_ext.domain import Intent, Plan, Profile, RateRange, Slo
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy import plan
from kserve_ext.policy.check import check
from kserve_ext.units import parse_duration_s

few = settings(max_examples=25, deadline=None)

rates = st.tuples(st.floats(0.01, 3000.0), st.floats(0.01, 1.0)).map(
    lambda pair: RateRange(low_rps=pair[0] * pair[1], high_rps=pair[0])
)
intents = st.builds(
    lambda slo_s, rate, availability, budget_s: replace(
        intent(slo_s=slo_s, hardware=("cpu", "gpu"), availability=availability, cold_start_budget_s=budget_s), rate=rate
    ),
    st.floats(0.002, 2.0),
    rates,
    st.sampled_from((0.99, 0.999, 0.9999)),
    st.one_of(st.none(), st.floats(0.1, 200.0)),
)


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
@given(intents, profiles, st.floats(1.0, 20.0))
def test_more_traffic_never_takes_fewer_replicas(wanted: Intent, measured: Profile, factor: float) -> None:
    more = replace(wanted, rate=RateRange(low_rps=wanted.rate.low_rps, high_rps=wanted.rate.high_rps * factor))
    one, other = planned(wanted, measured), planned(more, measured)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.replicas_at_high_rate <= other.replicas_at_high_rate
        assert one.scaling.max_replicas <= other.scaling.max_replicas
        assert one.scaling.min_replicas == other.scaling.min_replicas


@few
@given(intents, profiles, st.floats(1.0, 20.0))
def test_a_looser_slo_never_costs_more(wanted: Intent, measured: Profile, factor: float) -> None:
    looser = replace(wanted, slo=Slo(p99_s=wanted.slo.p99_s * factor, availability=wanted.slo.availability))
    one, other = planned(wanted, measured), planned(looser, measured)
    if one is not None:
        assert other is not None
        assert cost(other) <= cost(one)
        assert other.capacity_rps >= one.capacity_rps or other.stages[0].instances != one.stages[0].instances


@few
@given(intents, profiles)
def test_the_same_request_gives_the_same_plan(wanted: Intent, measured: Profile) -> None:
    assert planned(wanted, measured) == planned(wanted, measured)


@few
@given(intents, profiles)
def test_every_number_of_a_plan_has_a_reason_and_every_reason_a_field(wanted: Intent, measured: Profile) -> None:
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
@given(intents, profiles)
def test_a_plan_stays_within_the_bounds_of_knative_and_of_what_was_measured(wanted: Intent, measured: Profile) -> None:
    decided = planned(wanted, measured)
    if decided is None:
        return
    assert check(decided, "default") is decided
    scaler, stage = decided.scaling, decided.stages[0]
    assert 0 <= scaler.min_replicas <= scaler.max_replicas
    assert decided.replicas_at_high_rate <= scaler.max_replicas
    assert 1 <= scaler.initial_scale <= max(1, scaler.min_replicas)
    assert 1 <= decided.concurrency_limit <= 1000
    assert 0.01 <= scaler.target <= decided.concurrency_limit
    assert stage.max_batch_size <= measured.stages[0].max_batch
    assert 1 <= stage.instances <= max(point.instances for point in measured.stages[0].points)
    assert decided.capacity_rps * decided.replicas_at_high_rate >= wanted.rate.high_rps * (1 - 1e-6)
    assert wanted.slo.p99_s < decided.timeout_s <= 600
    assert decided.warnings == ()


@few
@given(intents, profiles)
def test_the_prediction_at_the_busy_rate_holds_the_slo_with_the_margin(wanted: Intent, measured: Profile) -> None:
    decided = planned(wanted, measured)
    if decided is not None:
        assert decided.prediction.rate_rps == pytest.approx(wanted.rate.high_rps / decided.replicas_at_high_rate)
        assert decided.prediction.p99_s <= wanted.slo.p99_s * (1 - SMALL.margin) * 1.05
        assert decided.prediction.p50_s <= decided.prediction.p95_s <= decided.prediction.p99_s


@few
@given(intents, profiles, st.integers(1, 4))
def test_what_an_infeasible_answer_offers_is_feasible(wanted: Intent, measured: Profile, most: int) -> None:
    allowed = replace(wanted, max_replicas=most)
    try:
        plan(request(allowed, measured))
    except InfeasibleError as refusal:
        offers = list(offered(refusal, allowed))
        assert offers
        assert refusal.binding in ("slo-p99", "max-replicas")
        for offer in offers:
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
