"""Several models in one replica: what is planned for each, and what the autoscaler of them all is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL, intent, profile, stage_profile

from kserve_ext.domain import Intent, Neighbour, Pins, Plan, Profile, RateRange
from kserve_ext.errors import InfeasibleError, InputError, ProfileError
from kserve_ext.policy import PlanRequest, plan
from kserve_ext.policy.check import check, decided_fields
from kserve_ext.policy.crowd import crowded, extended
from kserve_ext.policy.replica import build_replica


def of_model(model: str, *, hardware: str = "cpu", load_s: float = 1.5, **stage: float | int) -> Profile:
    measured = profile(stage_profile(model, **stage), hardware=hardware, load_s=load_s)  # type: ignore[arg-type]
    return replace(measured, model=model)


def beside(model: str = "n", *, p99_s: float = 0.2, low_rps: float = 5.0, high_rps: float = 60.0) -> Neighbour:
    return Neighbour(model=model, p99_s=p99_s, rate=RateRange(low_rps=low_rps, high_rps=high_rps))


def pair(
    first: Profile | None = None, second: Profile | None = None, *, wanted: Intent | None = None,
    neighbour: Neighbour | None = None,
) -> Plan:  # fmt: skip
    first, second = first or of_model("m"), second or of_model("n", fixed_s=0.010, row_s=0.002)
    asked = replace(
        wanted or intent(hardware=(first.hardware,)), neighbours=(replace(neighbour or beside(), model=second.model),)
    )
    return plan(PlanRequest(
        intent=asked, profiles={first.hardware: first}, neighbours={second.model: {second.hardware: second}},
        settings=SMALL,
    ))  # fmt: skip


def test_each_model_holds_its_own_slo() -> None:
    decided = pair()
    (neighbour,) = decided.neighbours
    assert decided.prediction.p99_s <= decided.slo.p99_s
    assert neighbour.prediction.p99_s <= neighbour.slo.p99_s == 0.2
    assert [stage.model for stage in decided.all_stages] == ["m", "n"]
    assert decided.models == ("m", "n")


def test_no_mix_within_the_rates_brings_a_replica_beyond_what_it_carries() -> None:
    decided = pair(neighbour=beside(low_rps=5.0, high_rps=60.0))
    (neighbour,) = decided.neighbours
    for first_rps, second_rps in ((400.0, 60.0), (400.0, 5.0), (20.0, 60.0), (210.0, 30.0)):
        replicas = (first_rps + second_rps) / decided.scaling.target
        assert first_rps / replicas <= decided.capacity_rps * 1.0001
        assert second_rps / replicas <= neighbour.capacity_rps * 1.0001
    assert decided.scaling.metric == "rps"


def test_a_replica_needs_what_its_models_need_and_the_server_once() -> None:
    decided, first, second = pair(), of_model("m"), of_model("n")
    alone = plan(PlanRequest(intent=intent(), profiles={"cpu": first}, settings=SMALL))
    assert decided.resources.memory_bytes == pytest.approx(
        alone.resources.memory_bytes + SMALL.memory_headroom * second.stages[0].memory_peak_bytes
    )
    assert decided.resources.cpu_cores >= alone.resources.cpu_cores + 1
    assert decided.concurrency_limit > alone.concurrency_limit


def test_the_cold_start_loads_every_model() -> None:
    slow = pair(of_model("m", load_s=30.0), of_model("n", load_s=40.0))
    assert slow.scaling.scale_down_delay_s == SMALL.pod_start_s + 70.0


def test_on_an_accelerator_a_model_is_planned_as_if_it_took_turns_with_its_neighbour() -> None:
    alone = plan(PlanRequest(intent=intent(hardware=("gpu",)), profiles={"gpu": of_model("m", hardware="gpu")},
                             settings=SMALL))  # fmt: skip
    decided = pair(of_model("m", hardware="gpu"), of_model("n", hardware="gpu", fixed_s=0.010, row_s=0.002))
    assert decided.capacity_rps < 0.6 * alone.capacity_rps
    assert decided.resources.accelerators == {"nvidia.com/gpu": 1}


def test_what_was_measured_side_by_side_stands_for_a_neighbour() -> None:
    measured = of_model("m", instances=2, slowing=0.5)
    law = build_replica(measured).laws[0]
    (beside_one,) = crowded(build_replica(measured), 1, 1, shared=False).laws
    assert beside_one.mean_s(1, 1) == pytest.approx(law.mean_s(1, 2))
    assert extended(law, 4, shared=False).mean_s(1, 4) == pytest.approx(law.mean_s(1, 2))  # own cores: no slower
    assert extended(law, 4, shared=True).mean_s(1, 4) == pytest.approx(2 * law.mean_s(1, 2))  # they take turns


def test_every_number_has_a_reason_under_its_own_path() -> None:
    decided = pair()
    assert check(decided, "default") is decided
    assert "neighbours[0].stages[0].max_batch_size" in decided_fields(decided)
    fields = [reason.field for reason in decided.reasons]
    assert len(fields) == len(set(fields))
    (capacity,) = (reason for reason in decided.reasons if reason.field == "neighbours[0].capacity_rps")
    assert "with every instance of m busy beside it" in capacity.text


def test_what_the_user_pinned_is_kept_and_told_where_it_starves_a_model() -> None:
    decided = pair(wanted=intent(pins=Pins(container_concurrency=3, max_replicas=1, scale_target=50.0)))
    assert (decided.concurrency_limit, decided.scaling.max_replicas, decided.scaling.target) == (3, 1, 50.0)
    assert {warning.code for warning in decided.warnings} >= {"concurrency-starves-models"}


def test_a_metric_of_the_user_gets_the_lowest_target_that_fills_a_model() -> None:
    decided = pair(wanted=intent(pins=Pins(scale_metric="concurrency")))
    assert decided.scaling.metric == "concurrency"
    assert 0.01 <= decided.scaling.target < decided.concurrency_limit


@pytest.mark.parametrize(
    ("neighbour", "max_replicas", "binding", "nearest"),
    [
        (beside(p99_s=0.005), None, "slo-p99 of n", "a p99 for n of "),
        (beside(high_rps=5000.0), 2, "max-replicas", "kserve-ext.dev/max-replicas: "),
    ],
    ids=["slo", "replicas"],
)
def test_what_cannot_be_held_says_whose_it_is(
    neighbour: Neighbour, max_replicas: int | None, binding: str, nearest: str
) -> None:
    with pytest.raises(InfeasibleError) as refusal:
        pair(wanted=intent(max_replicas=max_replicas), neighbour=neighbour)
    assert refusal.value.binding == binding
    assert nearest in refusal.value.nearest


def test_a_model_without_a_profile_on_the_same_hardware_is_named() -> None:
    with pytest.raises(ProfileError, match="no profile of n for the hardware asked for"):
        pair(of_model("m"), of_model("n", hardware="gpu"))


def test_a_model_cannot_be_in_a_replica_twice() -> None:
    with pytest.raises(InputError, match="steps of two"):
        pair(of_model("m"), replace(of_model("m"), model="n"))
