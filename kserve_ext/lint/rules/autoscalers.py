"""Rules about HorizontalPodAutoscalers and ScaledObjects beside the services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kserve_ext.domain import Mode
from kserve_ext.intent.document import Node
from kserve_ext.lint.finding import Hit, Severity, hit, replace_value
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import items, quantity
from kserve_ext.lint.project import Project
from kserve_ext.lint.rules.batching import queue_delay_s
from kserve_ext.lint.service import Service
from kserve_ext.units import format_duration

_QUEUE = re.compile(r"queue[a-z_]*(duration|time|us|compute)|time_queue|queue_(us|ms|s)\b", re.IGNORECASE)
_SUBTRACTED = re.compile(r"-\s*[0-9]")  # something is: the delay, as the remedy says
_REVISION = re.compile(r"(.+)-predictor-\d{5}-deployment")
_GONE = {"autoscaling/v2beta1": "1.25", "autoscaling/v2beta2": "1.26"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Autoscaler:
    """An HPA or ScaledObject, and the service whose pods it scales."""

    node: Node
    service: Service | None
    project: Project

    @property
    def target(self) -> Node:
        return self.node.get("spec", "scaleTargetRef", "name")


def _autoscalers(project: Project) -> Iterator[Autoscaler]:
    by_name = {f"{service.name}-predictor": service for service in project.services}
    for node in project.autoscalers:
        target = str(node.get("spec", "scaleTargetRef", "name").value)
        revision = _REVISION.fullmatch(target)
        name = f"{revision[1]}-predictor" if revision else target
        yield Autoscaler(node=node, service=by_name.get(name), project=project)


def _thresholds(node: Node) -> Iterator[tuple[str, Node]]:
    """What is measured, as text, and the node of the number that it is compared with."""
    for metric in items(node.get("spec", "metrics")):
        for kind in ("pods", "object", "external"):
            name = str(metric.get(kind, "metric", "name").value)
            for field in ("averageValue", "value"):
                yield name, metric.get(kind, "target", field)
    for trigger in items(node.get("spec", "triggers")):
        data = trigger.get("metadata")
        yield f"{data.get('query').value} {data.get('metricName').value}", data.get("threshold")


@make(
    "KX701", "queue-time-below-the-delay", Severity.ERROR, _autoscalers,
    what="An autoscaler on Triton's queue time whose threshold is at or below the queue delay in config.pbtxt.",
    leave="Every request waits the configured delay, so the threshold is always passed and the service scales to its maximum "
    "and stays there. NVIDIA's own chart scales at 50 µs.",
    remedy="subtract the configured delay from the metric, raise the threshold above it, or scale on requests in flight",
)  # fmt: skip
def queue_time(autoscaler: Autoscaler) -> Iterator[Hit]:
    configs = autoscaler.service.configs if autoscaler.service else autoscaler.project.configs
    delay_s = max(map(queue_delay_s, configs), default=0.0)
    for measured, node in _thresholds(autoscaler.node):
        value = quantity(node)
        if value is None or not delay_s or not _QUEUE.search(measured) or _SUBTRACTED.search(measured):
            continue
        threshold_s = value * (
            1e-3 if measured.endswith("_ms") else 1.0 if re.search(r"seconds|_s\b", measured) else 1e-6
        )
        if threshold_s <= delay_s:
            yield hit(node, f"scales above {format_duration(threshold_s)} of queue time, and the configured delay is "
                            f"{format_duration(delay_s)}")  # fmt: skip


@make(
    "KX702", "two-autoscalers", Severity.ERROR, _autoscalers,
    what="An HPA or ScaledObject on a predictor whose InferenceService has KServe's own autoscaler.",
    leave="Two autoscalers set the same replicas in turn; KEDA's webhook refuses the ScaledObject while KServe's HPA exists.",
    remedy="annotate the service with serving.kserve.io/autoscalerClass: external",
)  # fmt: skip
def two_autoscalers(autoscaler: Autoscaler) -> Iterator[Hit]:
    service = autoscaler.service
    if service is not None and service.mode is Mode.STANDARD and service.autoscaler_class in ("hpa", "keda"):
        yield hit(autoscaler.target, f"{service.name} has KServe's own autoscaler ({service.autoscaler_class}) as well")


@make(
    "KX703", "autoscaler-on-a-revision", Severity.ERROR, _autoscalers,
    what="An HPA or ScaledObject on the Deployment of a Knative revision, or on a service in Knative mode.",
    leave="Knative's autoscaler overwrites its replicas at the next reconcile, and the name goes with the revision.",
    remedy="use Knative's annotations, or Standard mode with autoscalerClass external",
)  # fmt: skip
def on_a_revision(autoscaler: Autoscaler) -> Iterator[Hit]:
    knative = autoscaler.service is not None and autoscaler.service.mode is Mode.KNATIVE
    if knative or _REVISION.fullmatch(str(autoscaler.target.value)):
        yield hit(autoscaler.target, f"{autoscaler.target.found()} is scaled by Knative")


@make(
    "KX704", "autoscaling-api-gone", Severity.ERROR, _autoscalers,
    what="A HorizontalPodAutoscaler of autoscaling/v2beta1 or v2beta2.",
    leave="Kubernetes has not served v2beta2 since 1.26 and v2beta1 since 1.25: it cannot be applied.",
    remedy="autoscaling/v2; from v2beta2 nothing else changes",
    fix="writes autoscaling/v2 for autoscaling/v2beta2",
)  # fmt: skip
def api_gone(autoscaler: Autoscaler) -> Iterator[Hit]:
    node = autoscaler.node.get("apiVersion")
    if node.value in _GONE:
        edits = replace_value(node, "autoscaling/v2") if node.value == "autoscaling/v2beta2" else ()
        yield hit(node, f"{node.value} is not served since Kubernetes {_GONE[str(node.value)]}", edits=edits)


@make(
    "KX705", "keda-to-zero", Severity.WARNING, _autoscalers,
    what="A ScaledObject that may scale a predictor to zero: minReplicaCount 0, which is also its default.",
    leave="Nothing holds the request that should wake it: it fails, and so does each one until a pod is ready.",
    remedy="minReplicaCount 1, or Knative mode",
)  # fmt: skip
def keda_to_zero(autoscaler: Autoscaler) -> Iterator[Hit]:
    node = autoscaler.node.get("spec", "minReplicaCount")
    predictor = autoscaler.service is not None or str(autoscaler.target.value).endswith("-predictor")
    if autoscaler.node.get("kind").value == "ScaledObject" and predictor and node.value in (None, 0):
        yield hit(node, "the predictor may be scaled to zero, and nothing holds the waking request")


RULES = (queue_time, two_autoscalers, on_a_revision, api_gone, keda_to_zero)
