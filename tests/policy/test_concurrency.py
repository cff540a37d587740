from __future__ import annotations

import pytest
from factories import SMALL, profile, stage_profile

from kserve_ext.domain import Prediction, Profile, StagePlan
from kserve_ext.policy.batching import MOST_LOAD, Candidate
from kserve_ext.policy.concurrency import limit, target
from kserve_ext.policy.replica import Replica, build_replica, predict


def full(replica: Replica, *stages: tuple[int, int]) -> Candidate:
    """A candidate from (batch, instances) of each stage that is used as far as the plan ever goes."""
    planned = tuple(
        StagePlan(model=model, max_batch_size=batch, max_queue_delay_s=0.0, instances=instances, threads=1)
        for model, (batch, instances) in zip(replica.models, stages, strict=True)
    )
    saturated_rps = replica.saturated_rps(planned)
    return Candidate(
        stages=planned, capacity_rps=MOST_LOAD * saturated_rps, saturated_rps=saturated_rps, p99_idle_s=0.005
    )


def limit_of(measured: Profile, *stages: tuple[int, int], limit_s: float) -> tuple[int, str, str]:
    replica = build_replica(measured)
    chosen, reason = limit(replica, full(replica, *stages), limit_s, SMALL)
    return chosen, reason.code, reason.text


@pytest.mark.parametrize(("batch", "instances", "filling"), [(1, 1, 2), (8, 1, 16), (8, 2, 32), (0, 2, 4), (16, 3, 96)])
def test_two_batches_per_instance_are_in_flight_where_the_slo_leaves_room(
    batch: int, instances: int, filling: int
) -> None:
    measured = profile(stage_profile(instances=3, batchable=batch > 0))
    chosen, code, text = limit_of(measured, (batch, instances), limit_s=10.0)
    assert (chosen, code) == (filling, "concurrency-two-batches-in-flight")
    assert text.startswith(f"2 x batch {max(1, batch)} x {instances} instances: one batch runs while the next fills")


def test_every_other_step_of_an_ensemble_adds_one_batch_per_instance() -> None:
    measured = profile(stage_profile("tokenizer", fixed_s=0.001, row_s=0.0002, instances=2), stage_profile("encoder"))
    chosen, code, text = limit_of(measured, (8, 2), (8, 1), limit_s=10.0)
    assert (chosen, code) == (2 * 8 + 16, "concurrency-two-batches-in-flight")
    assert text.startswith("2 x batch 8 x 1 instances + 16 in other steps: ")


@pytest.mark.parametrize("tokenizer_s", [0.001, 0.004, 0.0078])
def test_so_many_in_flight_saturate_a_replica_also_when_its_steps_take_equally_long(tokenizer_s: float) -> None:
    tokenizer = stage_profile("tokenizer", fixed_s=tokenizer_s, row_s=0.0005)
    replica = build_replica(profile(tokenizer, stage_profile("encoder", fixed_s=0.008, row_s=0.0005)))
    candidate = full(replica, (8, 1), (8, 1))
    chosen, _ = limit(replica, candidate, 10.0, SMALL)
    seen = predict(
        replica, candidate.stages, 2 * candidate.saturated_rps, settings=SMALL, requests=4000, concurrency_limit=chosen
    )
    assert seen.throughput_rps == pytest.approx(candidate.saturated_rps, rel=0.03)


def test_no_more_are_in_flight_than_are_answered_within_the_slo() -> None:
    """At 1000 rps and 16 ms, of which 1.6 ms are overhead, 14 are; 16 would keep the instance busy."""
    measured = profile(stage_profile(fixed_s=0.004, row_s=0.0005))
    replica = build_replica(measured)
    held = full(replica, (8, 1))
    light = Candidate(stages=held.stages, capacity_rps=200.0, saturated_rps=held.saturated_rps, p99_idle_s=0.005)
    chosen, reason = limit(replica, light, 0.0156, SMALL)
    assert (chosen, reason.code) == (14, "concurrency-capped-by-slo")
    assert "at 1000 rps only 14 in flight are all answered within 15.6ms" in reason.text


def test_the_cap_by_the_slo_never_takes_the_capacity_away() -> None:
    """With 1.8 ms beside the overhead two are answered in time at full batches; but of two in flight none is a batch."""
    quick = stage_profile(fixed_s=0.001, row_s=0.0001, batches=(1, 2, 4))
    replica, limit_s = build_replica(profile(quick, overhead_s=0.00277)), 0.0073
    held = full(replica, (2, 1))
    candidate = Candidate(stages=held.stages, capacity_rps=328.0, saturated_rps=held.saturated_rps, p99_idle_s=0.006)
    chosen, reason = limit(replica, candidate, limit_s, SMALL)
    assert (reason.numbers["within_slo"], chosen, reason.code) == (2, 4, "concurrency-two-batches-in-flight")
    p99_s = [
        predict(replica, held.stages, 328.0, settings=SMALL, requests=600, concurrency_limit=in_flight).p99_s
        for in_flight in (2, 4)
    ]
    assert p99_s[0] > limit_s >= p99_s[1]


def test_knatives_own_maximum_is_never_exceeded() -> None:
    measured = profile(stage_profile(batches=(1, 256), row_s=0.00001, instances=3, slowing=0.0))
    chosen, code, text = limit_of(measured, (256, 3), limit_s=10.0)
    assert (chosen, code) == (1000, "concurrency-capped-by-knative")
    assert "1536 (2 x batch 256 x 3 instances) keep every instance busy; Knative allows 1000" in text


def at_capacity(mean_concurrency: float) -> Prediction:
    return Prediction(
        rate_rps=123.456, throughput_rps=123.4, p50_s=0.01, p95_s=0.02, p99_s=0.03, mean_batch=2.0,
        mean_concurrency=mean_concurrency,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mean_concurrency", "metric", "expected", "code"),
    [
        (7.349, "concurrency", 7.34, "target-steady-concurrency"),
        (15.99, "concurrency", 15.99, "target-steady-concurrency"),
        (20.0, "concurrency", 16.0, "target-steady-concurrency"),
        (0.001, "concurrency", 0.01, "target-steady-concurrency"),
        (7.349, "rps", 123.45, "target-capacity-rps"),
    ],
)
def test_the_target_is_what_a_replica_at_its_capacity_shows_and_never_above_the_limit(
    mean_concurrency: float, metric: str, expected: float, code: str
) -> None:
    chosen, reason = target(at_capacity(mean_concurrency), 16, metric)
    assert (chosen, reason.code) == (expected, code)
    assert ("no target above the limit of 16" in reason.text) == (mean_concurrency > 16)
