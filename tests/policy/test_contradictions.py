"""What a person set by hand stays in the plan; where it works against the SLO, a warning says so with the number."""

from __future__ import annotations

from typing import Any

import pytest
from factories import intent, profile, request, stage_profile

from kserve_ext.domain import Pins, Plan
from kserve_ext.policy import plan


def planned(pins: Pins, *, low_rps: float = 20, high_rps: float = 400, max_replicas: int | None = None) -> Plan:
    return plan(
        request(
            intent(slo_s=0.05, low_rps=low_rps, high_rps=high_rps, max_replicas=max_replicas, pins=pins),
            profile(stage_profile(fixed_s=0.009, row_s=0.0005)),
        )
    )


def at(decided: Plan, path: str) -> Any:
    value: Any = decided
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(
    ("pins", "field", "value"),
    [
        (Pins(container_concurrency=20), "concurrency_limit", 20),
        (Pins(container_concurrency=0), "concurrency_limit", 0),
        (Pins(min_replicas=2), "scaling.min_replicas", 2),
        (Pins(max_replicas=7), "scaling.max_replicas", 7),
        (Pins(scale_target=3.0), "scaling.target", 3.0),
        (Pins(autoscaling={"target": "2.5"}), "scaling.target", 2.5),
        (Pins(scale_target=3.0, autoscaling={"target": "2.5"}), "scaling.target", 3.0),
        (Pins(scale_metric="rps"), "scaling.metric", "rps"),
        (Pins(autoscaling={"window": "2m"}), "scaling.window_s", 120.0),
        (Pins(timeout_s=30.0), "timeout_s", 30.0),
        (Pins(cpu_cores=4.0), "resources.cpu_cores", 4.0),
        (Pins(memory_bytes=1e9), "resources.memory_bytes", 1e9),
        (Pins(accelerators={"nvidia.com/gpu": 2}), "resources.accelerators", {"nvidia.com/gpu": 2}),
    ],
)
def test_what_a_person_set_is_kept_and_its_reason_says_so(pins: Pins, field: str, value: object) -> None:
    decided = planned(pins)
    assert at(decided, field) == value
    (reason,) = (reason for reason in decided.reasons if reason.field == field)
    assert "set in the manifest" in reason.text


@pytest.mark.parametrize(
    ("pins", "code", "says"),
    [
        (Pins(container_concurrency=1), "concurrency-breaks-slo",
         ("containerConcurrency 1 is kept", "at 400 rps a replica p99 is then", "against 50ms")),
        (Pins(container_concurrency=0), "concurrency-unlimited", ("containerConcurrency 0 admits everything",)),
        (Pins(max_replicas=1), "max-replicas-below-need", ("maxReplicas 1 is kept", "3000 rps need 4")),
        (Pins(min_replicas=5, max_replicas=4), "min-replicas-above-max",
         ("5 replicas are wanted at all times", "at most 4 are allowed")),
        (Pins(min_replicas=1), "min-replicas-below-need",
         ("minReplicas 1 is kept", "of the 2500 rps expected at quiet times")),
        (Pins(scale_target=500.0), "target-above-limit", ("a target of 500 is above the limit of 32",)),
        (Pins(scale_metric="rps", scale_target=5000.0), "target-above-capacity",
         ("a target of 5000 rps is more than the", "rps a replica holds within the SLO")),
        (Pins(scale_metric="cpu"), "target-of-other-metric", ("scaling on cpu is kept", "counts requests in flight")),
        (Pins(timeout_s=0.02), "timeout-below-slo", ("timeout 0.02 s ends requests before the SLO of 50ms does",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_works_against_the_slo_is_kept_and_warned_of_with_the_numbers(
    pins: Pins, code: str, says: tuple[str, ...]
) -> None:
    rates = {"max-replicas-below-need": (20, 3000), "min-replicas-below-need": (2500, 3000)}
    low_rps, high_rps = rates.get(code, (20, 400))
    (warning,) = planned(pins, low_rps=low_rps, high_rps=high_rps).warnings
    assert warning.code == code
    assert all(part in warning.text for part in says), warning.text
    assert warning.numbers or code == "concurrency-unlimited"


@pytest.mark.parametrize(
    "pins",
    [
        Pins(),
        Pins(container_concurrency=32),
        Pins(min_replicas=1, max_replicas=3),
        Pins(scale_target=4.0),
        Pins(scale_metric="rps", scale_target=50.0),
        Pins(scale_metric="rps"),
        Pins(scale_metric="cpu", scale_target=70.0),
        Pins(scale_metric="cpu", autoscaling={"target": "70"}),
        Pins(timeout_s=60.0),
        Pins(container_concurrency=0, scale_target=500.0),
    ],
)
def test_what_agrees_with_the_slo_is_not_warned_of(pins: Pins) -> None:
    codes = {warning.code for warning in planned(pins).warnings}
    assert codes == ({"concurrency-unlimited"} if pins.container_concurrency == 0 else set())


def test_an_autoscaler_set_to_requests_per_second_gets_a_target_in_requests_per_second() -> None:
    decided = planned(Pins(scale_metric="rps"))
    assert decided.scaling.target == pytest.approx(decided.capacity_rps, abs=0.01)


def test_more_quiet_replicas_than_the_annotation_allows_are_cut_with_a_warning() -> None:
    decided = planned(Pins(min_replicas=4), max_replicas=3)
    assert (decided.scaling.min_replicas, decided.scaling.max_replicas) == (3, 3)
    assert [warning.code for warning in decided.warnings] == ["min-replicas-above-max"]
