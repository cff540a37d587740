"""Whether an InferenceService serves what its present spec asks for. Pure: the caller looks again, and tells the time.

"Ready" alone says nothing after a change: KServe's Ready stays True until it has looked, and the observedGeneration it
writes is that of the Knative Service or Deployment, not its own. So the object that KServe made is compared with what the
spec asks for, and its own generation with what its controller has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kserve_ext.cluster.causes import Cause, causes
from kserve_ext.cluster.objects import Object, dig, entries
from kserve_ext.cluster.snapshot import (
    PREDICTOR,
    Snapshot,
    condition,
    generation,
    is_true,
    observed,
    ready_pods,
    serving_pods,
)
from kserve_ext.units import parse_quantity

SETTLE_S = (
    2.0  # KServe takes over a change within 0.2 s; a change that leaves no trace in the child is believed after this
)
TAKEN_OVER_S = 60.0  # what has not been taken over by then is left out by KServe, or by a webhook, on purpose
_AUTOSCALING = "autoscaling.knative.dev/"


class Phase(StrEnum):
    """READY serves the present spec. STOPPED is asked not to serve. PROGRESSING may get there by itself. STUCK will not."""

    READY = "ready"
    STOPPED = "stopped"
    PROGRESSING = "progressing"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The decision, one line of where it stands, and what stands in the way."""

    phase: Phase
    step: str
    causes: tuple[Cause, ...] = ()

    @property
    def ready(self) -> bool:
        return self.phase is Phase.READY


def judge(found: Snapshot, *, since_s: float | None = None, child_before: tuple[str, int] | None = None) -> Readiness:
    """Where the service stands. `since_s` is the time since it was changed, `child_before` uid and generation of the
    child then: without either the change is taken to be an old one.
    """
    service, child = found.service, found.child
    if dig(service, "metadata", "deletionTimestamp"):
        return _not_yet(found, "it is being deleted")
    if is_true(service, "Stopped"):
        return Readiness(phase=Phase.STOPPED, step="stopped by the annotation serving.kserve.io/stop")
    kind = "Knative Service" if found.knative else "Deployment"
    if not child:
        return _not_yet(found, f"KServe has not made its {kind} yet")
    behind = tuple(_not_taken_over(found))
    if behind and (since_s is None or since_s < TAKEN_OVER_S):
        return _not_yet(found, f"KServe has not taken over {behind[0]} yet")
    untouched = child_before is not None and child_before == identity(child)
    if untouched and since_s is not None and since_s < SETTLE_S:
        return _not_yet(found, "KServe has not looked at the change yet")
    if not observed(child):
        return _not_yet(found, f"the {kind} has changed, its controller has not looked yet")
    rollout = _knative_rollout(found) if found.knative else _standard_rollout(child)
    if rollout:
        return _not_yet(found, rollout)
    if not is_true(service, "Ready"):
        waiting = next(
            (one for one in _conditions(service) if one.get("status") != "True"), condition(service, "Ready")
        )
        return _not_yet(found, f"{waiting.get('type', 'Ready')} is not true yet")
    return Readiness(phase=Phase.READY, step=_ready_words(found))


def identity(child: Object) -> tuple[str, int]:
    """What changes when the child is made anew or its spec is changed."""
    return str(dig(child, "metadata", "uid") or ""), generation(child)


def _not_yet(found: Snapshot, step: str) -> Readiness:
    """Progressing, or stuck where something says that waiting will not help."""
    why = causes(found)
    phase = Phase.STUCK if any(cause.final for cause in why) else Phase.PROGRESSING
    return Readiness(phase=phase, step=step, causes=why)


def _conditions(service: Object) -> list[Object]:
    """Conditions that must be true, Ready itself last."""
    found = [one for one in entries(service, "status", "conditions") if one.get("type") != "Stopped"]
    return sorted(found, key=lambda one: one.get("type") == "Ready")


def _knative_rollout(found: Snapshot) -> str:
    """What is missing until the latest Revision serves; empty when it does."""
    status = dig(found.knative_service, "status") or {}
    created, ready = status.get("latestCreatedRevisionName"), status.get("latestReadyRevisionName")
    if not created:
        return "Knative has not made a Revision yet"
    if created != ready:
        pods = [
            pod
            for pod in serving_pods(found)
            if dig(pod, "metadata", "labels", "serving.knative.dev/revision") == created
        ]
        return f"Revision {created} is not ready: {_pods_words(pods)}"
    targets = entries(status, "traffic")
    canary = dig(found.service, "spec", PREDICTOR, "canaryTrafficPercent")
    if (
        targets
        and canary is None
        and not any(one.get("revisionName") == created and one.get("percent") == 100 for one in targets)
    ):
        return f"traffic does not go to Revision {created} yet"
    return "" if is_true(found.knative_service, "Ready") else "Knative has not set up the route yet"


