"""What a part of a GPU is called where a pod asks for it, by how the cluster hands GPUs out.

Device plugin: k8s-device-plugin README (MIG strategies, sharing) and internal/rm/rm.go. DRA: the driver's device classes
with `extendedResourceName` carry the plugin's names (Kubernetes 1.35 with gate DRAExtendedResource), so that one
manifest works with both. Counts are whole numbers, request = limit; asking for two shares gives no more compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kserve_ext.policy.gpu.mig import MEDIA

GPU = "nvidia.com/gpu"
MIG_PREFIX = "nvidia.com/mig-"
PRODUCT_LABEL = "nvidia.com/gpu.product"  # gpu-feature-discovery


class MigStrategy(StrEnum):
    """How the device plugin shows slices: not at all, all alike as nvidia.com/gpu, or each by its profile."""

    NONE = "none"
    SINGLE = "single"
    MIXED = "mixed"


class Sharing(StrEnum):
    """How several pods get one GPU without isolation."""

    NONE = "none"
    TIME_SLICING = "time-slicing"
    MPS = "mps"  # experimental, whole GPUs only, equal fractions


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How one pool names its parts. `renamed` maps the plugin's names to a cluster's own."""

    strategy: MigStrategy = MigStrategy.MIXED
    sharing: Sharing = Sharing.NONE
    rename_by_default: bool = True  # shares as nvidia.com/gpu.shared, so that nobody takes one for a GPU by mistake
    renamed: Mapping[str, str] = field(default_factory=dict)
    dra: bool = False


def resource_name(part: str, naming: Naming) -> str:
    """The extended resource of `gpu`, `shared` or a MIG profile in a pool."""
    if part == "shared":
        name = f"{GPU}.shared" if naming.rename_by_default else GPU
    elif part == "gpu" or naming.strategy is MigStrategy.SINGLE:
        name = GPU
    else:
        name = MIG_PREFIX + part.replace(MEDIA, ".me")
    return naming.renamed.get(name, name)


def device_class(part: str) -> Mapping[str, Any]:
    """DRA's device class that gives a part its extended resource name, for a cluster administrator to create."""
    name = resource_name(part, Naming())
    driver = "gpu.nvidia.com"
    if part == "gpu":
        selector = f"device.driver == '{driver}' && device.attributes['{driver}'].type == 'gpu'"
    else:
        profile = part.replace(".me", MEDIA)
        selector = f"device.driver == '{driver}' && device.attributes['{driver}'].profile == '{profile}'"
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name.replace("/", "-")},
        "spec": {"selectors": [{"cel": {"expression": selector}}], "extendedResourceName": name},
    }


def product_label(product: str, part: str, naming: Naming) -> Mapping[str, str]:
    """The node label that tells a part from others of the same resource name; empty where the name says it all.

    With strategy single every slice is nvidia.com/gpu and only the product's suffix tells which; a share that is not
    renamed is nvidia.com/gpu too, on a product with -SHARED at its end.
    """
    if not product or naming.renamed:
        return {}
    if naming.strategy is MigStrategy.SINGLE and part not in ("gpu", "shared"):
        return {PRODUCT_LABEL: f"{product}-MIG-{part.replace(MEDIA, '.me')}"}
    if part == "shared":
        return {} if naming.rename_by_default else {PRODUCT_LABEL: f"{product}-SHARED"}
    return {PRODUCT_LABEL: product}
