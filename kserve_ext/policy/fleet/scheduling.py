"""Where the pods of a service may go, written into its InferenceService: resources, selectors, tolerations, spread.

A rendered manifest in, a copy with the fields filled in out; what the user wrote stays. In Knative mode a field that
needs a podspec flag which is off is left out, and a note says which flag to switch on: KServe would take the manifest
and the Knative Service would then fail. Written for one kind of part per service, as one InferenceService has it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_ext.domain import Reason
from kserve_ext.policy.fleet.shapes import CPU
from kserve_ext.policy.fleet.types import Fleet, Pool
from kserve_ext.policy.gpu.names import GPU, PRODUCT_LABEL, MigStrategy, product_label, resource_name
from kserve_ext.policy.gpu.providers import HOST, ZONE, Taint

POD_LABEL = "serving.kserve.io/inferenceservice"  # KServe puts it on the pods of both modes
_MAIN_CONTAINER = "kserve-container"
_FLAGS = {  # field of a pod: Knative's flag in config-features, all off by default
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "tolerations": "kubernetes.podspec-tolerations",
    "affinity": "kubernetes.podspec-affinity",
    "topologySpreadConstraints": "kubernetes.podspec-topologyspreadconstraints",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a fleet plan decided for one service: its kind, in which pools its replicas lie, what is free beside."""

    service: str
    kind: str  # a100-80gb/1g.10gb, l4/gpu, cpu
    replicas: Mapping[str, int]  # by pool
    spare: int  # free parts of that kind in those pools

    @property
    def part(self) -> str:
        return self.kind.partition("/")[2] or CPU

    @property
    def total(self) -> int:
        return sum(self.replicas.values())


def schedule(
    manifest: Mapping[str, Any], placement: Placement, fleet: Fleet, *, knative: bool
) -> tuple[dict[str, Any], tuple[Reason, ...]]:
    """The manifest with everything that brings its pods to their parts, and notes on what could not be written."""
    new: dict[str, Any] = copy.deepcopy(dict(manifest))
    predictor = new.setdefault("spec", {}).setdefault("predictor", {})
    pools = tuple(pool for pool in fleet.pools if pool.name in placement.replicas)
    notes: list[Reason] = []
    if placement.kind != CPU:
        notes += _resources(predictor, placement, pools)
    name = str(new.get("metadata", {}).get("name", ""))
    fields: dict[str, Any] = {
        "nodeSelector": _node_selector(placement, pools),
        "tolerations": _tolerations(pools),
        "affinity": _affinity(placement, pools),
        "topologySpreadConstraints": _spread(name, placement, pools),
        "priorityClassName": fleet.priority_class,
    }
    for field, value in fields.items():
        if value:
            notes += _write(predictor, field, value, fleet, knative=knative)
    notes += _rollout(predictor, placement, knative=knative)
    return new, tuple(notes)


def _write(predictor: dict[str, Any], field: str, value: Any, fleet: Fleet, *, knative: bool) -> list[Reason]:
    flag = _FLAGS[field]
    if field in predictor and field not in ("nodeSelector", "tolerations"):
        return []
    if knative and flag.removeprefix("kubernetes.podspec-") not in fleet.knative_features:
        text = (
            f"left out: Knative refuses it while {flag} is off; switch it on with kubectl patch configmap/config-features "
            f'-n knative-serving --type merge -p \'{{"data":{{"{flag}":"enabled"}}}}\' and name it in fleet.yaml under '
            "knative.features"
        )
        return [Reason(field=f"spec.predictor.{field}", code="knative-flag-off", text=text)]
    if field == "nodeSelector":
        predictor[field] = {**value, **predictor.get(field, {})}
    elif field == "tolerations":
        own = list(predictor.get(field, ()))
        predictor[field] = own + [each for each in value if each not in own]
    else:
        predictor[field] = value
    return []


def _resources(predictor: dict[str, Any], placement: Placement, pools: Sequence[Pool]) -> list[Reason]:
    """Request = limit, one part a replica: extended resources cannot be had otherwise."""
    names = sorted({resource_name(placement.part, pool.naming) for pool in pools})
    containers = predictor.get("containers")
    if "model" in predictor or not containers:
        container = predictor.setdefault("model", {})
    else:
        container = next((one for one in containers if one.get("name") == _MAIN_CONTAINER), containers[0])
    resources = container.setdefault("resources", {})
    for lists in ("requests", "limits"):
        amounts = resources.setdefault(lists, {})
        for other in [key for key in amounts if key.startswith("nvidia.com/") and key != names[0]]:
            del amounts[other]  # what the planner wrote for the kind it planned on, by its usual name
        amounts[names[0]] = "1"
    if len(names) == 1:
        return []
    text = f"its pools call this part {' and '.join(names)}; a pod can ask for one of them, so only {names[0]} is used"
    return [Reason(field="spec.predictor.model.resources", code="resource-names-differ", text=text)]


