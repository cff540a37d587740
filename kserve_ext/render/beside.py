"""What stands beside a service: pods that keep room for its replicas, and a recommender of its resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kserve_ext.domain import Mode, Plan
from kserve_ext.render.autoscaler import CONTAINER, metadata, predictor_deployment
from kserve_ext.render.inferenceservice import served_container
from kserve_ext.render.runtime import security_context

PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
PLACEHOLDER_PRIORITY = (
    "kserve-ext-placeholder"  # manifests/base; -10: the least that a cluster autoscaler still orders for
)
_QUEUE_PROXY = {"requests": {"cpu": "25m"}}  # queue-sidecar-cpu-request of Knative's config-deployment
_PLACED_BY = ("nodeSelector", "affinity", "tolerations", "runtimeClassName", "schedulerName")


def render_recommender(plan: Plan, namespace: str | None) -> dict[str, Any]:
    """A VerticalPodAutoscaler that recommends for the model's container and changes nothing."""
    policies = [
        {"containerName": CONTAINER, "controlledResources": ["cpu", "memory"]},
        {"containerName": "*", "mode": "Off"},
    ]
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": metadata(f"{plan.service}-recommender", namespace),
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": predictor_deployment(plan)},
            "updatePolicy": {"updateMode": "Off"},
            "resourcePolicy": {"containerPolicies": policies},
        },
    }


def render_placeholders(
    plan: Plan, predictor: Mapping[str, Any], mode: Mode, namespace: str | None
) -> dict[str, Any]:  # fmt: skip
    """Pods that ask for what a replica asks for, where a replica may run, and give way the moment one needs their place."""
    name = f"{plan.service}-placeholder"
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "kserve-ext"}
    asked = {CONTAINER: served_container(predictor).get("resources", {})}
    if mode is Mode.KNATIVE:
        asked["queue-proxy"] = _QUEUE_PROXY
    spec = {
        "priorityClassName": PLACEHOLDER_PRIORITY,
        "terminationGracePeriodSeconds": 0,  # a replica waits for as long
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **{key: predictor[key] for key in _PLACED_BY if key in predictor},
        "containers": [_pause(each, resources) for each, resources in asked.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, namespace) | {"labels": dict(labels)},
        "spec": {
            "replicas": plan.placeholders or 0,
            "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _pause(name: str, resources: Mapping[str, Any]) -> dict[str, Any]:
    """A container that does nothing but ask for what one of a replica's asks for."""
    return {
        "name": name, "image": PAUSE_IMAGE, "resources": dict(resources), "securityContext": security_context(),
    }  # fmt: skip
