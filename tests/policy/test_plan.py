from __future__ import annotations

import pytest
from factories import intent, profile, request, stage_profile

from kserve_ext.domain import Plan, Profile, Reason
from kserve_ext.errors import InfeasibleError, ProfileError
from kserve_ext.policy import PlanRequest, Settings, plan


def why(decided: Plan, field: str) -> Reason:
    (reason,) = (reason for reason in decided.reasons if reason.field == field)
    return reason


@pytest.mark.parametrize("slo_s", [0.012, 0.025, 0.1])
def test_with_the_usual_settings_a_run_four_times_as_long_as_the_search_still_holds_the_slo(slo_s: float) -> None:
    """At the capacity itself, where it is tightest, and not only at the rate that the replicas happen to get."""
    tight = plan(request(intent(slo_s=slo_s, high_rps=1.0, low_rps=1.0), settings=Settings()))
    full = plan(request(intent(slo_s=slo_s, high_rps=tight.capacity_rps), settings=Settings()))
    assert full.replicas_at_high_rate == 1
    assert full.prediction.rate_rps == pytest.approx(full.capacity_rps)
    assert full.prediction.p99_s <= slo_s


def test_a_plan_carries_what_was_asked_for_by_name() -> None:
    wanted = intent(slo_s=0.05)
    decided = plan(request(wanted))
    assert (decided.service, decided.namespace, decided.model) == ("service", "default", "m")
    assert (decided.hardware, decided.protocol, decided.slo) == ("cpu", wanted.protocol, wanted.slo)
    assert decided.margin == 0.10


@pytest.mark.parametrize(
    ("measured", "exact"),
    [
        (profile(), True),
        (profile(stage_profile(batchable=False)), True),
        (profile(stage_profile("tokenizer"), stage_profile("encoder")), False),
        (profile(stage_profile(instances=2), hardware="gpu"), False),
    ],
)
def test_the_plan_says_whether_its_latencies_are_exact_or_simulated(measured: Profile, exact: bool) -> None:
    decided = plan(request(intent(slo_s=0.05, hardware=("cpu", "gpu")), measured))
    kind = "exact" if exact else "simulated"
    assert why(decided, "capacity_rps").code == f"capacity-{kind}-p99"
    assert why(decided, "prediction.p99_s").code == f"prediction-{kind}"
    assert ("computed exactly" in why(decided, "capacity_rps").text) == exact


def test_batching_is_chosen_where_it_pays_and_the_reason_tells_the_gain_and_the_next_best() -> None:
    decided = plan(request(intent(slo_s=0.05)))
    assert decided.stages[0].max_batch_size == 16
    reason = why(decided, "stages[0].max_batch_size")
    assert reason.code == "batch-most-capacity-within-slo"
    assert "a batch of 16 takes 12ms against 4.5ms for one row: 6 x the throughput" in reason.text


def test_batching_is_not_chosen_where_a_row_costs_as_much_in_a_batch_as_alone() -> None:
    flat = profile(stage_profile(fixed_s=0.0, row_s=0.005))
    decided = plan(request(intent(slo_s=0.05), flat))
    assert decided.stages[0].max_batch_size == 1
    assert why(decided, "stages[0].max_batch_size").code == "batching-not-worth-it"


def test_a_fixed_batch_dimension_turns_batching_off_and_the_plan_says_why() -> None:
    decided = plan(request(intent(slo_s=0.05), profile(stage_profile(batchable=False))))
    (stage,) = decided.stages
    assert (stage.max_batch_size, stage.max_queue_delay_s) == (0, 0.0)
    reason = why(decided, "stages[0].max_batch_size")
    assert (reason.code, reason.text) == (
        "batching-impossible", "m has a fixed batch dimension: requests cannot be merged, so batching is off",
    )  # fmt: skip
    assert decided.concurrency_limit == 2
    assert decided.prediction.mean_batch == 1.0


def test_the_first_hardware_kind_that_holds_the_slo_is_taken() -> None:
    slow, fast = profile(stage_profile(fixed_s=0.1)), profile(hardware="gpu")
    both = ("cpu", "gpu")
    decided = plan(request(intent(slo_s=0.02, hardware=both), slow, fast))
    assert (decided.hardware, dict(decided.resources.accelerators)) == ("gpu", {"nvidia.com/gpu": 1})
    assert "; cpu does not (slo-p99 binds)" in why(decided, "hardware").text
    assert plan(request(intent(slo_s=1.0, hardware=both), slow, fast)).hardware == "cpu"
    assert plan(request(intent(slo_s=1.0, hardware=("gpu", "cpu")), slow, fast)).hardware == "gpu"


