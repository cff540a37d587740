"""What is kept of each watched object: no more than decisions need, so that memory stays small. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from kserve_ext.cluster.objects import dig, entries
from kserve_ext.operator.floors import PREFIX, SERVICE_LABEL
from kserve_ext.operator.learned import read_learned
from kserve_ext.operator.models import LABEL, read_model

Object = Mapping[str, Any]

SERVICE = ("serving.kserve.io/v1beta1", "InferenceService")
_LONGEST_START_S = 1800.0  # later it has become ready again, and not for the first time


def kept_service(found: Object) -> Object:
    """An InferenceService without what only managed fields weigh."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    status = {"components": {"predictor": dig(found, "status", "components", "predictor") or {}}}
    return {"apiVersion": SERVICE[0], "kind": SERVICE[1], "metadata": metadata, "spec": found.get("spec") or {},
            "status": status}  # fmt: skip


def kept_pod(found: Object) -> Object:
    metadata, status = found["metadata"], found.get("status") or {}
    running = status.get("phase") == "Running" and not metadata.get("deletionTimestamp")
    return {
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
        "service": (metadata.get("labels") or {}).get(SERVICE_LABEL, ""),
        "address": str(status.get("podIP") or "") if running else "",
        "start_s": start_s(found) if running else None,
    }


def kept_learned(found: Object) -> dict[str, Any]:
    metadata = found["metadata"]
    return {"metadata": {"namespace": metadata["namespace"], "name": metadata["name"]}, "learned": read_learned(found)}


def kept_model(found: Object) -> dict[str, Any]:
    metadata = found["metadata"]
    return {"metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
            "label": metadata["labels"][LABEL], "model": read_model(found)}  # fmt: skip


def kept_revision(found: Object) -> Object:
    """What is needed of a Revision."""
    metadata = found["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key.startswith(PREFIX)}
    return {
        "metadata": {"namespace": metadata.get("namespace", ""), "name": metadata["name"], "annotations": annotations,
                     "labels": {SERVICE_LABEL: (metadata.get("labels") or {}).get(SERVICE_LABEL, "")}},
        "status": {"conditions": entries(found, "status", "conditions")},
    }  # fmt: skip


def kept_autoscaler(found: Object) -> Object:
    """What is needed of a PodAutoscaler."""
    metadata, status = found["metadata"], found.get("status") or {}
    return {
        "metadata": {"namespace": metadata.get("namespace", ""), "name": metadata["name"]},
        "status": {key: status[key] for key in ("actualScale", "desiredScale") if key in status},
    }


def start_s(pod: Object) -> float | None:
    """Seconds from when a pod was made until it was ready; None where it is not, or was ready before and is again."""
    restarts = sum(int(one.get("restartCount") or 0) for one in entries(pod, "status", "containerStatuses"))
    for one in entries(pod, "status", "conditions"):
        if one.get("type") == "Ready" and one.get("status") == "True" and not restarts:
            made, ready = str(pod["metadata"].get("creationTimestamp")), str(one.get("lastTransitionTime"))
            took_s = (_moment(ready) - _moment(made)).total_seconds()
            return took_s if 0 <= took_s <= _LONGEST_START_S else None
    return None


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def kept_node(found: Object) -> Object:
    """Of a node: labels, what pods may ask of it, taints."""
    status = found.get("status") or {}
    return {
        "metadata": {"name": found["metadata"]["name"], "labels": found["metadata"].get("labels") or {}},
        "spec": {"taints": (found.get("spec") or {}).get("taints") or []},
        "status": {"allocatable": status.get("allocatable") or {}},
    }
