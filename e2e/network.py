"""What NetworkPolicies allow, worked out from the policies, namespaces and pods of a cluster.

The pod network of the base set enforces no policies, so their meaning is judged here, on real labels and real ports, and
held against real connections where they are enforced. A connection is allowed when no policy selects a side, or one that
does allows the other side and the port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2e.support import Cluster, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The policies of all namespaces, and the labels of these."""

    policies: Sequence[Object]
    namespaces: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, cluster: Cluster, *namespaces: str) -> Network:
        """The policies of some namespaces as they are in the cluster now."""
        policies = [policy for name in namespaces for policy in cluster.list("networkpolicies", name)]
        labels = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in cluster.list("ns", "default")}
        return cls(policies=policies, namespaces=labels)

    def reaches(self, source: Object, target: Object, port: int, protocol: str = "TCP") -> bool:
        """Whether a pod may open a connection to another: both sides must allow it."""
        return self._allows("Egress", source, target, port, protocol) and self._allows(
            "Ingress", target, source, port, protocol
        )

    def _allows(self, direction: str, own: Object, other: Object, port: int, protocol: str) -> bool:
        selecting = [policy["spec"] for policy in self.policies if self._selects(policy, direction, own)]
        key, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        return not selecting or any(
            self._ports(rule, port, protocol) and self._peers(rule, peers, own, other)
            for spec in selecting
            for rule in spec.get(key, ())
        )

    def _selects(self, policy: Object, direction: str, pod: Object) -> bool:
        spec = policy["spec"]
        return (
            direction in spec["policyTypes"]
            and policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
            and matches(spec["podSelector"], pod["metadata"].get("labels", {}))
        )

    def _ports(self, rule: Object, port: int, protocol: str) -> bool:
        listed = rule.get("ports")
        return not listed or any(one["port"] == port and one.get("protocol", "TCP") == protocol for one in listed)

    def _peers(self, rule: Object, key: str, own: Object, other: Object) -> bool:
        peers = rule.get(key)
        return not peers or any(self._is(peer, own, other) for peer in peers)

    def _is(self, peer: Object, own: Object, other: Object) -> bool:
        if "ipBlock" in peer:
            return False  # for addresses outside the cluster
        namespace = other["metadata"]["namespace"]
        if "namespaceSelector" in peer:
            right_place = matches(peer["namespaceSelector"], self.namespaces[namespace])
        else:
            right_place = namespace == own["metadata"]["namespace"]
        return right_place and matches(peer.get("podSelector", {}), other["metadata"].get("labels", {}))


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector as Kubernetes reads it; an empty one matches everything."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        _expression(one, labels) for one in selector.get("matchExpressions", ())
    )


def _expression(one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(one["key"])
    match one["operator"]:
        case "In":
            return value in one["values"]
        case "NotIn":
            return value not in one["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None
