"""A fleet: pools of equal nodes with their GPUs, what these may be cut into, and what they cost.

Built by the readers of fleet.yaml and of a cluster's nodes; turned here into what a packer takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kserve_ext.policy.fleet.board import Gpu, Node
from kserve_ext.policy.fleet.shapes import Shape, Slot, arrange, mig_shape, shared_shape, whole_slot
from kserve_ext.policy.gpu.mig import GpuModel
from kserve_ext.policy.gpu.names import MigStrategy, Naming, Sharing
from kserve_ext.policy.gpu.providers import PLAIN, Provider, Taint


class Objective(StrEnum):
    """What is kept small: the number of GPUs, or what they cost an hour."""

    GPUS = "gpus"
    COST = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Nodes that are alike. `slices` are parts its GPUs may be cut into; `layout`, if any, what each is cut into for good."""

    name: str
    node_names: tuple[str, ...]
    provider: Provider = PLAIN
    gpu: GpuModel | None = None
    gpus_per_node: int = 0
    product: str = ""  # value of nvidia.com/gpu.product, where known
    slices: tuple[str, ...] = ()
    whole: bool = True  # a GPU may also be used uncut
    layout: tuple[str, ...] | None = None
    shares: int = 0
    naming: Naming = field(default_factory=Naming)
    price_per_hour: float | None = None  # of one node
    spot: bool = False
    notice_s: float = 0.0
    start_s: float = 300.0  # a GPU node is ready 3 to 6 minutes after it was asked for (cluster-autoscaler FAQ)
    interruptions_per_hour: float = 0.05  # of one spot node; providers publish under 5 % to over 20 % a month
    cpu_cores: float = float("inf")  # allocatable, of one node
    memory_bytes: float = float("inf")
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()

    @property
    def shape(self) -> Shape | None:
        """What one of its GPUs can hold; None without GPUs."""
        if self.gpu is None or self.gpus_per_node == 0:
            return None
        if self.shares:
            return shared_shape(self.gpu, self.shares)
        if self.layout is not None:
            return Shape(_fixed(self.gpu, self.layout))
        if not self.slices:
            return Shape((whole_slot(self.gpu),))
        return mig_shape(self.gpu, self.slices, whole=self.whole)

    def usable_bytes(self, part: str) -> float | None:
        """Memory of one part: of a slice as published; of a GPU its whole; of a share an equal part."""
        if self.gpu is None:
            return None
        if part == "shared":
            return self.gpu.memory_gib * 2**30 / max(1, self.shares)
        if part == "gpu":
            return self.gpu.memory_gib * 2**30
        profile = self.gpu.profile(part)
        return profile.usable_bytes if profile else None

    def hourly(self, kind: str) -> float | None:
        """What one slice of `kind` costs an hour: the part of its GPU, by memory, that others cannot use."""
        if self.price_per_hour is None or self.shape is None:
            return None
        slot = next((slot for slot in self.shape.slots if slot.kind == kind), None)
        if slot is None:
            return None
        share = slot.mask.bit_count() / self.shape.full.bit_count()
        return self.price_per_hour / self.gpus_per_node * share


def _fixed(model: GpuModel, layout: tuple[str, ...]) -> tuple[Slot, ...]:
    """The slots of a layout that is there already."""
    if layout == ("gpu",):
        return (whole_slot(model),)
    slots = arrange(mig_shape(model, set(layout)), [f"{model.key}/{name}" for name in layout])
    if slots is None:
        raise ValueError(f"{', '.join(layout)} do not fit on one {model.key} together")
    return slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All pools, and what the cluster allows: Knative's podspec flags that are on, a priority class for serving.

    `notes` are sentences on what the pools do not hold of where they came from, or hold as a guess.
    """

    pools: tuple[Pool, ...]
    knative_features: frozenset[str] = frozenset()
    priority_class: str = ""
    notes: tuple[str, ...] = ()

    @property
    def priced(self) -> bool:
        return bool(self.pools) and all(pool.price_per_hour is not None for pool in self.pools)

    def pool_of(self, node: str) -> Pool:
        """The pool a node is in. Raises KeyError."""
        return next((pool for pool in self.pools if node in pool.node_names), None) or _missing(node)

    def objective(self, asked: Objective | None) -> Objective:
        """What is asked for; else the cost where every pool has a price."""
        return asked or (Objective.COST if self.priced else Objective.GPUS)

    def gpus(self, objective: Objective) -> tuple[Gpu, ...]:
        """Every GPU, as a packer takes it."""
        return tuple(
            Gpu(name=f"{node}/{index}", node=node, shape=shape, weight=_weight(pool, objective), spot=pool.spot)
            for pool in self.pools
            if (shape := pool.shape) is not None
            for node in pool.node_names
            for index in range(pool.gpus_per_node)
        )

    def nodes(self, objective: Objective) -> tuple[Node, ...]:
        """Every node, as a packer takes it; only nodes without GPUs take replicas that run on CPU."""
        return tuple(
            Node(
                name=node, cpu_cores=pool.cpu_cores, memory_bytes=pool.memory_bytes, spot=pool.spot,
                serves_cpu=pool.shape is None, core_weight=_core_weight(pool, objective),
            )
            for pool in self.pools
            for node in pool.node_names
        )  # fmt: skip


def _missing(node: str) -> Pool:
    raise KeyError(node)


def _weight(pool: Pool, objective: Objective) -> float:
    if objective is Objective.GPUS or pool.price_per_hour is None:
        return 1.0
    return pool.price_per_hour / pool.gpus_per_node


def _core_weight(pool: Pool, objective: Objective) -> float:
    if objective is Objective.GPUS or pool.price_per_hour is None or pool.cpu_cores == float("inf"):
        return 0.0
    return pool.price_per_hour / pool.cpu_cores


def default_slices(model: GpuModel | None, naming: Naming) -> tuple[str, ...]:
    """Every profile of a GPU whose pool shows slices by their profile; none where it does not."""
    if model is None or naming.strategy is not MigStrategy.MIXED or naming.sharing is not Sharing.NONE:
        return ()
    return tuple(profile.name for profile in model.profiles)
