"""How nodes with GPUs, and nodes that can be taken away, are marked: Amazon EKS, Google GKE, Azure AKS, plain clusters.

Labels and taints as the providers set them themselves; a fleet file adds what an administrator has set beside. Sources:
EKS managed node groups (capacityType), EC2 spot interruption notices; GKE "Spot VMs", "GPUs" and "GPU sharing";
AKS "Spot node pools", Azure scheduled events; kubernetes.io well-known labels.
"""

from __future__ import annotations

from dataclasses import dataclass

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """A node's taint; an empty value is tolerated by the key alone."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What a provider calls things. `notice_s`: from the warning to the end of a spot node."""

    key: str
    pool_label: str
    spot_label: str = ""
    spot_value: str = ""
    steady_value: str = ""  # of the same label on nodes that stay; empty: they do not have it
    spot_taint: Taint | None = None
    gpu_taint: Taint | None = None
    gpu_label: str = ""  # names the GPU model
    slice_label: str = ""  # names the MIG profile
    notice_s: float = 0.0


EKS = Provider(
    key="eks",
    pool_label="eks.amazonaws.com/nodegroup",
    spot_label="eks.amazonaws.com/capacityType",
    spot_value="SPOT",
    steady_value="ON_DEMAND",
    notice_s=120.0,  # EC2: two minutes
)
GKE = Provider(
    key="gke",
    pool_label="cloud.google.com/gke-nodepool",
    spot_label="cloud.google.com/gke-provisioning",  # gke-spot=true is on spot nodes only, this one on all
    spot_value="spot",
    steady_value="standard",
    gpu_taint=Taint(key="nvidia.com/gpu", value="present"),
    gpu_label="cloud.google.com/gke-accelerator",
    slice_label="cloud.google.com/gke-gpu-partition-size",
    notice_s=15.0,  # 30 s to the end, of which pods that are not the system's have the first 15
)
AKS = Provider(
    key="aks",
    pool_label="kubernetes.azure.com/agentpool",
    spot_label="kubernetes.azure.com/scalesetpriority",
    spot_value="spot",
    spot_taint=Taint(key="kubernetes.azure.com/scalesetpriority", value="spot"),
    notice_s=30.0,  # scheduled event Preempt: at least 30 s
)
PLAIN = Provider(key="plain", pool_label="kserve-ext.dev/pool")

PROVIDERS = {provider.key: provider for provider in (EKS, GKE, AKS, PLAIN)}

# Labels that say a node can be taken away, whoever set them; read when a cluster's nodes are given.
SPOT_MARKERS = (
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("karpenter.sh/capacity-type", "spot"),
    ("cloud.google.com/gke-provisioning", "spot"),
    ("cloud.google.com/gke-spot", "true"),
    ("cloud.google.com/gke-preemptible", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
    ("node.kubernetes.io/lifecycle", "spot"),
)
