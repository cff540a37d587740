"""Knative's pod autoscaler for one service: windows, panic, burst capacity, utilization, each for a reason.

Knative's defaults are made for many small pods; with few replicas that hold tens of requests each they start a second
pod for one request, panic just above 100 % of the target and keep the activator in the path by accident.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from kserve_ext.domain import Intent, Pins, Reason, Scaling
from kserve_ext.units import format_duration, parse_duration_s

PLANNED_METRICS = ("concurrency", "rps")  # a target for any other metric is the user's

_DEFAULT_WINDOW_S = 60.0  # stable-window, Knative config-autoscaler; allowed 6 s to 1 h
_MAX_WINDOW_S = 3600.0
_PANIC_WINDOW_PERCENT = 10.0  # panic-window-percentage, Knative's default
_GRACE_S = 30.0  # scale-to-zero-grace-period, Knative config-autoscaler: a retention below it does nothing
_ONE_REPLICA_AVAILABILITY = 0.999  # above it, a service that wakes up does not wait for a single pod
_DIRECT_RPS = 2000.0  # above it the activator, a proxy of its own, would cost more than its balancing saves


def scaling(
    intent: Intent, *, target: float, needed: int, min_replicas: int, max_replicas: int, start_s: float
) -> tuple[Scaling, tuple[Reason, ...]]:
    """The autoscaler's settings and the reason for each. Annotations that the user pinned are kept."""
    pinned = intent.pins.autoscaling
    decided = {
        "window_s": _window(start_s),
        "panic_window_percent": _panic_window(),
        "panic_threshold_percent": _panic_threshold(max(1, min_replicas)),
        "target_utilization_percent": _utilization(target),
        "target_burst_capacity": _burst_capacity(intent, max_replicas),
        "scale_down_delay_s": _scale_down_delay(start_s),
        "initial_scale": _initial_scale(needed, min_replicas),
        "activation_scale": _activation_scale(intent, min_replicas, max_replicas),
    }
    decided |= _set_by_user(pinned)
    if "scale_to_zero_retention_s" not in decided:
        idle_s = decided["window_s"][0] + decided["scale_down_delay_s"][0]
        decided["scale_to_zero_retention_s"] = _retention(intent, min_replicas, start_s, idle_s)
    values = {name: value for name, (value, _, _) in decided.items()}
    reasons = [
        Reason(field=f"scaling.{name}", code=code, text=text, numbers={name: value})
        for name, (value, code, text) in decided.items()
    ]
    metric = scaling_metric(intent.pins)
    reasons.append(_metric(metric, "metric" in pinned or intent.pins.scale_metric is not None))
    return (
        Scaling(
            min_replicas=min_replicas,
            max_replicas=max_replicas,
            metric=metric,
            target=target,
            target_utilization_percent=values["target_utilization_percent"],
            panic_threshold_percent=values["panic_threshold_percent"],
            panic_window_percent=values["panic_window_percent"],
            target_burst_capacity=int(values["target_burst_capacity"]),
            window_s=values["window_s"],
            scale_down_delay_s=values["scale_down_delay_s"],
            initial_scale=int(values["initial_scale"]),
            activation_scale=int(values["activation_scale"]),
            scale_to_zero_retention_s=values["scale_to_zero_retention_s"],
        ),
        tuple(reasons),
    )


ANNOTATIONS: Mapping[str, str] = {  # field of Scaling -> annotation under autoscaling.knative.dev/
    "window_s": "window",
    "panic_window_percent": "panic-window-percentage",
    "panic_threshold_percent": "panic-threshold-percentage",
    "target_utilization_percent": "target-utilization-percentage",
    "target_burst_capacity": "target-burst-capacity",
    "scale_down_delay_s": "scale-down-delay",
    "initial_scale": "initial-scale",
    "activation_scale": "activation-scale",
    "scale_to_zero_retention_s": "scale-to-zero-pod-retention-period",
}


def _set_by_user(pinned: Mapping[str, str]) -> dict[str, tuple[float, str, str]]:
    return {
        field: (parse_annotation(pinned[name]), "set-by-user", f"{pinned[name]} set in the manifest")
        for field, name in ANNOTATIONS.items()
        if name in pinned
    }


def scaling_metric(pins: Pins) -> str:
    """What the autoscaler looks at: what the user set, or requests in flight."""
    return pins.autoscaling.get("metric") or pins.scale_metric or "concurrency"


def _window(start_s: float) -> tuple[float, str, str]:
    twice = min(_MAX_WINDOW_S, float(math.ceil(2 * start_s)))
    if twice <= _DEFAULT_WINDOW_S:
        text = f"Knative's default; longer than twice the {format_duration(start_s)} a replica takes to start"
        return _DEFAULT_WINDOW_S, "window-default", text
    text = f"twice the {format_duration(start_s)} a replica takes to start, so that one decision is in effect before the next"
    return twice, "window-two-starts", text


