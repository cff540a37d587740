"""How many replicas the HorizontalPodAutoscaler recommends for one metric: pods and usage in, a count out.

Follows replica_calculator.go of Kubernetes: the ratio of usage to target times the pods it was measured on, nothing
within the tolerance, and pods without a usable sample filled in so that they never speed the change up. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TOLERANCE = 0.1  # horizontal-pod-autoscaler-tolerance
_MILLI = 1000  # Kubernetes counts in thousandths


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The pods of a workload by what is known of their usage."""

    current: int  # asked for, whatever their state
    measured: int  # ready, with a usable sample
    unready: int = 0  # not ready, or their sample is still that of the start
    missing: int = 0  # running, without any sample


def for_utilization(pods: Pods, usage: float, target_percent: float, tolerance: float = TOLERANCE) -> int | None:
    """Replicas for a target in percent of the request; None without any sample: the scale stays as it is.

    `usage` is the sum over the measured pods of the share of its request each uses: 10 pods at 80 % use 8.
    """
    if pods.measured <= 0:
        return None
    ratio = _ratio(usage, pods.measured, target_percent)
    slowed = pods.unready > 0 and ratio > 1.0  # pods that start count as idle when more are asked for
    if not slowed and not pods.missing:
        return pods.current if is_within(ratio, tolerance) else math.ceil(ratio * pods.measured)
    counted = pods.measured + (pods.unready if slowed else 0) + (pods.missing if ratio != 1.0 else 0)
    if ratio < 1.0:
        usage += pods.missing * max(1.0, target_percent / 100)
    again = _ratio(usage, counted, target_percent)
    wanted = math.ceil(again * counted)
    turned = (again - 1.0) * (ratio - 1.0) < 0.0 or (wanted - pods.current) * (again - 1.0) < 0.0
    return pods.current if turned or is_within(again, tolerance) else wanted


def for_average(current: int, total: float, target: float, tolerance: float = TOLERANCE) -> int:
    """Replicas for a total shared by all pods, starting ones included, and a target per pod (AverageValue)."""
    total, target = round(total * _MILLI), round(target * _MILLI)
    return current if is_within(total / (target * current), tolerance) else math.ceil(total / target)


def is_within(ratio: float, tolerance: float) -> bool:
    """Whether the usage is close enough to its target to change nothing; 10 % above still is."""
    return 1.0 - tolerance <= ratio <= 1.0 + tolerance


def _ratio(usage: float, pods: int, target_percent: float) -> float:
    """Utilisation over target; Kubernetes cuts the utilisation to a whole percent."""
    return round(usage * _MILLI) * 100 // (pods * _MILLI) / target_percent
