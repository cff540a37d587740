"""Asks a cluster what would go wrong before anything is sent: the namespace, the kinds, the fields, the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kserve_ext.cluster.api import AbsentKindError, Cluster
from kserve_ext.cluster.collect import KNATIVE, RUNTIMES
from kserve_ext.cluster.features import schema_of, unknown_fields
from kserve_ext.cluster.objects import SERVICE, Object, Ref, dig, ref_of, services
from kserve_ext.errors import ClusterError, InputError, Problem, RejectedError
from kserve_ext.intent.objects import KIND

_MODE = "serving.kserve.io/deploymentMode"
_WITH_SCHEMA = (SERVICE, "ServingRuntime", "ClusterServingRuntime")  # the kinds that differ between releases of KServe


def check(cluster: Cluster, objects: Sequence[Object], namespace: str) -> None:
    """Raises InputError, RejectedError or ClusterError for what the cluster could not make work; sends nothing."""
    _check_namespace(cluster, objects, namespace)
    _check_kinds(cluster, objects)
    _check_fields(cluster, objects)
    for service in services(objects):
        _check_runtime(cluster, service, objects, namespace)


def _check_namespace(cluster: Cluster, objects: Sequence[Object], namespace: str) -> None:
    if any(found["kind"] == "Namespace" and found["metadata"]["name"] == namespace for found in objects):
        return
    try:
        found = cluster.get(Ref(api_version="v1", kind="Namespace", namespace="", name=namespace))
    except RejectedError:  # no right to look: the apply itself will tell
        return
    if found is None:
        names = ", ".join(str(dig(one, "metadata", "name")) for one in cluster.list("v1", "Namespace"))
        raise InputError(
            Problem(field="--namespace", what=f"no such namespace in {cluster.name}", found=namespace, allowed=names),
            remedy=f"kubectl create namespace {namespace}",
        )
    if dig(found, "status", "phase") == "Terminating":
        raise ClusterError(
            f"namespace {namespace} is being deleted and takes nothing new",
            remedy=f"wait until `kubectl get namespace {namespace}` says NotFound, then create it again",
        )


def _check_kinds(cluster: Cluster, objects: Sequence[Object]) -> None:
    for found in objects:
        if not cluster.has_kind(str(found["apiVersion"]), str(found["kind"])):
            cluster.list(str(found["apiVersion"]), str(found["kind"]))  # says what is missing, and what to do
    for service in services(objects):
        asked = dig(service, "metadata", "annotations", _MODE)
        if asked in ("Knative", "Serverless") and not cluster.has_kind(KNATIVE, "Service"):
            raise AbsentKindError(
                f"{ref_of(service)} asks for Knative mode, and {cluster.name} has no Knative Serving",
                remedy=f"install Knative Serving, or set the annotation {_MODE}: Standard",
            )


def _check_fields(cluster: Cluster, objects: Sequence[Object]) -> None:
    problems: list[Problem] = []
    documents: dict[str, Any] = {}
    for found in objects:
        ref = ref_of(found)
        if ref.kind not in _WITH_SCHEMA:
            continue
        if ref.api_version not in documents:
            try:
                documents[ref.api_version] = cluster.openapi(ref.api_version) or {}
            except RejectedError:  # not everyone may read schemas; the server checks in any case
                documents[ref.api_version] = {}
        schema = schema_of(documents[ref.api_version], ref)
        if schema is not None:
            problems += unknown_fields(found, schema, documents[ref.api_version])
    if problems:
        raise InputError(
            *problems, remedy="correct the name, leave the field out, or upgrade the cluster's KServe and its CRDs"
        )


def _check_runtime(cluster: Cluster, service: Object, objects: Sequence[Object], namespace: str) -> None:
    """KServe's webhook accepts a runtime that is not there; the service then never starts."""
    wanted = dig(service, "spec", "predictor", "model", "runtime")
    if not wanted or any(
        found["kind"].endswith("ServingRuntime") and found["metadata"]["name"] == wanted for found in objects
    ):
        return
    try:
        there = [
            *cluster.list(RUNTIMES, "ServingRuntime", namespace=namespace),
            *cluster.list(RUNTIMES, "ClusterServingRuntime"),
        ]
    except (RejectedError, AbsentKindError):
        return
    usable = {str(dig(one, "metadata", "name")) for one in there if dig(one, "spec", "disabled") is not True}
    if wanted not in usable:
        raise InputError(
            Problem(file=f"{KIND} {service['metadata']['name']}", field="spec.predictor.model.runtime",
                    what=f"no such runtime in namespace {namespace} of {cluster.name}", found=str(wanted),
                    allowed=", ".join(sorted(usable)) or "there is none yet"),
            remedy="kubectl apply -k manifests/base adds ours",
        )  # fmt: skip