def _panic_window() -> tuple[float, str, str]:
    return _PANIC_WINDOW_PERCENT, "panic-window-default", "Knative's default: a tenth of the window"


def _panic_threshold(replicas: int) -> tuple[float, str, str]:
    # Knative rounds desired pods up before it takes the ratio: with r pods a threshold T fires at
    # ceil(load / target) >= T/100 x r. 2r + 1 desired pods, i.e. load above 2 x r x target, needs T in (200, 200 + 100/r].
    threshold = float(math.ceil(200 + 50 / replicas))
    text = (
        f"Knative rounds up before it compares, so 200 % fires just above {2 * replicas - 1}/{replicas} of the target with "
        f"{replicas} replica{'s' if replicas > 1 else ''}; {threshold:.0f} % fires at twice the target, as meant"
    )
    return threshold, "panic-at-true-double", text


def _utilization(target: float) -> tuple[float, str, str]:
    text = f"the target of {target:.4g} is already what one replica carries within the SLO; 70 % of it would leave replicas idle"
    return 100.0, "utilization-target-is-capacity", text


def _burst_capacity(intent: Intent, max_replicas: int) -> tuple[float, str, str]:
    if max_replicas == 1:
        return 0.0, "burst-one-replica", "one replica: nothing to balance, so the activator is in the path only at zero"
    if intent.rate.high_rps > _DIRECT_RPS:
        text = (
            f"{intent.rate.high_rps:.4g} rps are better sent straight to the replicas; the activator helps only at zero"
        )
        return 0.0, "burst-direct", text
    text = (
        "always through the activator: it knows which replica has a free place; Knative's 211 would switch it in and out "
        "with the number of ready pods"
    )
    return -1.0, "burst-activator-balances", text


def _scale_down_delay(start_s: float) -> tuple[float, str, str]:
    delay_s = min(_MAX_WINDOW_S, float(math.ceil(start_s)))
    text = f"a replica let go costs {format_duration(start_s)} to get back: it is kept idle for as long as that (break-even)"
    return delay_s, "scale-down-break-even", text


def _initial_scale(needed: int, min_replicas: int) -> tuple[float, str, str]:
    chosen = max(1, min(needed, min_replicas))
    text = f"a new revision takes traffic once {chosen} replica{'s are' if chosen > 1 else ' is'} ready"
    return float(chosen), "initial-scale-quiet-rate", text


def _activation_scale(intent: Intent, min_replicas: int, max_replicas: int) -> tuple[float, str, str]:
    if min_replicas > 0:
        return 1.0, "activation-never-at-zero", "never at zero, so there is nothing to wake"
    if intent.slo.availability > _ONE_REPLICA_AVAILABILITY and max_replicas > 1:
        text = f"two at once: {intent.slo.availability:.4%} leaves no room for one pod that fails to start"
        return 2.0, "activation-two", text
    text = f"one replica carries the {intent.rate.low_rps:.3g} rps that wake it; Knative takes no lower number"
    return 1.0, "activation-one", text


def _retention(intent: Intent, min_replicas: int, start_s: float, idle_s: float) -> tuple[float, str, str]:
    """Beyond the window, the delay and the grace that Knative waits anyway, until a start costs as much as keeping it."""
    if min_replicas > 0:
        return 0.0, "retention-never-at-zero", "never at zero, so there is no last replica to keep"
    kept_s = idle_s + _GRACE_S
    if start_s <= kept_s:
        cold = math.exp(-intent.rate.low_rps * kept_s)
        text = (
            f"window, delay and grace keep the last replica idle for {format_duration(kept_s)} as it is, longer than the "
            f"{format_duration(start_s)} to start one (break-even); of requests at {intent.rate.low_rps:.3g} rps "
            f"{cold:.0%} then meet a cold start"
        )
        return 0.0, "retention-kept-long-enough", text
    chosen = min(_MAX_WINDOW_S, float(math.ceil(start_s - idle_s)))
    text = f"a start takes {format_duration(start_s)}: the last replica is kept idle for as long as that (break-even)"
    return chosen, "retention-break-even", text


def _metric(metric: str, by_user: bool) -> Reason:
    text = (
        f"{metric} set in the manifest" if by_user else "requests in flight show a slow replica as well as a busy one"
    )
    return Reason(field="scaling.metric", code="set-by-user" if by_user else "metric-concurrency", text=text)


def parse_annotation(text: str) -> float:
    """The number in a Knative autoscaling annotation: `90s` and `1m30s` as seconds, anything else as it is."""
    try:
        return float(text)
    except ValueError:
        return parse_duration_s(text)
