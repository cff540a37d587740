"""Kubernetes objects as plain dicts: what names one, and in which order several are applied. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_ext.errors import InputError, Problem
from kserve_ext.intent.document import read_documents

Object = Mapping[str, Any]

SERVICE = "InferenceService"
_NO_OBJECTS = ("Kustomization",)  # for kubectl, never sent
# What others refer to goes first: a service that names a runtime is reconciled once, with the runtime there. What scales
# a service or keeps room for it comes after it.
_ORDER = (
    "Namespace",
    "PriorityClass",
    "ResourceQuota",
    "ClusterServingRuntime",
    "ServingRuntime",
    "ConfigMap",
    SERVICE,
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "VerticalPodAutoscaler",
    "Deployment",
)
_CLUSTER_WIDE = ("Namespace", "PriorityClass", "ClusterServingRuntime", "Node", "CustomResourceDefinition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """The name of an object; the namespace of a cluster-wide one is empty."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def ref_of(found: Object, namespace: str = "default") -> Ref:
    """The name of an object; `namespace` is that of an object which says none."""
    metadata = found.get("metadata") or {}
    kind = str(found["kind"])
    inside = "" if kind in _CLUSTER_WIDE else str(metadata.get("namespace") or namespace)
    return Ref(api_version=str(found["apiVersion"]), kind=kind, namespace=inside, name=str(metadata["name"]))


def read_manifests(texts: Iterable[tuple[str, str]]) -> tuple[Object, ...]:
    """The objects in (file, text) pairs, in the order to apply them. Raises ManifestError or InputError."""
    problems, objects = [], []
    for file, text in texts:
        for node in read_documents(text, file):
            if node.get("kind").value in _NO_OBJECTS:
                continue
            for path in (("apiVersion",), ("kind",), ("metadata", "name")):
                at = node.get(*path)
                if not isinstance(at.value, str) or not at.value:
                    problems.append(at.problem("not a Kubernetes object", allowed=f"text in {'.'.join(path)}"))
            objects.append(node.plain())
    if problems:
        raise InputError(*problems)
    return in_order(objects)


def in_order(objects: Sequence[Object]) -> tuple[Object, ...]:
    """Objects in the order to apply them: what is referred to before what refers to it."""
    return tuple(sorted(objects, key=lambda found: _ORDER.index(found["kind"]) if found["kind"] in _ORDER else 5))


def in_namespace(found: Object, namespace: str) -> dict[str, Any]:
    """The object with its namespace written, unless it is cluster-wide."""
    ref = ref_of(found, namespace)
    if not ref.namespace:
        return dict(found)
    return {**found, "metadata": {**found["metadata"], "namespace": ref.namespace}}


def check_namespaces(objects: Sequence[Object], namespace: str) -> None:
    """Refuse objects of another namespace than the one asked for. Raises InputError."""
    others = [
        Problem(what="another namespace than the one asked for", field=f"{ref_of(found)}: metadata.namespace",
                found=str(found["metadata"]["namespace"]), allowed=namespace)
        for found in objects
        if found["metadata"].get("namespace") not in (None, "", namespace) and found["kind"] not in _CLUSTER_WIDE
    ]  # fmt: skip
    if others:
        raise InputError(*others, remedy="leave --namespace out, or the namespace in the manifest")


def services(objects: Iterable[Object]) -> tuple[Object, ...]:
    """The InferenceServices among them."""
    return tuple(found for found in objects if found["kind"] == SERVICE)


def dig(found: Any, *keys: str) -> Any:
    """The value under `keys`, or None where something on the way is absent."""
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def entries(found: Any, *keys: str) -> list[Any]:
    """The list under `keys`; empty where there is none."""
    value = dig(found, *keys)
    return list(value) if isinstance(value, list | tuple) else []
