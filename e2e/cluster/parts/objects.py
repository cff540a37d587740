"""Kubernetes objects as plain dicts: reading them, and the few changes that every component needs here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
# Definitions are megabytes of YAML: ten times quicker with libyaml, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_FIRST = ("Namespace", "CustomResourceDefinition")
_ORDER = (
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Secret",
    "ConfigMap",
    "Service",
)
# Two cores hold the whole cluster: its own components must not reserve them.
_SMALL = {"requests": {"cpu": "10m", "memory": "32Mi"}}


def read(*paths: Path) -> Iterator[Object]:
    """The objects in YAML files, and in those of folders below; each object once, the first one seen."""
    seen = set()
    for path in paths:
        for file in sorted(path.rglob("*.yaml")) if path.is_dir() else [path]:
            for each in parse(file.read_text()):
                if name_of(each) not in seen:
                    seen.add(name_of(each))
                    yield each


def parse(text: str) -> list[Object]:
    """The objects in a YAML text."""
    return [each for each in yaml.load_all(text, Loader=_LOADER) if each]


def write(path: Path, objects: Iterable[Object]) -> None:
    """One YAML file, in an order that can be applied from top to bottom."""
    ordered = sorted(objects, key=lambda each: _rank(each["kind"]))
    path.write_text(yaml.dump_all(ordered, Dumper=_DUMPER, sort_keys=False, width=10**6))


def definitions_apart(objects: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """What must be there first (namespaces and definitions), and the rest."""
    both: tuple[list[Object], list[Object]] = ([], [])
    for each in objects:
        both[each["kind"] not in _FIRST].append(each)
    return both


def name_of(each: Object) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    return each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]


def containers(each: Object) -> list[Object]:
    """The containers of a workload; none for other objects."""
    if each["kind"] not in ("Deployment", "DaemonSet", "Job"):
        return []
    found: list[Object] = each["spec"]["template"]["spec"]["containers"]
    return found


def fitted(objects: Iterable[Object], image: Callable[[Object], str]) -> Iterator[Object]:
    """One replica of everything on little CPU, local images, ready soon; no autoscalers or disruption budgets."""
    for each in objects:
        if each["kind"] in ("HorizontalPodAutoscaler", "PodDisruptionBudget"):
            continue
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 1
        for container in containers(each):
            container |= {"image": image(container), "imagePullPolicy": "IfNotPresent", "resources": _SMALL}
            if probe := container.get("readinessProbe"):
                probe |= {"initialDelaySeconds": 1, "periodSeconds": 2}
        yield each


def with_data(objects: Iterable[Object], data: Mapping[str, Mapping[str, str]]) -> Iterator[Object]:
    """Values set in the ConfigMaps of these names."""
    for each in objects:
        if each["kind"] == "ConfigMap" and (more := data.get(each["metadata"]["name"])):
            each["data"] = {**each.get("data", {}), **more}
        yield each


def _rank(kind: str) -> int:
    order = (*_FIRST, *_ORDER)
    return order.index(kind) if kind in order else len(order)
