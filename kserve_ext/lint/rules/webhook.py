"""Rules about what KServe's webhooks refuse in any mode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kserve_ext.domain import Mode
from kserve_ext.errors import Problem
from kserve_ext.intent.autoscaling import read_autoscaling
from kserve_ext.intent.document import Node
from kserve_ext.intent.read import NAME_ALLOWED, NAME_PATTERN
from kserve_ext.lint.finding import Hit, Place, Severity, hit
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import items, number, whole
from kserve_ext.lint.project import Project
from kserve_ext.lint.service import AUTOSCALER_CLASS, FRAMEWORKS, Component, Service
from kserve_ext.lint.subjects import components, containers, project_itself, services

_VERSION = "serving.kserve.io/v1beta1"
_CLASSES = ("hpa", "keda", "external", "none")
_LOGGER_MODES = ("all", "request", "response")
_PARALLEL_ENV = ("TENSOR_PARALLEL_SIZE", "PIPELINE_PARALLEL_SIZE")
_CANARY_REFUSES = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec")
_DROPPED = ("min-scale", "max-scale", "minScale", "maxScale")


@make(
    "KX200", "old-api-version", Severity.ERROR, services,
    what="An InferenceService of another API version than serving.kserve.io/v1beta1.",
    leave="The API server does not know it: serving.kubeflow.org and v1alpha2 are gone.",
    remedy=f"write apiVersion: {_VERSION} and the fields of that version",
)  # fmt: skip
def old_api_version(service: Service) -> Iterator[Hit]:
    node = service.node.get("apiVersion")
    if node.value != _VERSION:
        yield hit(node, f"apiVersion {node.found()}; KServe serves {_VERSION}")


@make(
    "KX201", "service-name", Severity.ERROR, services,
    what="A name that KServe, or the DNS label that it makes of it, does not take.",
    leave="The webhook refuses it, or NAME-predictor cannot be made.",
    remedy=NAME_ALLOWED,
)  # fmt: skip
def service_name(service: Service) -> Iterator[Hit]:
    node = service.node.get("metadata", "name")
    generated = service.node.get("metadata", "generateName").value is not None
    if not generated and not (isinstance(node.value, str) and re.fullmatch(NAME_PATTERN, node.value)):
        yield hit(node, f"name {node.found()}; allowed: {NAME_ALLOWED}")


@make(
    "KX202", "pythonpath-refused", Severity.ERROR, containers,
    what="PYTHONPATH in a container's environment.",
    leave="KServe's webhook refuses the service since 0.18.",
    remedy="set it inside the image",
)  # fmt: skip
def pythonpath(container: Node) -> Iterator[Hit]:
    for variable in items(container.get("env")):
        if variable.get("name").value == "PYTHONPATH":
            yield hit(variable.get("name"), "PYTHONPATH is refused")


@make(
    "KX203", "replica-bounds", Severity.ERROR, components,
    what="A negative minReplicas or containerConcurrency, or a maxReplicas below minReplicas.",
    leave="The webhook refuses the service.",
    remedy="0 or more, and maxReplicas at least minReplicas; maxReplicas 0 means no limit in Knative mode",
)  # fmt: skip
def replica_bounds(component: Component) -> Iterator[Hit]:
    low, high = component.node.get("minReplicas"), component.node.get("maxReplicas")
    for node in (low, high, component.node.get("containerConcurrency")):
        if (whole(node) or 0) < 0:
            yield hit(node, f"{node.path.rpartition('.')[2]} {node.text} is below zero")
    if 0 < (whole(high) or 0) < (whole(low) or 0):
        yield hit(high, f"maxReplicas {high.text} is below minReplicas {low.text}")


@make(
    "KX204", "one-predictor", Severity.ERROR, services,
    what="A predictor with no server, or with several: exactly one of model, a framework key, or containers.",
    leave="The webhook refuses the service.",
    remedy="keep one; a second container beside a model may be a helper or transformer-container",
)  # fmt: skip
def one_predictor(service: Service) -> Iterator[Hit]:
    node = service.predictor.node
    if service.node.get("apiVersion").value != _VERSION:
        return  # the fields of another version are not these
    named = [key for key in FRAMEWORKS if node.get(key).value is not None]
    if len(named) > 1:
        yield hit(node.get(named[1]), f"several servers in one predictor: {', '.join(named)}")
    elif not named and not service.predictor.is_custom and node.get("workerSpec").value is None:
        yield hit(node, "no server in the predictor: no model, no framework, no containers")


@make(
    "KX205", "name-inside-a-model", Severity.ERROR, services,
    what="A container name inside predictor.model or a framework key.",
    leave="The webhook refuses it since 0.16: the container is always kserve-container.",
    remedy="remove name; the service is named in metadata",
)  # fmt: skip
def name_inside(service: Service) -> Iterator[Hit]:
    for key in FRAMEWORKS:
        node = service.predictor.node.get(key, "name")
        if node.value not in (None, "", "kserve-container"):
            yield hit(node, f"name {node.found()} inside {key} is refused")


@make(
    "KX206", "storage-uris", Severity.ERROR, components,
    what="storageUri beside storageUris, or a mount path that is relative or holds '..'.",
    leave="The webhook refuses the service.",
    remedy="use one of the two, with absolute paths",
)  # fmt: skip
def storage_uris(component: Component) -> Iterator[Hit]:
    several, one = component.node.get("storageUris"), component.container.get("storageUri")
    if several.value is not None and one.value is not None:
        yield hit(several, "storageUri and storageUris together are refused")
    for entry in items(several):
        path = entry.get("mountPath")
        if isinstance(path.value, str) and (not path.value.startswith("/") or ".." in path.value.split("/")):
            yield hit(path, f"mount path {path.found()}: absolute, without '..'")


@make(
    "KX207", "storage-of-a-transformer-container", Severity.ERROR, components,
    what="STORAGE_URI in the environment of a container named transformer-container.",
    leave="The webhook refuses the service: the model belongs to the predictor's container.",
    remedy="remove it",
)  # fmt: skip
def transformer_storage(component: Component) -> Iterator[Hit]:
    for container in component.containers:
        if container.get("name").value == "transformer-container":
            for variable in items(container.get("env")):
                if variable.get("name").value == "STORAGE_URI":
                    yield hit(variable.get("name"), "STORAGE_URI on transformer-container is refused")


@make(
    "KX208", "multi-node", Severity.ERROR, services,
    what="workerSpec with an autoscaler other than none, with storage other than pvc or oci, or with the parallel sizes "
    "in the environment.",
    leave="The webhook refuses the service.",
    remedy=f"annotate {AUTOSCALER_CLASS}: none, load from pvc:// or oci://, set tensorParallelSize and "
    "pipelineParallelSize in workerSpec",
)  # fmt: skip
def multi_node(service: Service) -> Iterator[Hit]:
    predictor = service.predictor
    if predictor.node.get("workerSpec").value is None:
        return
    chosen = service.annotations.get(AUTOSCALER_CLASS)
    if chosen.value not in (None, "none"):
        yield hit(chosen, f"autoscalerClass {chosen.found()} with workerSpec: only none is taken")
    uri = predictor.container.get("storageUri")
    if isinstance(uri.value, str) and not uri.value.startswith(("pvc://", "oci://")):
        yield hit(uri, f"{uri.found()} with workerSpec: only pvc:// and oci:// are taken")
    for variable in items(predictor.container.get("env")):
        if variable.get("name").value in _PARALLEL_ENV:
            yield hit(variable.get("name"), f"{variable.get('name').value} with workerSpec is refused")


@make(
    "KX209", "logger-mode", Severity.ERROR, components,
    what="A logger mode other than all, request or response.",
    leave="The webhook refuses the service.",
    remedy="one of all, request, response",
)  # fmt: skip
def logger_mode(component: Component) -> Iterator[Hit]:
    node = component.node.get("logger", "mode")
    if node.value is not None and node.value not in _LOGGER_MODES:
        yield hit(node, f"logger mode {node.found()}; allowed: {', '.join(_LOGGER_MODES)}")


@make(
    "KX210", "runtimes-of-equal-priority", Severity.ERROR, project_itself,
    what="Two runtimes of one scope with the same format, version, protocol and priority.",
    leave="The webhook refuses the second.",
    remedy="give them different priorities, or leave autoSelect off and name the runtime in each service",
)  # fmt: skip
def equal_priority(project: Project) -> Iterator[Hit]:
    seen: dict[tuple[object, ...], str] = {}
    for runtime in project.runtimes:
        spec = runtime.node.get("spec")
        if spec.get("disabled").value is True:
            continue
        scope = (runtime.node.get("kind").text, runtime.node.get("metadata", "namespace").text)
        protocols = [node.text for node in items(spec.get("protocolVersions"))] or [""]
        for form in items(spec.get("supportedModelFormats")):
            priority = form.get("priority")
            for protocol in protocols if priority.value is not None and form.get("autoSelect").value is True else ():
                key = (*scope, form.get("name").text, form.get("version").text, protocol, priority.text)
                first = seen.setdefault(key, runtime.name)
                if first != runtime.name:
                    what = f"format {form.get('name').value} {form.get('version').value or ''}".rstrip()
                    yield hit(priority, f"{what} has priority {priority.value} in {first} too")


@make(
    "KX211", "autoscaler-class-unknown", Severity.ERROR, services,
    what=f"An {AUTOSCALER_CLASS} that KServe does not know; kpa is one of them.",
    leave="The webhook refuses the service.",
    remedy="hpa, keda, external or none; in Knative mode leave the annotation out",
)  # fmt: skip
def autoscaler_class(service: Service) -> Iterator[Hit]:
    node = service.annotations.get(AUTOSCALER_CLASS)
    if node.value is not None and node.value not in _CLASSES:
        yield hit(node, f"autoscalerClass {node.found()}; allowed: {', '.join(_CLASSES)}")


@make(
    "KX212", "canary-fields", Severity.ERROR, services,
    what="spec.canary with fields or weights that the webhook refuses: scaling fields in a canary, no unique predictor "
    "name, weights above 100, no deploymentMode annotation.",
    leave="The webhook refuses the service.",
    remedy="name each canary's predictor, keep the weights within 100, set scaling on the main predictor",
)  # fmt: skip
def canary_fields(service: Service) -> Iterator[Hit]:
    canaries = items(service.node.get("spec", "canary"))
    total, names = 0.0, [service.predictor.node.get("name").value]
    for canary in canaries:
        predictor = canary.get("predictor")
        for field in _CANARY_REFUSES:
            if predictor.get(field).value is not None:
                yield hit(predictor.get(field), f"{field} in a canary is refused")
        name = predictor.get("name")
        if name.value in (None, *names):
            yield hit(name, "each canary needs a predictor.name of its own")
        names.append(name.value)
        total += number(canary.get("trafficPercent")) or 0
    if total > 100:
        yield hit(canaries[-1], f"the canaries' weights add up to {total:g} %, above 100")
    if canaries and service.stated_mode.value is None:
        yield hit(service.stated_mode, "spec.canary needs the annotation deploymentMode: Standard")


@make(
    "KX213", "autoscaling-annotation-refused", Severity.ERROR, services,
    what="An autoscaling.knative.dev/ annotation with a value that Knative's webhook does not take.",
    leave="KServe accepts the service, Knative refuses the revision, and the service never becomes ready.",
    remedy="the message says what is allowed; values are text, in quotes",
)  # fmt: skip
def autoscaling_annotation(service: Service) -> Iterator[Hit]:
    if service.mode is Mode.STANDARD:
        return
    problems: list[Problem] = []
    read_autoscaling(service.node, problems)
    for problem in problems:
        if not any(name in problem.field for name in _DROPPED):
            place = Place(file=problem.file, line=problem.line or 1, field=problem.field)
            allowed = f"; allowed: {problem.allowed}" if problem.allowed else ""
            yield Hit(place=place, message=f"{problem.what}: found {problem.found}{allowed}")


RULES = (
    old_api_version, service_name, pythonpath, replica_bounds, one_predictor, name_inside, storage_uris,
    transformer_storage, multi_node, logger_mode, equal_priority, autoscaler_class, canary_fields, autoscaling_annotation,
)  # fmt: skip
