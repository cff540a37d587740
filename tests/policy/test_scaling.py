from __future__ import annotations

import math

import pytest
from factories import intent
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.domain import Pins, Reason, Scaling
from kserve_ext.policy.scaling import ANNOTATIONS, parse_annotation, scaling, scaling_metric


def decided(
    *, needed: int = 4, low: int = 2, high: int = 5, start_s: float = 6.5, high_rps: float = 400.0,
    target: float = 8.0, pins: Pins | None = None, availability: float = 0.999,
) -> tuple[Scaling, dict[str, Reason]]:  # fmt: skip
    scaler, reasons = scaling(
        intent(high_rps=high_rps, pins=pins, availability=availability), target=target, needed=needed,
        min_replicas=low, max_replicas=high, start_s=start_s,
    )  # fmt: skip
    return scaler, {reason.field.removeprefix("scaling."): reason for reason in reasons}


def panics(load: float, target: float, replicas: int, threshold_percent: float) -> bool:
    """Knative's rule (autoscaler.go): the desired count is rounded up before the ratio is taken."""
    return math.ceil(load / target) / replicas * 100 >= threshold_percent


@given(st.integers(1, 100), st.floats(0.01, 1000), st.floats(0.01, 10))
def test_panic_starts_exactly_above_twice_the_target(replicas: int, target: float, multiple: float) -> None:
    scaler, _ = decided(low=replicas, high=replicas + 1, target=target)
    desired = math.ceil(multiple * replicas)  # replicas that the load of `multiple` times all targets takes
    assert panics(desired * target * (1 - 1e-9), target, replicas, scaler.panic_threshold_percent) == (
        desired > 2 * replicas
    )


@pytest.mark.parametrize(("replicas", "threshold"), [(0, 250), (1, 250), (2, 225), (3, 217), (10, 205), (100, 201)])
def test_the_panic_threshold_is_a_whole_number_just_above_two_hundred(replicas: int, threshold: int) -> None:
    scaler, reasons = decided(low=replicas)
    assert scaler.panic_threshold_percent == threshold
    assert f"{threshold} % fires at twice the target" in reasons["panic_threshold_percent"].text


def test_knatives_own_threshold_of_200_would_start_just_above_the_target_of_one_replica() -> None:
    assert panics(2.9, 2.8, 1, 200)
    assert not panics(2.9, 2.8, 1, 250)


@pytest.mark.parametrize(
    ("start_s", "window_s", "delay_s", "code"),
    [
        (1.2, 60, 2, "window-default"),
        (30, 60, 30, "window-default"),
        (30.1, 61, 31, "window-two-starts"),
        (95.5, 191, 96, "window-two-starts"),
        (4000, 3600, 3600, "window-two-starts"),
    ],
)
def test_the_window_covers_two_starts_and_a_replica_is_kept_for_one(
    start_s: float, window_s: float, delay_s: float, code: str
) -> None:
    scaler, reasons = decided(start_s=start_s)
    assert (scaler.window_s, scaler.scale_down_delay_s) == (window_s, delay_s)
    assert reasons["window_s"].code == code


@pytest.mark.parametrize(
    ("high_rps", "most", "capacity", "code"),
    [
        (400, 5, -1, "burst-activator-balances"),
        (2000, 5, -1, "burst-activator-balances"),
        (2001, 5, 0, "burst-direct"),
        (400, 1, 0, "burst-one-replica"),
    ],
)
def test_the_activator_is_in_the_path_where_it_has_something_to_balance(
    high_rps: float, most: int, capacity: int, code: str
) -> None:
    scaler, reasons = decided(high_rps=high_rps, high=most, low=1)
    assert (scaler.target_burst_capacity, reasons["target_burst_capacity"].code) == (capacity, code)


@pytest.mark.parametrize(("needed", "low", "initial"), [(4, 2, 2), (1, 3, 1), (4, 0, 1), (4, 4, 4)])
def test_a_new_revision_starts_with_the_quiet_replicas_but_at_least_one(needed: int, low: int, initial: int) -> None:
    assert decided(needed=needed, low=low, high=9)[0].initial_scale == initial


