"""How annotations and cluster defaults become the numbers the autoscaler works with. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.simulate.kpa.config import Metric
from kserve_ext.simulate.kpa.gofloat import nanoseconds

_SMALLEST_TARGET = 0.01  # Knative's TargetMin
_BUCKET_S = 1
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDefaults:
    """The keys of config-autoscaler that apply where a revision says nothing; fractions, not percent."""

    concurrency_target: float = 100.0  # container-concurrency-target-default
    concurrency_utilization: float = 0.7  # container-concurrency-target-percentage
    rps_target: float = 200.0  # requests-per-second-target-default
    rps_utilization: float = 0.7
    initial_scale: int = 1
    allow_zero_initial_scale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a pod shall carry, and what it can carry at most."""

    target: float
    total: float


def resolve_target(
    metric: Metric,
    container_concurrency: int,
    *,
    annotation: float | None = None,
    utilization_percent: float | None = None,
    defaults: ClusterDefaults,
) -> Target:
    """Target and total per pod. Utilisation applies to a target set by annotation too: 10 at 70 % aims at 7."""
    if metric is Metric.RPS:
        total, utilization = defaults.rps_target, defaults.rps_utilization
    else:
        total = float(container_concurrency) or defaults.concurrency_target
        utilization = defaults.concurrency_utilization
    if annotation is not None:
        total = annotation
        if metric is Metric.CONCURRENCY and container_concurrency:
            total = min(annotation, float(container_concurrency))
    if utilization_percent is not None:
        utilization = utilization_percent / 100
    return Target(target=max(_SMALLEST_TARGET, total * utilization), total=total)


def panic_window_s(stable_window_s: float, percent: float) -> int:
    """The panic window: a percentage of the stable one, to whole seconds with halves up, at least 1 s."""
    exact_ns = int(nanoseconds(stable_window_s) * percent / 100.0)
    return max(_BUCKET_S, (exact_ns + _NS_PER_S // 2) // _NS_PER_S)


def initial_scale(annotation: int | None, defaults: ClusterDefaults) -> int:
    """Pods a new revision starts with; an annotation of 0 counts only where the cluster allows it."""
    if annotation is None or (annotation == 0 and not defaults.allow_zero_initial_scale):
        return defaults.initial_scale
    return annotation