def test_hardware_without_a_profile_is_skipped_and_without_any_is_an_error_that_says_how_to_measure() -> None:
    skipped = plan(request(intent(hardware=("h100", "cpu"))))
    assert skipped.hardware == "cpu"
    assert why(skipped, "hardware").text.endswith("; h100 has no profile")
    with pytest.raises(ProfileError) as caught:
        plan(request(intent(hardware=("h100", "a100"))))
    assert str(caught.value) == "no profile of m for the hardware asked for; found cpu; allowed: h100, a100"
    assert caught.value.remedy == "measure one with `kserve-ext profile m --hardware h100`"


def test_a_profile_in_the_place_of_another_hardware_kind_is_refused() -> None:
    misplaced = PlanRequest(intent=intent(), profiles={"cpu": profile(hardware="gpu")})
    with pytest.raises(ProfileError, match="hardware: a profile of other hardware; found gpu; allowed: cpu"):
        plan(misplaced)


def test_where_no_hardware_holds_the_slo_each_says_why() -> None:
    slow, slower = profile(stage_profile(fixed_s=0.1)), profile(stage_profile(fixed_s=0.2), hardware="gpu")
    with pytest.raises(InfeasibleError) as caught:
        plan(request(intent(slo_s=0.02, hardware=("cpu", "gpu")), slow, slower))
    assert caught.value.binding == "cpu: slo-p99, gpu: slo-p99"
    cpu, gpu = caught.value.nearest.splitlines()
    assert cpu.startswith("cpu: kserve-ext.dev/slo-p99: ")
    assert gpu.startswith("gpu: kserve-ext.dev/slo-p99: ")


def test_on_cpu_a_larger_replica_is_taken_only_when_the_smaller_one_needs_more_than_the_replicas_allowed() -> None:
    two = profile(stage_profile(instances=2))
    free = plan(request(intent(high_rps=4000), two))
    assert (free.stages[0].instances, free.replicas_at_high_rate) == (1, 4)
    tight = plan(request(intent(high_rps=4000, max_replicas=2), two))
    assert (tight.stages[0].instances, tight.replicas_at_high_rate) == (2, 2)
    assert tight.scaling.max_replicas == 2


def test_on_an_accelerator_the_instances_that_carry_most_are_taken() -> None:
    decided = plan(
        request(intent(hardware=("gpu",), high_rps=4000), profile(stage_profile(instances=2), hardware="gpu"))
    )
    assert decided.stages[0].instances == 2


def test_an_ensemble_has_a_plan_for_every_step_and_the_light_one_does_not_bind() -> None:
    tokenizer = stage_profile("tokenizer", fixed_s=0.0005, row_s=0.0001, instances=2)
    encoder = stage_profile("encoder", fixed_s=0.004, row_s=0.001, instances=2)
    decided = plan(request(intent(slo_s=0.08, high_rps=500), profile(tokenizer, encoder)))
    assert [stage.model for stage in decided.stages] == ["tokenizer", "encoder"]
    assert why(decided, "stages[0].instances").text == "enough that tokenizer is not what binds (encoder is)"
    assert why(decided, "stages[1].instances").code == "instances-throughput"
    assert decided.prediction.p99_s <= 0.08
    batch = decided.stages[1].max_batch_size
    assert decided.concurrency_limit == 3 * batch


def test_an_ensemble_with_a_step_that_cannot_be_batched_batches_the_other_one() -> None:
    tokenizer = stage_profile("tokenizer", fixed_s=0.0003, row_s=0.0001, batchable=False)
    decided = plan(request(intent(slo_s=0.08), profile(tokenizer, stage_profile("encoder"))))
    assert decided.stages[0].max_batch_size == 0
    assert decided.stages[1].max_batch_size > 1
    assert why(decided, "stages[0].max_batch_size").code == "batching-impossible"


@pytest.mark.parametrize(
    ("budget_s", "low_rps", "least"), [(10.0, 0.01, 0), (None, 0.01, 1), (1.0, 0.01, 1), (10.0, 5.0, 1)]
)
def test_a_service_scales_to_zero_only_with_a_budget_for_the_cold_start_and_idle_times(
    budget_s: float | None, low_rps: float, least: int
) -> None:
    decided = plan(request(intent(low_rps=low_rps, cold_start_budget_s=budget_s)))
    assert decided.scaling.min_replicas == least
    woken = "twice a cold start, for requests that wake it from zero"
    assert (woken in why(decided, "timeout_s").text) == (least == 0)
    assert decided.scaling.initial_scale == 1


def test_the_timeout_is_never_above_what_knative_allows() -> None:
    decided = plan(request(intent(low_rps=0.01, cold_start_budget_s=900), profile(load_s=400)))
    assert decided.timeout_s == 600
    assert "Knative allows at most 600 s" in why(decided, "timeout_s").text


def test_a_spare_replica_is_kept_where_losing_one_would_cost_the_availability() -> None:
    usual, strict = (plan(request(intent(availability=share))).scaling for share in (0.999, 0.9999))
    assert (usual.min_replicas, strict.min_replicas) == (1, 2)
    assert strict.panic_threshold_percent < usual.panic_threshold_percent
