"""Objects as a cluster returns them, with the fields that decisions look at."""

from __future__ import annotations

from typing import Any

from kserve_ext.cluster.snapshot import Snapshot

AUTOSCALING = "autoscaling.knative.dev/"
NOW = "2026-11-30T12:00:00+00:00"


def service(*, ready: str = "True", mode: str = "Knative", message: str = "", **predictor: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "digits",
            "namespace": "models",
            "generation": 2,
            "uid": "u1",
            "annotations": {"serving.kserve.io/deploymentMode": mode},
        },
        "spec": {"predictor": predictor},
        "status": {
            "deploymentMode": mode,
            "url": "http://digits-models.example.com",
            "conditions": [
                {"type": "Ready", "status": ready, "reason": "" if ready == "True" else "NotReady", "message": message}
            ],
        },
    }


def knative_service(
    *,
    generation: int = 3,
    observed: int = 3,
    created: str = "digits-predictor-00002",
    ready: str = "digits-predictor-00002",
    route: str = "True",
    concurrency: int = 0,
    annotations: dict[str, str] | None = None,
    container: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits-predictor", "namespace": "models", "generation": generation, "uid": "k1"},
        "spec": {
            "template": {
                "metadata": {"annotations": annotations or {}},
                "spec": {
                    "containerConcurrency": concurrency,
                    "containers": [{"name": "kserve-container", **(container or {})}],
                },
            }
        },
        "status": {
            "observedGeneration": observed,
            "latestCreatedRevisionName": created,
            "latestReadyRevisionName": ready,
            "traffic": [{"revisionName": ready, "percent": 100, "latestRevision": True}],
            "conditions": [{"type": "Ready", "status": route}],
        },
    }


def deployment(*, replicas: int = 2, updated: int = 2, available: int = 2, total: int = 2) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits-predictor", "generation": 1, "uid": "d1"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "kserve-container"}]}}},
        "status": {
            "observedGeneration": 1,
            "updatedReplicas": updated,
            "availableReplicas": available,
            "replicas": total,
        },
    }


def pod(
    name: str = "digits-predictor-00002-deployment-x",
    *,
    ready: bool = True,
    revision: str = "digits-predictor-00002",
    **status: Any,
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}, *status.pop("conditions", [])]
    return {
        "metadata": {"name": name, "namespace": "models", "labels": {"serving.knative.dev/revision": revision}},
        "status": {"conditions": conditions, **status},
    }


def unschedulable(message: str) -> dict[str, Any]:
    return pod(
        ready=False,
        conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    )


def waiting(reason: str, message: str = "", *, init: str = "", ended: dict[str, Any] | None = None) -> dict[str, Any]:
    status = {"name": init or "kserve-container", "state": {"waiting": {"reason": reason, "message": message}}}
    if ended:
        status["lastState"] = {"terminated": ended}
    return pod(ready=False, **{"initContainerStatuses" if init else "containerStatuses": [status]})


def event(
    reason: str,
    message: str,
    *,
    kind: str = "ReplicaSet",
    name: str = "digits-predictor-00002-deployment-7d",
    at: str = NOW,
) -> dict[str, Any]:
    return {
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        "involvedObject": {"kind": kind, "name": name},
    }


def snapshot(**parts: Any) -> Snapshot:
    """A ready Knative-mode service, unless parts say otherwise."""
    whole: dict[str, Any] = {
        "service": service(),
        "knative_service": knative_service(),
        "deployment": {},
        "pods": (pod(),),
        "taken_at": NOW,
    }
    return Snapshot(**(whole | parts))
