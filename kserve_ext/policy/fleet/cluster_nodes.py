"""The answer of `kubectl get nodes -o json` in, a Fleet out: nodes that look alike become one pool.

What a node says counts: labels of gpu-feature-discovery and of the provider, allocatable resources, taints. Prices are
nobody's label; they are added to the fleet file by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kserve_ext.errors import ManifestError, Problem
from kserve_ext.policy.fleet.types import Fleet, Pool, default_slices
from kserve_ext.policy.gpu.mig import MODELS, GpuModel, find_model
from kserve_ext.policy.gpu.names import GPU, MIG_PREFIX, PRODUCT_LABEL, MigStrategy, Naming, Sharing
from kserve_ext.policy.gpu.providers import PROVIDERS, SPOT_MARKERS, Provider, Taint
from kserve_ext.units import parse_quantity

_SHARED_SUFFIX, _MIG_PART = "-SHARED", "-MIG-"
_COUNT_LABEL, _REPLICAS_LABEL, _STRATEGY_LABEL = (
    "nvidia.com/gpu.count",
    "nvidia.com/gpu.replicas",
    "nvidia.com/mig.strategy",
)
_SHARING_LABEL = "nvidia.com/gpu.sharing-strategy"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


def read_nodes(text: str, file: str) -> Fleet:
    """The fleet that a cluster's nodes make. Raises ManifestError for what is not a list of nodes."""
    try:
        dump = json.loads(text)
    except json.JSONDecodeError as error:
        raise ManifestError(Problem(file=file, line=error.lineno, what=f"not JSON: {error.msg}")) from error
    items = dump.get("items") if isinstance(dump, dict) else None
    if not isinstance(items, list) or not items or any(_kind(item) != "Node" for item in items):
        raise ManifestError(
            Problem(file=file, what="not a list of nodes", allowed="what `kubectl get nodes -o json` prints")
        )
    groups: dict[tuple[Any, ...], list[str]] = {}
    for node in items:
        if not any(taint["key"] in _CONTROL_PLANE for taint in node.get("spec", {}).get("taints") or ()):
            groups.setdefault(_alike(node, file), []).append(node["metadata"]["name"])
    if not groups:
        raise ManifestError(Problem(file=file, what="no node that takes pods", found="control plane nodes only"))
    pools: list[Pool] = []
    notes: list[str] = []
    for key, names in sorted(groups.items(), key=lambda group: group[1]):
        pools.append(_pool(key, tuple(sorted(names)), {pool.name for pool in pools}))
        notes += _notes(key, pools[-1])
    return Fleet(pools=tuple(pools), notes=tuple(notes))


def _kind(item: Any) -> str:
    return str(item.get("kind", "Node")) if isinstance(item, dict) and "metadata" in item else ""


def _alike(node: Mapping[str, Any], file: str) -> tuple[Any, ...]:
    """What nodes of one pool have in common."""
    labels = dict(node["metadata"].get("labels") or {})
    status = node.get("status", {})
    allocatable = status.get("allocatable") or status.get("capacity") or {}
    try:
        amounts = {name: parse_quantity(str(value)) for name, value in allocatable.items()}
    except ValueError as error:
        name = node["metadata"].get("name", "?")
        raise ManifestError(
            Problem(file=file, field=f"{name}.status.allocatable", what="cannot be read", allowed=str(error))
        ) from error
    gpus = {name: int(amount) for name, amount in amounts.items() if name.startswith("nvidia.com/") and amount}
    taints = tuple(
        sorted(
            (taint["key"], taint.get("value", ""), taint.get("effect", "NoSchedule"))
            for taint in node.get("spec", {}).get("taints") or ()
            if not taint["key"].startswith("node.kubernetes.io/")
        )
    )
    provider = _provider(labels)
    kept = (PRODUCT_LABEL, _COUNT_LABEL, _REPLICAS_LABEL, _STRATEGY_LABEL, _SHARING_LABEL, provider.gpu_label)
    spot = any(labels.get(key) == value for key, value in SPOT_MARKERS)
    return (
        provider.key, labels.get(provider.pool_label, ""), spot, taints, tuple(sorted(gpus.items())),
        tuple((key, labels[key]) for key in kept if key and key in labels),
        amounts.get("cpu", float("inf")), amounts.get("memory", float("inf")),
    )  # fmt: skip


def _provider(labels: Mapping[str, str]) -> Provider:
    return next(
        (p for p in PROVIDERS.values() if any(key.startswith(_domain(p)) for key in labels)), PROVIDERS["plain"]
    )


def _domain(provider: Provider) -> str:
    return provider.pool_label.partition("/")[0] + "/"


