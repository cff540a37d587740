"""The HorizontalPodAutoscaler or KEDA ScaledObject of a plan in Standard mode; KServe's own is switched off for it."""

from __future__ import annotations

import math
from typing import Any

from kserve_ext.domain import HorizontalScaling, Plan, Scaler, Service
from kserve_ext.errors import ManifestError, Problem
from kserve_ext.render.predictor_runtime import is_custom
from kserve_ext.render.queries import query_of
from kserve_ext.render.runtime import LOAD_LIMIT_S
from kserve_ext.render.text import decimal

CONTAINER = "kserve-container"
# KEDA refuses a ScaledObject beside an HPA; a service that changes from one to the other has both until it is ready.
_GIVES_WAY = {"validations.keda.sh/hpa-ownership": "false"}
_FAILURES = 3  # queries in a row, one each 15 s, before KEDA falls back


def render_autoscaler(service: Service, plan: Plan, namespace: str | None) -> dict[str, Any] | None:
    """The object that scales the predictor's Deployment; None where KServe or Knative has its own. Raises ManifestError."""
    settings = plan.horizontal
    if settings is None or settings.scaler is Scaler.KNATIVE_HPA:
        return None
    named = metadata(f"{plan.service}-scaler", namespace)
    if settings.scaler is Scaler.HPA:
        return {
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": named | {"annotations": dict(_GIVES_WAY)}, "spec": _hpa(plan, settings),
        }  # fmt: skip
    return {
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": named,
        "spec": _scaled_object(service, plan, settings),
    }  # fmt: skip


def metadata(name: str, namespace: str | None) -> dict[str, Any]:
    """Name, and the namespace where one is written."""
    return {"name": name} | ({"namespace": namespace} if namespace else {})


def predictor_deployment(plan: Plan) -> str:
    """The Deployment that KServe makes of a predictor in Standard mode."""
    return f"{plan.service}-predictor"


def _hpa(plan: Plan, settings: HorizontalScaling) -> dict[str, Any]:
    """On the CPU of the model's container alone: sidecars ask for CPU of their own."""
    target = {"type": "Utilization", "averageUtilization": round(settings.target)}
    metric = {"name": "cpu", "container": CONTAINER, "target": target}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": predictor_deployment(plan)},
        "minReplicas": max(1, plan.scaling.min_replicas),
        "maxReplicas": plan.scaling.max_replicas,
        "metrics": [{"type": "ContainerResource", "containerResource": metric}],
        "behavior": _behavior(settings),
    }


def _scaled_object(service: Service, plan: Plan, settings: HorizontalScaling) -> dict[str, Any]:
    """Polling and cooldown are of zero replicas alone: above, Kubernetes asks every 15 s, and KEDA warns of them."""
    to_zero = {}
    if plan.scaling.min_replicas == 0:
        to_zero = {
            "pollingInterval": math.ceil(settings.polling_s),
            "cooldownPeriod": math.ceil(settings.cooldown_s),
            "initialCooldownPeriod": LOAD_LIMIT_S,  # KServe calls no service ready that never had a replica
        }
    return {
        "scaleTargetRef": {"name": predictor_deployment(plan)},
        "minReplicaCount": plan.scaling.min_replicas,
        "maxReplicaCount": plan.scaling.max_replicas,
        **to_zero,
        "fallback": {
            "failureThreshold": _FAILURES,
            "replicas": settings.fallback_replicas,
            "behavior": "currentReplicasIfHigher",
        },
        # KEDA's own name for its HPA is longer than a label of a long service's name may be.
        "advanced": {
            "horizontalPodAutoscalerConfig": {"name": f"{plan.service}-keda", "behavior": _behavior(settings)}
        },
        "triggers": [_trigger(service, plan, settings)],
    }


def _trigger(service: Service, plan: Plan, settings: HorizontalScaling) -> dict[str, Any]:
    if service.intent.prometheus is None:  # reading the annotations asks for it
        raise ManifestError(
            Problem(file=service.source, field="kserve-ext.dev/prometheus", what="missing: KEDA has nobody to ask")
        )
    query = query_of(plan, settings, namespace=plan.namespace, custom=is_custom(service.manifest))
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": service.intent.prometheus,
            "query": query,
            "threshold": decimal(settings.target),
            "activationThreshold": "0",
            "ignoreNullValues": "false",  # no series is no answer: fall back, do not scale down
        },
    }


def _behavior(settings: HorizontalScaling) -> dict[str, Any]:
    up = {"type": "Pods", "value": settings.up_replicas, "periodSeconds": math.ceil(settings.up_period_s)}
    return {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [up]},
        "scaleDown": {"stabilizationWindowSeconds": math.ceil(settings.down_stabilization_s)},
    }
