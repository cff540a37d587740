"""What is known of a cluster, as rules need it: feature flags, configmaps, runtimes, nodes and quotas.

Made from Kubernetes objects as `kubectl get -o yaml` prints them. Objects of other kinds are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kserve_ext.intent.document import Node
from kserve_ext.units import parse_quantity

Runtimes = tuple["RuntimeFact", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFact:
    """A runtime in the cluster; `namespace` is empty for a ClusterServingRuntime."""

    name: str
    namespace: str
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFact:
    """A node: its labels, and what pods may ask of it."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaFact:
    """A ResourceQuota: what the namespace may ask for, and what it asks for already."""

    namespace: str
    name: str
    hard: Mapping[str, float]
    used: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """The state of a cluster. None stands for what was not given, so that a rule can stay silent about it."""

    configmaps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # data by name
    runtimes: Runtimes | None = None
    nodes: tuple[NodeFact, ...] | None = None
    quotas: tuple[QuotaFact, ...] = ()

    def feature(self, flag: str) -> bool | None:
        """Whether a `kubernetes.podspec-…` feature of Knative is on; None where config-features is not known."""
        flags = self.configmaps.get("config-features")
        return None if flags is None else flags.get(flag, "disabled").lower() in ("enabled", "allowed")

    def setting(self, configmap: str, key: str, default: float) -> float:
        """A number of a configmap, or Knative's default where it is not set."""
        try:
            return float(self.configmaps.get(configmap, {}).get(key, default))
        except ValueError:
            return default

    @property
    def default_mode(self) -> str:
        """The deployment mode of services that state none; empty where it is not known."""
        try:
            deploy = json.loads(self.configmaps.get("inferenceservice-config", {}).get("deploy", "{}"))
        except json.JSONDecodeError:
            return ""
        return str(deploy.get("defaultDeploymentMode", "")) if isinstance(deploy, dict) else ""


def cluster_facts(objects: Iterable[Node]) -> ClusterFacts:
    """The facts in Kubernetes objects."""
    by_kind: dict[str, list[Node]] = {}
    for node in objects:
        by_kind.setdefault(str(node.get("kind").value), []).append(node)
    runtimes = [*by_kind.get("ServingRuntime", ()), *by_kind.get("ClusterServingRuntime", ())]
    nodes = by_kind.get("Node")
    return ClusterFacts(
        configmaps={_metadata(found, "name"): _texts(found.get("data")) for found in by_kind.get("ConfigMap", ())},
        runtimes=tuple(map(_runtime, runtimes)) if runtimes else None,
        nodes=None if nodes is None else tuple(map(_node, nodes)),
        quotas=tuple(map(_quota, by_kind.get("ResourceQuota", ()))),
    )


def _runtime(found: Node) -> RuntimeFact:
    namespaced = found.get("kind").value == "ServingRuntime"
    return RuntimeFact(
        name=_metadata(found, "name"),
        namespace=_metadata(found, "namespace") if namespaced else "",
        disabled=found.get("spec", "disabled").value is True,
    )


def _node(found: Node) -> NodeFact:
    return NodeFact(
        name=_metadata(found, "name"),
        labels=_texts(found.get("metadata", "labels")),
        allocatable=_quantities(found.get("status", "allocatable")),
    )


def _quota(found: Node) -> QuotaFact:
    hard = found.get("status", "hard")
    return QuotaFact(
        namespace=_metadata(found, "namespace") or "default",
        name=_metadata(found, "name"),
        hard=_quantities(hard if hard.value is not None else found.get("spec", "hard")),
        used=_quantities(found.get("status", "used")),
    )


def _metadata(found: Node, key: str) -> str:
    return str(found.get("metadata", key).value or "")


def _texts(found: Node) -> Mapping[str, str]:
    return {key: node.text for key, node in found.items()}


def _quantities(found: Node) -> Mapping[str, float]:
    """Resource quantities as plain numbers; what is none is left out."""
    numbers: dict[str, float] = {}
    for key, text in _texts(found).items():
        try:
            numbers[key] = parse_quantity(text)
        except ValueError:
            continue
    return numbers
