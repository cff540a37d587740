"""What Kubernetes, Knative and KServe say of a service that is not ready, as one list of (where, reason, message). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kserve_ext.cluster.objects import Object, dig, entries
from kserve_ext.cluster.snapshot import Snapshot, container_states, event_time_s, is_true, serving_pods, time_s

EVENTS_KEPT_S = 300.0  # an older event tells of an earlier state
_NOT_SPOKEN = ("", "Deploying", "NoTraffic", "Queued", "Uninitialized", "RevisionMissing", "MinimumReplicasUnavailable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing that was said. `by` is what said it: pod, event, revision, service."""

    by: str
    where: str
    reason: str
    message: str


def signals(found: Snapshot) -> tuple[Signal, ...]:
    """All that speaks against readiness, what is nearest to the cause first; none twice."""
    pods = _pods_of_latest(found)
    said = [signal for pod in pods for signal in _of_pod(pod)]
    said += list(_of_events(found, pods))
    for revision in found.revisions:
        if dig(revision, "metadata", "name") == found.latest_revision:
            said += _of_conditions("revision", revision)
    said += (
        _of_conditions("knative", found.knative_service)
        if found.knative
        else _of_conditions("deployment", found.deployment)
    )
    said += list(_of_model_status(found.service))
    said += _of_conditions("service", found.service)
    return tuple(dict.fromkeys(said))


def _pods_of_latest(found: Snapshot) -> list[Object]:
    """The pods of what is being rolled out; those of the Revision before say nothing of it."""
    pods = serving_pods(found)
    if not found.knative or not found.latest_revision:
        return list(pods)
    return [
        pod for pod in pods if dig(pod, "metadata", "labels", "serving.knative.dev/revision") == found.latest_revision
    ]


def _of_pod(pod: Object) -> Iterator[Signal]:
    name = str(dig(pod, "metadata", "name"))
    for one in entries(pod, "status", "conditions"):
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            yield Signal(by="pod", where=name, reason=str(one.get("reason", "")), message=str(one.get("message", "")))
    if dig(pod, "status", "reason"):  # Evicted, NodeLost
        yield Signal(
            by="pod",
            where=name,
            reason=str(dig(pod, "status", "reason")),
            message=str(dig(pod, "status", "message") or ""),
        )
    for container, status in container_states(pod):
        yield from _of_container(f"container {container} of pod {name}", status)


def _of_container(where: str, status: Object) -> Iterator[Signal]:
    ended = dig(status, "state", "terminated") or dig(status, "lastState", "terminated")
    if ended and ended.get("exitCode"):
        text = f"exit code {ended['exitCode']} {ended.get('message', '')}".strip()
        yield Signal(by="container", where=where, reason=str(ended.get("reason", "Error")), message=text)
    waiting = dig(status, "state", "waiting")
    if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing", None):
        yield Signal(
            by="container", where=where, reason=str(waiting["reason"]), message=str(waiting.get("message", ""))
        )


def _of_events(found: Snapshot, pods: list[Object]) -> Iterator[Signal]:
    now_s = time_s(found.taken_at)
    by_name = {str(dig(pod, "metadata", "name")): pod for pod in pods}
    for event in reversed(found.events):
        kind, name = dig(event, "involvedObject", "kind"), str(dig(event, "involvedObject", "name"))
        old = now_s and now_s - event_time_s(event) > EVENTS_KEPT_S
        if event.get("type") != "Warning" or old:
            continue
        if kind == "Pod" and (name not in by_name or _is_over(str(event.get("reason")), by_name[name])):
            continue
        message = " ".join(str(event.get("message", "")).split())
        yield Signal(by="event", where=f"{kind} {name}", reason=str(event.get("reason", "")), message=message)


# What has been told of a pod is over once the pod has come this far.
_OVER_ONCE = {
    "FailedScheduling": "PodScheduled", "FailedMount": "PodReadyToStartContainers", "Failed": "Ready", "Unhealthy": "Ready",
}  # fmt: skip


def _is_over(reason: str, pod: Object) -> bool:
    return reason in _OVER_ONCE and is_true(pod, _OVER_ONCE[reason])


def _of_conditions(by: str, found: Object) -> list[Signal]:
    name = str(dig(found, "metadata", "name") or "")
    return [
        Signal(by=by, where=f"{by} {name}", reason=str(one.get("reason", "")), message=str(one.get("message", "")))
        for one in entries(found, "status", "conditions")
        if one.get("status") == "False"
        and one.get("type") != "Stopped"
        and one.get("message")
        and one.get("reason", "") not in _NOT_SPOKEN
    ]


def _of_model_status(service: Object) -> Iterator[Signal]:
    failure = dig(service, "status", "modelStatus", "lastFailureInfo")
    if failure and dig(service, "status", "modelStatus", "transitionStatus") in ("InvalidSpec", "BlockedByFailedLoad"):
        yield Signal(
            by="model",
            where="the model",
            reason=str(failure.get("reason", "")),
            message=str(failure.get("message", "")),
        )
