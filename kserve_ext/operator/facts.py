"""What the linter may know of the live cluster. Pure.

Runtimes are left out on purpose: the one that a plan names is made after its service is admitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kserve_ext.lint.facts import ClusterFacts, NodeFact, QuotaFact
from kserve_ext.units import parse_quantity

Object = Mapping[str, Any]
SETTINGS = ("config-features", "config-autoscaler", "config-defaults", "inferenceservice-config")


def cluster_facts(nodes: Iterable[Object] | None, quotas: Iterable[Object], settings: Iterable[Object]) -> ClusterFacts:
    """The facts in live objects; no nodes where they are not known yet."""
    return ClusterFacts(
        configmaps={str(one["metadata"]["name"]): dict(one.get("data") or {}) for one in settings
                    if one["metadata"]["name"] in SETTINGS},
        nodes=None if nodes is None else tuple(map(_node, nodes)),
        quotas=tuple(map(_quota, quotas)),
    )  # fmt: skip


def _node(found: Object) -> NodeFact:
    return NodeFact(
        name=str(found["metadata"]["name"]), labels=found["metadata"].get("labels") or {},
        allocatable=_numbers((found.get("status") or {}).get("allocatable")),
    )  # fmt: skip


def _quota(found: Object) -> QuotaFact:
    status = found.get("status") or {}
    return QuotaFact(
        namespace=str(found["metadata"].get("namespace", "default")), name=str(found["metadata"]["name"]),
        hard=_numbers(status.get("hard") or (found.get("spec") or {}).get("hard")), used=_numbers(status.get("used")),
    )  # fmt: skip


def _numbers(quantities: Mapping[str, Any] | None) -> dict[str, float]:
    found = {}
    for name, text in (quantities or {}).items():
        try:
            found[name] = parse_quantity(str(text))
        except ValueError:
            continue
    return found