@pytest.mark.parametrize(
    ("low", "high", "availability", "woken", "code"),
    [
        (1, 5, 0.9999, 1, "activation-never-at-zero"),
        (0, 5, 0.999, 1, "activation-one"),
        (0, 5, 0.9999, 2, "activation-two"),
        (0, 1, 0.9999, 1, "activation-one"),
    ],
)
def test_a_request_wakes_two_replicas_only_where_one_that_fails_would_cost_the_availability(
    low: int, high: int, availability: float, woken: int, code: str
) -> None:
    scaler, reasons = decided(low=low, high=high, availability=availability)
    assert (scaler.activation_scale, reasons["activation_scale"].code) == (woken, code)


@pytest.mark.parametrize(
    ("low", "start_s", "pins", "kept_s", "code"),
    [
        (1, 500.0, None, 0, "retention-never-at-zero"),
        (0, 6.5, None, 0, "retention-kept-long-enough"),
        (0, 500.0, None, 0, "retention-kept-long-enough"),  # the window alone is two starts
        (0, 500.0, Pins(autoscaling={"window": "60s", "scale-down-delay": "0"}), 440, "retention-break-even"),
        (0, 80.0, Pins(autoscaling={"window": "60s", "scale-down-delay": "0"}), 0, "retention-kept-long-enough"),
    ],
)
def test_the_last_replica_is_kept_until_a_start_costs_as_much(
    low: int, start_s: float, pins: Pins | None, kept_s: float, code: str
) -> None:
    scaler, reasons = decided(low=low, start_s=start_s, pins=pins)
    assert (scaler.scale_to_zero_retention_s, reasons["scale_to_zero_retention_s"].code) == (kept_s, code)


def test_the_target_is_used_in_full() -> None:
    assert decided()[0].target_utilization_percent == 100


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [
        ("window_s", "90s", 90.0),
        ("window_s", "1m30s", 90.0),
        ("panic_window_percent", "20", 20.0),
        ("panic_threshold_percent", "150.5", 150.5),
        ("target_utilization_percent", "70", 70.0),
        ("target_burst_capacity", "211", 211),
        ("scale_down_delay_s", "0", 0.0),
        ("scale_down_delay_s", "15m", 900.0),
        ("initial_scale", "3", 3),
        ("activation_scale", "4", 4),
        ("scale_to_zero_retention_s", "10m", 600.0),
    ],
)
def test_an_annotation_that_a_person_set_is_kept_and_said(field: str, written: str, value: float) -> None:
    scaler, reasons = decided(pins=Pins(autoscaling={ANNOTATIONS[field]: written}))
    assert getattr(scaler, field) == value
    assert (reasons[field].code, reasons[field].text) == ("set-by-user", f"{written} set in the manifest")
    others = {name: reason.code for name, reason in reasons.items() if name != field}
    assert "set-by-user" not in others.values()


@pytest.mark.parametrize(
    ("pins", "metric", "code"),
    [
        (Pins(), "concurrency", "metric-concurrency"),
        (Pins(scale_metric="rps"), "rps", "set-by-user"),
        (Pins(scale_metric="concurrency"), "concurrency", "set-by-user"),
        (Pins(autoscaling={"metric": "rps"}, scale_metric="cpu"), "rps", "set-by-user"),
    ],
)
def test_requests_in_flight_are_looked_at_unless_a_person_says_otherwise(pins: Pins, metric: str, code: str) -> None:
    scaler, reasons = decided(pins=pins)
    assert (scaler.metric, scaling_metric(pins), reasons["metric"].code) == (metric, metric, code)


def test_an_annotation_is_read_as_a_number_or_as_seconds() -> None:
    assert [parse_annotation(text) for text in ("12", "12.5", "-1", "90s", "500ms")] == [12, 12.5, -1, 90, 0.5]
