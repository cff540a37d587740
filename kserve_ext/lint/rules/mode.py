"""Rules about the deployment mode: whether it is stated, and known."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_ext.intent.mode import MODE_ANNOTATION
from kserve_ext.lint.finding import Hit, Severity, hit
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.service import MODES, Component, Service
from kserve_ext.lint.subjects import services

# Fields of a component that one mode uses and the other ignores or refuses.
_DEPENDENT = (
    "containerConcurrency", "scaleTarget", "scaleMetric", "autoScaling", "canaryTrafficPercent", "deploymentStrategy",
    "terminationGracePeriodSeconds", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints",
    "priorityClassName", "runtimeClassName", "schedulerName", "timeout",
)  # fmt: skip
_NAMES = (*MODES, "ModelMesh")
_ALLOWED = ", ".join(_NAMES)


def _dependent(component: Component) -> Iterator[str]:
    yield from (name for name in _DEPENDENT if component.node.get(name).value is not None)
    if component.node.get("minReplicas").value == 0:
        yield "minReplicas: 0"
    yield from (f"autoscaling.knative.dev/{name}" for name in component.autoscaling)


@make(
    "KX101", "mode-not-stated", Severity.WARNING, services,
    what="A service that says in no annotation how KServe runs it, and sets fields that mean different things by mode.",
    leave="The cluster's default decides. KServe's code says Standard since 0.16, its shipped configmap says Knative, and "
    "what one mode obeys the other ignores or refuses. The mode cannot be changed once the service exists.",
    remedy=f"annotate the service with {MODE_ANNOTATION}: Knative or Standard",
)  # fmt: skip
def mode_not_stated(service: Service) -> Iterator[Hit]:
    if service.stated_mode.value is not None:
        return
    found = list(dict.fromkeys(name for component in service.components for name in _dependent(component)))
    if found:
        known = f"this cluster's default is {service.mode}" if service.mode else "the cluster's default decides"
        yield hit(service.stated_mode, f"no {MODE_ANNOTATION}, and {', '.join(found)} depend on it: {known}")


@make(
    "KX102", "mode-left-to-the-cluster", Severity.INFO, services,
    what="A service that says in no annotation how KServe runs it. Nothing in it depends on the mode.",
    leave="The same file becomes a Knative Service on one cluster, scaled to load, and a Deployment with a CPU-based HPA on "
    "another.",
    remedy=f"annotate the service with {MODE_ANNOTATION}: Knative or Standard",
)  # fmt: skip
def mode_left_to_the_cluster(service: Service) -> Iterator[Hit]:
    if service.stated_mode.value is None and not any(any(_dependent(one)) for one in service.components):
        yield hit(service.stated_mode, f"no {MODE_ANNOTATION}: the cluster's default decides")


@make(
    "KX103", "mode-unknown", Severity.ERROR, services,
    what="A deployment mode that KServe does not have.",
    leave="KServe refuses the service, or treats it as one of the default mode.",
    remedy=f"one of {_ALLOWED}",
)  # fmt: skip
def mode_unknown(service: Service) -> Iterator[Hit]:
    if service.stated_mode.value is not None and service.stated_mode.value not in _NAMES:
        yield hit(service.stated_mode, f"no such deployment mode: {service.stated_mode.found()}; allowed: {_ALLOWED}")


@make(
    "KX104", "mode-by-its-old-name", Severity.INFO, services,
    what="A deployment mode by the name it had before KServe 0.16: Serverless or RawDeployment.",
    leave="KServe rewrites it on admission, so what is applied and what is stored differ: GitOps tools show a difference "
    "for ever, and patches of the annotation were refused after the upgrade from 0.15 to 0.16.",
    remedy="write Knative for Serverless and Standard for RawDeployment where KServe is 0.16 or later",
)  # fmt: skip
def mode_by_its_old_name(service: Service) -> Iterator[Hit]:
    old = service.stated_mode.value
    if old in ("Serverless", "RawDeployment"):
        yield hit(service.stated_mode, f"{old} is the old name of {MODES[old]}", remedy=f"write {MODES[old]}")


RULES = (mode_not_stated, mode_left_to_the_cluster, mode_unknown, mode_by_its_old_name)
