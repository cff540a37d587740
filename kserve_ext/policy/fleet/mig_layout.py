"""The layout of every node's GPUs: what each is cut into, as a configuration for mig-manager (nvidia.com/mig.config).

A node-level act that ends what runs on the node, so it is advice: the label's value where NVIDIA's own configurations
have it (all-disabled, all-PROFILE, all-balanced), else a configuration of ours that goes into mig-parted's config map.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_ext.policy.fleet.board import Place
from kserve_ext.policy.fleet.types import Fleet, Pool
from kserve_ext.policy.gpu.names import MigStrategy

CONFIG_LABEL = "nvidia.com/mig.config"
CONFIG_MAP = "kserve-ext-mig-parted-config"
_BALANCED = {  # mig-parted's all-balanced of GPUs with seven compute slices: two small, one double, one triple
    ("1g", 2), ("2g", 1), ("3g", 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLayout:
    """One node: slices by GPU, in order of their index, and the configuration that makes them."""

    node: str
    pool: str
    gpus: tuple[tuple[str, ...], ...]  # ("3g.40gb", "1g.10gb"), ("gpu",), ()
    config: str  # value of nvidia.com/mig.config; empty: nothing is to be changed
    devices: tuple[Mapping[str, Any], ...] = ()  # of mig-parted, where the configuration is ours


def layouts(fleet: Fleet, places: Sequence[Place]) -> tuple[NodeLayout, ...]:
    """The layout of every node with GPUs."""
    parts: dict[str, list[str]] = {}
    for place in sorted(places, key=lambda place: (place.gpu, place.start)):
        if place.gpu:
            parts.setdefault(place.gpu, []).append(place.kind.partition("/")[2])
    return tuple(
        _layout(pool, node, tuple(tuple(parts.get(f"{node}/{index}", ())) for index in range(pool.gpus_per_node)))
        for pool in fleet.pools
        if pool.shape is not None
        for node in pool.node_names
    )


def _layout(pool: Pool, node: str, gpus: tuple[tuple[str, ...], ...]) -> NodeLayout:
    if pool.layout is not None or pool.shares or not pool.slices or pool.naming.strategy is MigStrategy.NONE:
        return NodeLayout(node=node, pool=pool.name, gpus=gpus, config="")
    cut = [set(gpu) - {"gpu"} for gpu in gpus]
    if not any(cut):
        return NodeLayout(node=node, pool=pool.name, gpus=gpus, config="all-disabled")
    parts = set().union(*cut)
    idle_or_cut = not any("gpu" in gpu for gpu in gpus)
    if len(parts) == 1 and idle_or_cut:  # the free slices of such a node are there for what comes
        return NodeLayout(node=node, pool=pool.name, gpus=gpus, config=f"all-{next(iter(parts))}")
    if idle_or_cut and all(_is_balanced(gpu) for gpu in gpus):
        return NodeLayout(node=node, pool=pool.name, gpus=gpus, config="all-balanced")
    devices = _devices(gpus)
    digest = hashlib.sha256(repr(devices).encode()).hexdigest()[:8]
    return NodeLayout(node=node, pool=pool.name, gpus=gpus, config=f"kserve-ext-{digest}", devices=devices)


def _is_balanced(gpu: tuple[str, ...]) -> bool:
    return {(name.partition(".")[0], count) for name, count in Counter(gpu).items()} == _BALANCED


def _devices(gpus: tuple[tuple[str, ...], ...]) -> tuple[Mapping[str, Any], ...]:
    """One entry for all GPUs that are cut alike."""
    groups: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for index, gpu in enumerate(gpus):
        counts = Counter(part for part in gpu if part != "gpu")
        groups.setdefault(tuple(sorted(counts.items())), []).append(index)
    return tuple(
        {"devices": indices, "mig-enabled": bool(counts), "mig-devices": dict(counts)}
        for counts, indices in groups.items()
    )


def mig_config_map(nodes: Sequence[NodeLayout]) -> Mapping[str, Any]:
    """mig-parted's configurations for the nodes that need one of ours; the text goes into a ConfigMap's config.yaml."""
    ours = {node.config: [dict(device) for device in node.devices] for node in nodes if node.devices}
    return {"version": "v1", "mig-configs": dict(sorted(ours.items()))}
