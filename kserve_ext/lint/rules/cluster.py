"""Rules that need to know a cluster (--cluster-facts): runtimes, nodes, quotas."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_ext.lint.finding import Hit, Severity, hit
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import quantity, whole
from kserve_ext.lint.project import Project
from kserve_ext.lint.service import Component, Service
from kserve_ext.lint.subjects import components, project_itself, services


@make(
    "KX801", "runtime-not-in-cluster", Severity.ERROR, services,
    what="A runtime that neither the cluster nor the files have, or that is disabled.",
    leave="KServe accepts the service and does not look: it waits for ever, with the reason in its status only.",
    remedy="apply the runtime, or name one that is there",
)  # fmt: skip
def runtime_missing(service: Service) -> Iterator[Hit]:
    node, facts = service.predictor.container.get("runtime"), service.facts
    if facts is None or facts.runtimes is None or not isinstance(node.value, str) or service.runtime is not None:
        return
    visible = [one for one in facts.runtimes if one.namespace in ("", service.namespace)]
    named = [one for one in visible if one.name == node.value]
    if not named:
        known = ", ".join(sorted({one.name for one in visible})) or "none"
        yield hit(node, f"no runtime {node.value} for namespace {service.namespace}; there are {known}")
    elif all(one.disabled for one in named):
        yield hit(node, f"the runtime {node.value} is disabled")


@make(
    "KX802", "no-node-fits", Severity.ERROR, components,
    what="A replica that no node can hold: GPUs, CPU or memory above what any node offers, or a nodeSelector without a node.",
    leave="The pod stays Pending until a node is added that fits.",
    remedy="ask for what the nodes offer, or add such a node; MIG slices are named like nvidia.com/mig-1g.10gb",
)  # fmt: skip
def no_node(component: Component) -> Iterator[Hit]:
    facts = component.service.facts
    if facts is None or not facts.nodes:
        return
    selector = {key: str(node.value) for key, node in component.node.get("nodeSelector").items()}
    nodes = [one for one in facts.nodes if selector.items() <= one.labels.items()]
    if not nodes:
        labels = ", ".join(f"{key}={value}" for key, value in selector.items())
        yield hit(component.node.get("nodeSelector"), f"no node has the labels {labels}")
        return
    requests = component.container.get("resources", "requests")
    asked = {name: requests.get(name) for name in ("cpu", "memory")} | component.accelerators
    for name, node in asked.items():
        wanted, most = quantity(node), max(one.allocatable.get(name, 0.0) for one in nodes)
        if wanted is not None and wanted > most:
            yield hit(node, f"{name} {node.text}; the largest node offers {most:g}")


@make(
    "KX803", "quota-exceeded", Severity.ERROR, project_itself,
    what="Services whose least replicas ask for more than a ResourceQuota of their namespace leaves.",
    leave="Pods are refused: the service starts with fewer replicas than minReplicas, or none.",
    remedy="raise the quota, or lower minReplicas or the resources",
)  # fmt: skip
def quota_exceeded(project: Project) -> Iterator[Hit]:
    for quota in project.facts.quotas if project.facts else ():
        for name, hard in quota.hard.items():
            resource = name.removeprefix("requests.")
            left = hard - quota.used.get(name, 0.0)
            wanted = 0.0
            for service in project.services:
                if service.namespace != quota.namespace:
                    continue
                for component in service.components:
                    node = component.container.get("resources", "requests", resource)
                    node = node if node.value is not None else component.container.get("resources", "limits", resource)
                    wanted += _least(component) * (quantity(node) or 0.0)
                    if wanted > left and node.value is not None:
                        yield hit(
                            node, f"{name}: {wanted:g} asked for up to here, {left:g} left of {hard:g} in {quota.name}"
                        )
                        break


def _least(component: Component) -> int:
    low = whole(component.node.get("minReplicas"))
    return 1 if low is None else low


@make(
    "KX804", "rollout-beyond-the-gpus", Severity.WARNING, components,
    what="A GPU service whose rollout needs more GPUs, old and new replicas together, than the cluster has.",
    leave="A new revision starts all its replicas before the old ones end: it stays Pending, and the rollout hangs.",
    remedy="lower minReplicas and initial-scale for the rollout, use Standard mode with maxSurge 0, or add GPUs",
)  # fmt: skip
def rollout_beyond(component: Component) -> Iterator[Hit]:
    facts = component.service.facts
    if facts is None or not facts.nodes or component.node.get("deploymentStrategy").value is not None:
        return
    for name, node in component.accelerators.items():
        there = sum(one.allocatable.get(name, 0.0) for one in facts.nodes)
        needed = 2 * max(1, _least(component)) * (quantity(node) or 0.0)
        if there and needed > there:
            yield hit(node, f"a rollout needs {needed:g} {name}, the cluster has {there:g}")


RULES = (runtime_missing, no_node, quota_exceeded, rollout_beyond)
