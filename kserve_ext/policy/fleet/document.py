"""fleet.yaml: text in, a Fleet out, every fault with its line; and a Fleet back to text.

A pool is a group of equal nodes. Names of fields are in camel case, as in Kubernetes' own files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from kserve_ext.errors import ManifestError, Problem
from kserve_ext.intent.document import Node, read_documents
from kserve_ext.policy.fleet.types import Fleet, Pool, default_slices
from kserve_ext.policy.gpu.mig import BY_KEY, GpuModel
from kserve_ext.policy.gpu.names import MigStrategy, Naming, Sharing
from kserve_ext.policy.gpu.providers import PROVIDERS, Taint
from kserve_ext.units import format_cpu, format_duration, format_mebibytes, parse_duration_s, parse_quantity

KNATIVE_FEATURES = (
    "nodeselector", "tolerations", "affinity", "topologyspreadconstraints", "priorityclassname", "schedulername",
    "runtimeclassname",
)  # fmt: skip
_MOST_NODES = 10_000


def _seconds(value: Any) -> float:
    return parse_duration_s(str(value))


Seconds = Annotated[float, BeforeValidator(_seconds)]
Quantity = Annotated[float, BeforeValidator(parse_quantity), Field(gt=0)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_alias=True, strict=False)


class _Taint(_Written):
    key: str
    value: str = ""
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"] = "NoSchedule"


class _Sharing(_Written):
    kind: Literal["time-slicing", "mps"]
    replicas: int = Field(ge=2, le=48)
    rename_by_default: bool = True


class _Pool(_Written):
    name: str = Field(min_length=1)
    provider: Literal["eks", "gke", "aks", "plain"] = "plain"
    nodes: int | list[str] = 1
    gpu: str | None = None
    gpus_per_node: int = Field(default=1, ge=1, le=16)
    product: str = ""
    mig: Literal["none", "single", "mixed"] = "mixed"
    slices: list[str] | None = None
    layout: list[str] | None = None
    sharing: _Sharing | None = None
    resource_names: dict[str, str] = Field(default_factory=dict)
    dra: bool = False
    price_per_hour: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    spot: bool = False
    notice: Seconds | None = None
    start: Seconds = 300.0
    interruptions_per_hour: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    cpu: Quantity = float("inf")
    memory: Quantity = float("inf")
    labels: dict[str, str] = Field(default_factory=dict)
    taints: list[_Taint] = Field(default_factory=list)
    gpu_memory: Quantity | None = None


class _Knative(_Written):
    features: list[Literal[KNATIVE_FEATURES]] = Field(default_factory=list)  # type: ignore[valid-type]


class _Fleet(_Written):
    pools: list[_Pool] = Field(min_length=1)
    knative: _Knative = Field(default_factory=_Knative)
    priority_class_name: str = ""


def read_fleet(text: str, file: str) -> Fleet:
    """The fleet in a file. Raises ManifestError with every fault and its line."""
    documents = read_documents(text, file)
    if len(documents) != 1:
        raise ManifestError(
            Problem(file=file, what="one YAML document with `pools` is needed", found=str(len(documents)))
        )
    root = documents[0]
    try:
        written = _Fleet.model_validate(root.plain())
    except ValidationError as error:
        raise ManifestError(*(_problem(fault, root) for fault in error.errors())) from error
    problems: list[Problem] = []
    pools = tuple(
        pool for index, each in enumerate(written.pools) if (pool := _pool(each, _at(root, ("pools", index)), problems))
    )
    problems += _twice(pools, root)
    if problems:
        raise ManifestError(*problems)
    return Fleet(
        pools=pools, knative_features=frozenset(written.knative.features), priority_class=written.priority_class_name
    )


def _pool(written: _Pool, node: Node, problems: list[Problem]) -> Pool | None:
    before = len(problems)
    model = _model(written, node, problems)
    names = _node_names(written, node, problems)
    sharing = Sharing(written.sharing.kind) if written.sharing else Sharing.NONE
    naming = Naming(
        strategy=MigStrategy(written.mig),
        sharing=sharing,
        rename_by_default=written.sharing.rename_by_default if written.sharing else True,
        renamed=written.resource_names,
        dra=written.dra,
    )
    slices = tuple(written.slices) if written.slices is not None else default_slices(model, naming)
    if model is not None:
        _check_slices(written, model, node, problems)
    if len(problems) > before:
        return None
    provider = PROVIDERS[written.provider]
    pool = Pool(
        name=written.name,
        node_names=names,
        provider=provider,
        gpu=model,
        gpus_per_node=written.gpus_per_node if model else 0,
        product=written.product or (model.products[0] if model and model.products else ""),
        slices=tuple(part for part in slices if part != "gpu"),
        whole=written.slices is None or "gpu" in slices,
        layout=tuple(written.layout) if written.layout is not None else None,
        shares=written.sharing.replicas if written.sharing else 0,
        naming=naming,
        price_per_hour=written.price_per_hour,
        spot=written.spot,
        notice_s=provider.notice_s if written.notice is None else written.notice,
        start_s=written.start,
        interruptions_per_hour=written.interruptions_per_hour if written.spot else 0.0,
        cpu_cores=written.cpu,
        memory_bytes=written.memory,
        labels=written.labels,
        taints=tuple(Taint(key=taint.key, value=taint.value, effect=taint.effect) for taint in written.taints),
    )
    try:
        _ = pool.shape
    except ValueError as error:
        problems.append(node.get("layout").problem(str(error), found=""))
        return None
    return pool


def _model(written: _Pool, node: Node, problems: list[Problem]) -> GpuModel | None:
    """The GPU a pool names; one that has no MIG and is not in the table needs its memory."""
    if written.gpu is None:
        return None
    known = BY_KEY.get(written.gpu)
    if known is None and written.gpu_memory is not None:
        return GpuModel(key=written.gpu, family=written.gpu, memory_gib=written.gpu_memory / 2**30)
    if known is None:
        allowed = ", ".join(BY_KEY) + "; or any other name with gpuMemory beside it"
        problems.append(node.get("gpu").problem("not a GPU that is known", allowed=allowed))
    return known


def _node_names(written: _Pool, node: Node, problems: list[Problem]) -> tuple[str, ...]:
    if isinstance(written.nodes, list):
        if len(set(written.nodes)) < len(written.nodes) or not written.nodes:
            problems.append(node.get("nodes").problem("names, each once, are needed", found=""))
        return tuple(written.nodes)
    if not 1 <= written.nodes <= _MOST_NODES:
        problems.append(
            node.get("nodes").problem("not a number of nodes", allowed=f"1 to {_MOST_NODES}, or their names")
        )
        return ()
    width = len(str(written.nodes - 1))
    return tuple(f"{written.name}-{index:0{width}}" for index in range(written.nodes))


def _check_slices(written: _Pool, model: GpuModel, node: Node, problems: list[Problem]) -> None:
    parts = [profile.name for profile in model.profiles]
    allowed = ", ".join([*parts, "gpu"])
    for field, names in (("slices", written.slices), ("layout", written.layout)):
        for name in names or ():
            if name != "gpu" and model.profile(name) is None:
                problems.append(node.get(field).problem(f"no part of {model.key}", found=name, allowed=allowed))
    cut = written.slices or written.layout
    if cut and written.sharing:
        problems.append(node.get("sharing").problem("a pool is cut or shared, not both", found=written.sharing.kind))
    if cut and set(cut) != {"gpu"} and written.mig == "none":
        problems.append(node.get("mig").problem("slices need strategy single or mixed"))
    if written.mig == "single" and len(set(cut or ())) != 1:
        what = "strategy single shows all slices of a node as nvidia.com/gpu, so one kind of slice is needed"
        problems.append(node.get("mig").problem(what, found=", ".join(cut or ("none",)), allowed="slices: [1g.10gb]"))


def _twice(pools: Sequence[Pool], root: Node) -> list[Problem]:
    seen: set[str] = set()
    found = []
    for what, names in (
        ("pool", [pool.name for pool in pools]), ("node", [name for pool in pools for name in pool.node_names]),
    ):  # fmt: skip
        for name in names:
            if (key := f"{what} {name}") in seen:
                found.append(root.get("pools").problem(f"{key} stands twice", found=""))
            seen.add(key)
    return found


def _at(root: Node, path: Sequence[str | int]) -> Node:
    """The deepest node on a path that was written."""
    node = root
    for step in path:
        if isinstance(step, int) and isinstance(node.value, tuple) and step < len(node.value):
            node = node.value[step]
        elif isinstance(step, str) and isinstance(node.value, dict):
            node = node.get(step)
        else:
            break
    return node


def _problem(fault: ErrorDetails, root: Node) -> Problem:
    place = _at(root, fault["loc"])
    if fault["type"] == "extra_forbidden":
        owner = _Pool if "pools" in fault["loc"] else _Fleet
        known = ", ".join(to_camel(name) for name in owner.model_fields)
        return place.problem("unknown field", found=str(fault["loc"][-1]), allowed=known)
    if fault["type"] == "missing":
        return place.problem("missing", found="")
    message = fault["msg"].removeprefix("Value error, ")
    return place.problem("not what is needed here", allowed=message)


def write_fleet(fleet: Fleet) -> Mapping[str, Any]:
    """The fleet as fleet.yaml has it, fields left out that have their usual value."""
    record: dict[str, Any] = {"pools": [_written(pool) for pool in fleet.pools]}
    if fleet.knative_features:
        record["knative"] = {"features": sorted(fleet.knative_features)}
    if fleet.priority_class:
        record["priorityClassName"] = fleet.priority_class
    return record


def _written(pool: Pool) -> dict[str, Any]:
    record: dict[str, Any] = {"name": pool.name, "provider": pool.provider.key, "nodes": list(pool.node_names)}
    if pool.gpu is not None:
        record |= {"gpu": pool.gpu.key, "gpusPerNode": pool.gpus_per_node}
        if pool.gpu.key not in BY_KEY:
            record["gpuMemory"] = format_mebibytes(pool.gpu.memory_gib * 2**30)
        if pool.product and pool.product not in pool.gpu.products[:1]:
            record["product"] = pool.product
        record["mig"] = pool.naming.strategy.value
    if pool.shares:
        kind = pool.naming.sharing.value
        record["sharing"] = {"kind": kind, "replicas": pool.shares, "renameByDefault": pool.naming.rename_by_default}
    elif pool.layout is not None:
        record["layout"] = list(pool.layout)
    elif pool.gpu is not None and pool.slices and pool.slices != default_slices(pool.gpu, pool.naming):
        record["slices"] = [*pool.slices, *(["gpu"] if pool.whole else [])]
    if pool.naming.renamed:
        record["resourceNames"] = dict(pool.naming.renamed)
    if pool.naming.dra:
        record["dra"] = True
    if pool.price_per_hour is not None:
        record["pricePerHour"] = pool.price_per_hour
    if pool.spot:
        record |= {"spot": True, "interruptionsPerHour": pool.interruptions_per_hour}
        record |= {"notice": format_duration(pool.notice_s)} if pool.notice_s else {}
    record["start"] = format_duration(pool.start_s)
    record |= {"cpu": format_cpu(pool.cpu_cores)} if pool.cpu_cores < float("inf") else {}
    record |= {"memory": format_mebibytes(pool.memory_bytes)} if pool.memory_bytes < float("inf") else {}
    record |= {"labels": dict(pool.labels)} if pool.labels else {}
    if pool.taints:
        record["taints"] = [{"key": t.key, "value": t.value, "effect": t.effect} for t in pool.taints]
    return record