def _pool(key: tuple[Any, ...], names: tuple[str, ...], taken: set[str]) -> Pool:
    provider_key, pool_name, spot, taints, resources, label_items, cpu_cores, memory_bytes = key
    provider, labels, gpus = PROVIDERS[provider_key], dict(label_items), dict(resources)
    product = labels.get(PRODUCT_LABEL, "").removesuffix(_SHARED_SUFFIX).partition(_MIG_PART)[0]
    model = find_model(product) or find_model(labels.get(provider.gpu_label, "")) or _from_slices(gpus)
    layout = _layout(gpus, labels, model)
    if model is None and gpus:
        model = GpuModel(key=(product or "gpu").lower(), family="gpu", memory_gib=0.0)
    shares, naming = _sharing(gpus, labels)
    count = _gpus_per_node(gpus, labels, layout, model, shares)
    name = pool_name or (model.key if model and count else "cpu")
    while name in taken:
        name += "-2" if not name[-2:].lstrip("-").isdigit() else "x"
    return Pool(
        name=name, node_names=names, provider=provider, gpu=model if count else None, gpus_per_node=count,
        product=product, naming=naming, layout=layout if count else None, shares=shares,
        slices=() if layout or shares else default_slices(model, naming),
        spot=spot, notice_s=provider.notice_s, interruptions_per_hour=0.05 if spot else 0.0,
        cpu_cores=cpu_cores, memory_bytes=memory_bytes,
        taints=tuple(Taint(key=k, value=v, effect=e) for k, v, e in taints),
    )  # fmt: skip


def _notes(key: tuple[Any, ...], pool: Pool) -> list[str]:
    """What the pool leaves out of its nodes, and what it takes for granted."""
    resources, labels = dict(key[4]), dict(key[5])
    where = ", ".join(pool.node_names)
    cut = [name for name in resources if name.startswith(MIG_PREFIX)]
    notes = []
    if cut and resources.get(GPU):
        notes.append(
            f"{where}: {resources[GPU]} {GPU} beside slices are left out: the GPUs of a pool are all cut alike"
        )
    named = (labels.get(PRODUCT_LABEL) or labels.get(PROVIDERS[key[0]].gpu_label, "")) if resources else "no GPU"
    if not named and pool.gpu is not None:
        said = f"taken for {pool.gpu.key} by its slices" if cut else "no model can be told, so no slices are offered"
        notes.append(f"{where}: no label {PRODUCT_LABEL}: {said}")
    return notes


def _from_slices(gpus: Mapping[str, int]) -> GpuModel | None:
    """The first GPU in the table that has all the profiles the node offers."""
    parts = [name.removeprefix(MIG_PREFIX).replace(".me", "+me") for name in gpus if name.startswith(MIG_PREFIX)]
    return next((model for model in MODELS if parts and all(model.profile(part) for part in parts)), None)


def _layout(gpus: Mapping[str, int], labels: Mapping[str, str], model: GpuModel | None) -> tuple[str, ...] | None:
    """The slices of one GPU, where the node has slices: every GPU of the node is taken to be cut alike."""
    count = max(1, int(labels.get(_COUNT_LABEL, "1")))
    product = labels.get(PRODUCT_LABEL, "")
    if _MIG_PART in product and model is not None:  # strategy single
        part = product.partition(_MIG_PART)[2].replace(".me", "+me")
        profile = model.profile(part)
        most = len(profile.starts) if profile else 1
        return (part,) * min(most, max(1, gpus.get(GPU, 1)))
    parts = {
        name.removeprefix(MIG_PREFIX).replace(".me", "+me"): amount
        for name, amount in gpus.items()
        if name.startswith(MIG_PREFIX)
    }
    if not parts:
        return None
    return tuple(part for part, amount in sorted(parts.items()) for _ in range(max(1, amount // count)))


def _sharing(gpus: Mapping[str, int], labels: Mapping[str, str]) -> tuple[int, Naming]:
    renamed, replicas = f"{GPU}.shared" in gpus, int(labels.get(_REPLICAS_LABEL, "1"))
    strategy = MigStrategy.SINGLE if _MIG_PART in labels.get(PRODUCT_LABEL, "") else MigStrategy.MIXED
    if not renamed and not labels.get(PRODUCT_LABEL, "").endswith(_SHARED_SUFFIX):
        return 0, Naming(strategy=strategy)
    kind = Sharing.MPS if labels.get(_SHARING_LABEL) == "mps" else Sharing.TIME_SLICING
    count = max(1, int(labels.get(_COUNT_LABEL, "1")))
    shares = replicas if replicas > 1 else gpus.get(f"{GPU}.shared", gpus.get(GPU, 2)) // count
    return max(2, shares), Naming(strategy=MigStrategy.NONE, sharing=kind, rename_by_default=renamed)


def _gpus_per_node(
    gpus: Mapping[str, int],
    labels: Mapping[str, str],
    layout: tuple[str, ...] | None,
    model: GpuModel | None,
    shares: int,
) -> int:
    if not gpus or model is None:
        return 0
    if _COUNT_LABEL in labels and (layout is None or _MIG_PART not in labels.get(PRODUCT_LABEL, "")):
        return int(labels[_COUNT_LABEL])
    if layout is not None:
        whole = gpus.get(GPU, 0) if _MIG_PART in labels.get(PRODUCT_LABEL, "") else 0
        return max(1, whole // len(layout))
    total = gpus.get(f"{GPU}.shared", 0) or gpus.get(GPU, 0)
    return max(1, total // shares) if shares else total
