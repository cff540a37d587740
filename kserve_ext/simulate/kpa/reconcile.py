"""What becomes of a decision: bounds, initial scale, the two steps to zero, and whether the activator is in the path.

Follows pkg/reconciler/autoscaling/kpa of Knative Serving 0.48 (`scaler.go`, `kpa.go`). Limits, the status so far, the
time and what is observed in; the next status and what to do out. Pure: the probe of the activator is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kserve_ext.simulate.kpa.decide import Decision
from kserve_ext.simulate.kpa.path import activator_count

UNKNOWN = -1  # a scale nobody has decided
_ACTIVATION_BUFFER_S = 30.0  # Knative's activationTimeoutBuffer
_REQUEUE_S = 3.0  # after the first step to zero, when nothing else would bring the revision back
_PROBE_S = 1.0  # the activator is asked again this often


class Activity(StrEnum):
    """The Active condition of a PodAutoscaler."""

    ACTIVE = "True"
    INACTIVE = "False"
    ACTIVATING = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the reconciler is set to, annotations and cluster defaults resolved."""

    min_scale: int = 0
    max_scale: int = 0  # 0: none
    initial_scale: int = 1
    reachable: bool = True  # False only for a revision known to have no route
    stable_window_s: float = 60
    retention_s: float = 0  # scale-to-zero-pod-retention-period
    grace_s: float = 30  # scale-to-zero-grace-period
    progress_deadline_s: float = 600
    scale_to_zero: bool = True
    total: float = 100.0
    target_burst_capacity: float = 211.0
    activator_capacity: float = 100.0

    @property
    def floor(self) -> int:
        """min-scale, which an unreachable revision does not have."""
        return self.min_scale if self.reachable else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The PodAutoscaler and its data path between two reconciliations."""

    activity: Activity = Activity.ACTIVATING
    activity_since_s: float = 0.0
    initialized: bool = False  # initial scale was once reached
    replicas: int = 1  # of the Deployment
    proxy: bool = True  # the mode asked for: all traffic through activators
    proxied_since_s: float | None = 0.0  # since when it does go through them; None: it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the reconciler does with a decision."""

    scale: int  # -1: unknown
    applied: bool  # the Deployment is set to it, if it differs
    requeue_s: float | None = None  # look again after this long, whatever happens


def reconcile(
    limits: Limits, status: Status, now_s: float, decision: Decision, ready: int, *, probe_ok: bool = True
) -> tuple[Status, Outcome]:
    """One pass over a revision. Call it when a decision is news, when ready pods change, and after `requeue_s`."""
    outcome = scale(limits, status, now_s, decision.desired, probe_ok=probe_ok)
    proxy = not (outcome.scale > 0 and decision.excess_burst_capacity >= 0)
    proxied_since_s = None
    if proxy or ready == 0:
        proxied_since_s = now_s if status.proxied_since_s is None else status.proxied_since_s
    activity, initialized = _activity(limits, status, outcome.scale, ready)
    return Status(
        activity=activity,
        activity_since_s=status.activity_since_s if activity is status.activity else now_s,
        initialized=initialized,
        replicas=outcome.scale if outcome.applied else status.replicas,
        proxy=proxy,
        proxied_since_s=proxied_since_s,
    ), outcome


def scale(limits: Limits, status: Status, now_s: float, desired: int, *, probe_ok: bool = True) -> Outcome:
    """The scale that stands after bounds and the rules for zero."""
    if desired < 0 and status.activity is not Activity.ACTIVATING:
        return Outcome(scale=desired, applied=False)
    low = limits.floor
    if limits.initial_scale > 1 and not status.initialized and limits.reachable:
        low = max(low, limits.initial_scale)
    bounded = low if desired < low else limits.max_scale if 0 < limits.max_scale < desired else desired
    if bounded != 0:
        return Outcome(scale=bounded, applied=True)
    if not limits.scale_to_zero:
        return Outcome(scale=1, applied=True)
    return _to_zero(limits, status, now_s, probe_ok)


def _to_zero(limits: Limits, status: Status, now_s: float, probe_ok: bool) -> Outcome:
    """Active: first wait out the stable window with one pod, then turn inactive. Inactive: first reach the activator."""
    spent_s = now_s - status.activity_since_s
    if status.activity is Activity.ACTIVATING:
        patience_s = limits.progress_deadline_s + _ACTIVATION_BUFFER_S
        if spent_s > patience_s:
            return Outcome(scale=0, applied=True)
        return Outcome(scale=UNKNOWN, applied=False, requeue_s=patience_s)
    if status.activity is Activity.ACTIVE:
        if spent_s >= limits.stable_window_s:
            return Outcome(scale=0, applied=False, requeue_s=_REQUEUE_S if status.proxy else None)
        return Outcome(scale=1, applied=True, requeue_s=limits.stable_window_s - spent_s)
    if limits.target_burst_capacity != -1 and not probe_ok:
        return Outcome(scale=0, applied=False, requeue_s=_PROBE_S)
    return _last_pod(limits, status, now_s, spent_s)


def _last_pod(limits: Limits, status: Status, now_s: float, inactive_s: float) -> Outcome:
    """The second step: the last pod goes after the grace period and the retention, or earlier if long proxied."""
    retention_s = limits.retention_s if limits.reachable else 0.0
    if inactive_s >= max(limits.grace_s, retention_s):
        return Outcome(scale=0, applied=True)
    if inactive_s < retention_s:
        return Outcome(scale=0, applied=False, requeue_s=retention_s - inactive_s)
    proxied_s = 0.0 if status.proxied_since_s is None else now_s - status.proxied_since_s
    left_s = limits.grace_s - proxied_s
    if left_s <= 0:
        return Outcome(scale=0, applied=True)
    return Outcome(scale=0, applied=False, requeue_s=left_s)


def _activity(limits: Limits, status: Status, wanted: int, ready: int) -> tuple[Activity, bool]:
    """The next Active condition, and whether the initial scale has been reached by now."""
    needed = max(limits.floor, 1 if status.initialized else limits.initial_scale)
    initialized = status.initialized or ready >= needed
    if wanted == 0 or needed == 0:
        return Activity.INACTIVE, initialized
    if wanted < 0 and status.activity is Activity.INACTIVE:
        return Activity.INACTIVE, initialized
    return (Activity.ACTIVE if ready >= needed else Activity.ACTIVATING), initialized


def activators(limits: Limits, ready: int) -> int:
    """Activators asked for this revision."""
    return activator_count(ready, limits.total, limits.target_burst_capacity, limits.activator_capacity)