def _node_selector(placement: Placement, pools: Sequence[Pool]) -> dict[str, str]:
    """Labels that all pools share and that tell the part from others of the same resource name."""
    if placement.kind == CPU or not pools:
        return {}
    found: list[dict[str, str]] = []
    for pool in pools:
        labels: dict[str, str] = {}
        if pool.provider.gpu_label and pool.gpu is not None and pool.gpu.gke:
            labels[pool.provider.gpu_label] = pool.gpu.gke
            if pool.naming.strategy is MigStrategy.SINGLE and placement.part not in ("gpu", "shared"):
                labels[pool.provider.slice_label] = placement.part
        else:
            labels |= product_label(pool.product, placement.part, pool.naming)
        if PRODUCT_LABEL in labels and placement.part not in ("gpu", "shared") and _is_mixed(pool):
            del labels[PRODUCT_LABEL]  # the resource's own name says it; on a cut node the label may differ
        found.append(labels)
    common = set(found[0].items()).intersection(*(set(each.items()) for each in found[1:]))
    return dict(sorted(common | set(_own_labels(pools).items())))


def _is_mixed(pool: Pool) -> bool:
    return pool.naming.strategy is MigStrategy.MIXED


def _own_labels(pools: Sequence[Pool]) -> dict[str, str]:
    """Labels from the fleet file that all pools have."""
    return dict(set(pools[0].labels.items()).intersection(*(set(pool.labels.items()) for pool in pools[1:])))


def _tolerations(pools: Sequence[Pool]) -> list[dict[str, str]]:
    """One for each taint of the pools: the provider's for GPUs and for spot, and those in the fleet file."""
    taints: list[Taint] = []
    for pool in pools:
        taints += [*pool.taints]
        if pool.gpu is not None:
            taints.append(pool.provider.gpu_taint or Taint(key=GPU))
        if pool.spot and pool.provider.spot_taint is not None:
            taints.append(pool.provider.spot_taint)
    found = []
    for taint in dict.fromkeys(taints):
        same = {"operator": "Equal", "value": taint.value} if taint.value else {"operator": "Exists"}
        found.append({"key": taint.key, **same, "effect": taint.effect})
    return found


def _affinity(placement: Placement, pools: Sequence[Pool]) -> dict[str, Any]:
    """Only the pools that were planned for; among them spot is preferred, being what was planned as cheaper."""
    marked = [pool for pool in pools if pool.provider.spot_label]
    if not marked or len(marked) < len(pools):
        return {}
    label = marked[0].provider.spot_label
    if any(pool.provider.spot_label != label for pool in marked):
        return {}
    spot, steady = [p for p in pools if p.spot], [p for p in pools if not p.spot]
    terms: dict[str, Any] = {}
    if spot and not steady:
        terms["requiredDuringSchedulingIgnoredDuringExecution"] = _required(label, "In", marked[0].provider.spot_value)
    elif steady and not spot:
        terms["requiredDuringSchedulingIgnoredDuringExecution"] = _required(
            label, "NotIn", marked[0].provider.spot_value
        )
    else:
        preference = {"matchExpressions": [_expression(label, "In", marked[0].provider.spot_value)]}
        terms["preferredDuringSchedulingIgnoredDuringExecution"] = [{"weight": 100, "preference": preference}]
    return {"nodeAffinity": terms}


def _required(label: str, operator: str, value: str) -> dict[str, Any]:
    return {"nodeSelectorTerms": [{"matchExpressions": [_expression(label, operator, value)]}]}


def _expression(label: str, operator: str, value: str) -> dict[str, Any]:
    return {"key": label, "operator": operator, "values": [value]}


def _spread(name: str, placement: Placement, pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """Over zones and nodes where that is possible; between spot and other nodes so that enough stay.

    A skew of spot less the others keeps at least the planned number off spot: the scheduler fills no domain further
    ahead of the other than that. It counts domains by label, so it is written only where both sides have the label.
    """
    if placement.total < 2:
        return []
    selector = {"matchLabels": {POD_LABEL: name}}
    found: list[dict[str, Any]] = [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}
        for key in (ZONE, HOST)
    ]
    spot = sum(placement.replicas[pool.name] for pool in pools if pool.spot)
    steady = placement.total - spot
    providers = {pool.provider for pool in pools}
    if spot and steady and len(providers) == 1:
        provider = next(iter(providers))
        pair = len(pools) == 2
        key = provider.spot_label if provider.steady_value else provider.pool_label if pair else ""
        if key:
            skew = max(1, abs(spot - steady))
            found.append(
                {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
            )
    return found


def _rollout(predictor: dict[str, Any], placement: Placement, *, knative: bool) -> list[Reason]:
    """New pods before old ones only where there is a part to spare; else a pod goes before its successor comes."""
    if placement.kind == CPU:
        return []
    field = "spec.predictor.deploymentStrategy"
    if knative:
        if placement.spare >= placement.total:
            return []
        text = (
            f"a new revision needs {placement.total} parts of {placement.kind} beside the old one's and {placement.spare} are "
            "free, so its pods stay pending and the old revision keeps serving; keep parts free, roll out with the "
            "serving-progressive-rollout extension, or use Standard mode, where a pod can go before its successor comes"
        )
        return [Reason(field=field, code="knative-rollout-needs-spare", text=text)]
    if placement.spare >= 1:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": min(placement.spare, placement.total),
                                                              "maxUnavailable": 0}}  # fmt: skip
        text = f"{placement.spare} spare: new pods start before old ones end"
    elif placement.total > 1:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        text = f"no spare {placement.kind}: one of {placement.total} pods at a time makes room for its successor"
    else:
        strategy = {"type": "Recreate"}
        text = f"no spare {placement.kind} and one replica: the service is away while it is replaced"
    predictor.setdefault("deploymentStrategy", strategy)
    return [Reason(field=field, code="rollout-by-spare", text=text, numbers={"spare": float(placement.spare)})]
