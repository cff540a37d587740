"""When a node comes for pods that found no room: Cluster Autoscaler and Karpenter.

In: when pods became pending, and how long a node of the wanted kind takes from order to ready (measured: 2 to 6 minutes
with a GPU, the driver and device plugin included). Out: when each pod's node is ready. Capacity, prices and failed
orders are not modelled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class NodeAutoscaler(Protocol):
    """Orders nodes for pending pods."""

    def ordered_s(self, pending_s: Sequence[float], *, gpu: bool) -> tuple[float, ...]:
        """When a node is ordered for each pod; `pending_s` ascends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAutoscaler:
    """Looks at pending pods in every scan and leaves out those that are too young: with a GPU, below half a minute."""

    scan_s: float = 10.0
    pod_age_s: float = 2.0
    gpu_pod_age_s: float = 30.0  # unschedulablePodWithGpuTimeBuffer: the device plugin of a new node may be late
    offset_s: float = 0.0  # of the first scan

    def ordered_s(self, pending_s: Sequence[float], *, gpu: bool) -> tuple[float, ...]:
        age_s = self.gpu_pod_age_s if gpu else self.pod_age_s
        return tuple(self._scan_at(pending + age_s) for pending in pending_s)

    def _scan_at(self, earliest_s: float) -> float:
        return self.offset_s + max(0, math.ceil((earliest_s - self.offset_s) / self.scan_s)) * self.scan_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Karpenter:
    """Collects pending pods until none has come for a second, for ten at most, and orders for all of them."""

    idle_s: float = 1.0
    most_s: float = 10.0

    def ordered_s(self, pending_s: Sequence[float], *, gpu: bool) -> tuple[float, ...]:
        del gpu  # no buffer for GPUs
        ordered: list[float] = []
        batch: list[float] = []
        for pending in pending_s:
            if batch and pending > self._closes_s(batch):
                ordered += [self._closes_s(batch)] * len(batch)
                batch = []
            batch.append(pending)
        return (*ordered, *((self._closes_s(batch),) * len(batch) if batch else ()))

    def _closes_s(self, batch: Sequence[float]) -> float:
        return min(batch[0] + self.most_s, batch[-1] + self.idle_s)


def node_ready_s(
    autoscaler: NodeAutoscaler, pending_s: Sequence[float], *, node_s: float, gpu: bool
) -> tuple[float, ...]:
    """When the node of each pending pod is ready; `node_s` from order to ready, for this kind of node."""
    return tuple(at_s + node_s for at_s in autoscaler.ordered_s(pending_s, gpu=gpu))