def _standard_rollout(deployment: Object) -> str:
    wanted = dig(deployment, "spec", "replicas")
    wanted = 1 if wanted is None else int(wanted)
    status = dig(deployment, "status") or {}
    updated, available, total = (
        int(status.get(key) or 0) for key in ("updatedReplicas", "availableReplicas", "replicas")
    )
    if updated < wanted:
        return f"{updated} of {wanted} replicas are of the new kind"
    if total > updated:
        return f"{total - updated} replicas of the old kind are still there"
    return f"{available} of {wanted} replicas are available" if available < wanted else ""


def _pods_words(pods: list[Object]) -> str:
    if not pods:
        return "it has no pod"
    ready = sum(is_true(pod, "Ready") for pod in pods)
    return f"{ready} of {len(pods)} pod{'s' if len(pods) > 1 else ''} ready"


def _ready_words(found: Snapshot) -> str:
    pods = len(ready_pods(found))
    replicas = f"{pods} replica{'s' if pods != 1 else ''} ready" if pods else "ready at zero replicas"
    return f"{replicas}, Revision {found.latest_revision}" if found.knative else replicas


def _not_taken_over(found: Snapshot) -> Iterator[str]:
    """Fields of the spec that the child does not carry yet."""
    asked = dig(found.service, "spec", PREDICTOR) or {}
    template = dig(found.child, "spec", "template") or {}
    spec, annotations = template.get("spec") or {}, dig(template, "metadata", "annotations") or {}
    if found.knative:
        for field, there in (("containerConcurrency", "containerConcurrency"), ("timeout", "timeoutSeconds")):
            if asked.get(field) is not None and spec.get(there) != asked[field]:
                yield f"spec.predictor.{field}"
        for field, name in (("minReplicas", "min-scale"), ("maxReplicas", "max-scale")):
            if asked.get(field) is not None and not _same_scale(
                asked[field], annotations.get(_AUTOSCALING + name), field
            ):
                yield f"spec.predictor.{field}"
        for key, value in (asked.get("annotations") or {}).items():
            if _is_copied(key, asked) and annotations.get(key) != value:
                yield f"spec.predictor.annotations[{key}]"
    yield from _container_behind(asked, spec)


# What KServe drops, may drop, or writes over with a field of its own.
_DROPPED = ("min-scale", "max-scale", "minScale", "maxScale", "initial-scale", "initialScale")
_WRITTEN_BY = {"target": "scaleTarget", "metric": "scaleMetric"}


def _is_copied(key: str, asked: Object) -> bool:
    """Whether KServe copies this annotation as it is."""
    name = key.removeprefix(_AUTOSCALING)
    return key != name and name not in _DROPPED and _WRITTEN_BY.get(name, "") not in asked


def _same_scale(asked: int, written: str | None, field: str) -> bool:
    if field == "maxReplicas" and asked == 0:  # 0 is no limit
        return written is None
    return written == str(asked)


def _container_behind(asked: Object, spec: Object) -> Iterator[str]:
    """Image, arguments, environment and resources of the serving container."""
    own = asked.get("model") or next(iter(entries(asked, "containers")), None) or {}
    there = next((one for one in entries(spec, "containers") if one.get("name") == "kserve-container"), None)
    if not own or there is None:
        return
    path = "spec.predictor.model" if asked.get("model") else "spec.predictor.containers[0]"
    if own.get("image") and not str(there.get("image", "")).startswith(str(own["image"]).partition("@")[0]):
        yield f"{path}.image"
    missing = [arg for arg in entries(own, "args") if arg not in entries(there, "args")]
    if missing:
        yield f"{path}.args"
    by_name = {one.get("name"): one.get("value") for one in entries(there, "env")}
    if any("value" in one and by_name.get(one.get("name")) != one["value"] for one in entries(own, "env")):
        yield f"{path}.env"
    for kind in ("requests", "limits"):
        for name, amount in (dig(own, "resources", kind) or {}).items():
            if not _same_amount(amount, dig(there, "resources", kind, name)):
                yield f"{path}.resources.{kind}.{name}"


def _same_amount(asked: Any, there: Any) -> bool:
    try:
        return there is not None and parse_quantity(str(asked)) == parse_quantity(str(there))
    except ValueError:
        return bool(asked == there)
