"""Reads from a cluster all that belongs to one InferenceService, and all that the linter and the fleet planner judge by."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.history import LABEL, Entry, read_history
from kserve_ext.cluster.objects import Object, Ref, dig
from kserve_ext.cluster.snapshot import Snapshot, event_time_s
from kserve_ext.errors import InputError, Problem, RejectedError

log = logging.getLogger(__name__)

SERVING = "serving.kserve.io/v1beta1"
RUNTIMES = "serving.kserve.io/v1alpha1"
KNATIVE = "serving.knative.dev/v1"
AUTOSCALING = "autoscaling.internal.knative.dev/v1alpha1"
_HORIZONTAL = ("autoscaling/v2", "HorizontalPodAutoscaler")
_VERTICAL = ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler")

_COMPONENTS = ("predictor", "transformer", "explainer")
_CONFIG_MAPS = (  # what rules of the linter look into
    ("knative-serving", "config-features"), ("knative-serving", "config-autoscaler"), ("knative-serving", "config-defaults"),
    ("knative-serving", "config-deployment"), ("kserve", "inferenceservice-config"),
)  # fmt: skip


def service_ref(name: str, namespace: str) -> Ref:
    return Ref(api_version=SERVING, kind="InferenceService", namespace=namespace, name=name)


def find_service(cluster: Cluster, name: str, namespace: str) -> Object:
    """The InferenceService. Raises InputError, naming those that there are, where it is not there."""
    found = cluster.get(service_ref(name, namespace))
    if found is not None:
        return found
    names = ", ".join(
        str(dig(one, "metadata", "name")) for one in cluster.list(SERVING, "InferenceService", namespace=namespace)
    )
    cluster.has_kind(SERVING, "InferenceService") or cluster.list(SERVING, "InferenceService")
    raise InputError(
        Problem(what=f"no such InferenceService in namespace {namespace} of {cluster.name}", field="NAME", found=name,
                allowed=names or "there is none in this namespace")
    )  # fmt: skip


def take(cluster: Cluster, service: Object) -> Snapshot:
    """The service with all that it brought about, as it is now."""
    name, namespace = str(service["metadata"]["name"]), str(service["metadata"]["namespace"])
    child = f"{name}-predictor"
    mine = f"serving.kserve.io/inferenceservice={name}"
    of_child = f"serving.knative.dev/service={child}"
    has_knative = cluster.has_kind(KNATIVE, "Service")
    in_knative = Ref(api_version=KNATIVE, kind="Service", namespace=namespace, name=child)
    recommender = Ref(api_version=_VERTICAL[0], kind=_VERTICAL[1], namespace=namespace, name=f"{name}-recommender")
    in_standard = Ref(api_version="apps/v1", kind="Deployment", namespace=namespace, name=child)
    return Snapshot(
        service=service,
        knative_service=(cluster.get(in_knative) if has_knative else None) or {},
        deployment=cluster.get(in_standard) or {},
        revisions=cluster.list(KNATIVE, "Revision", namespace=namespace, labels=of_child) if has_knative else (),
        autoscalers=_readable(cluster, AUTOSCALING, "PodAutoscaler", namespace, of_child) if has_knative else (),
        horizontal=_readable(cluster, *_HORIZONTAL, namespace, "") if cluster.has_kind(*_HORIZONTAL) else (),
        recommender=_readable_one(cluster, recommender),
        pods=cluster.list("v1", "Pod", namespace=namespace, labels=mine),
        events=_events(cluster, name, namespace),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read_bundles(cluster: Cluster, name: str, namespace: str) -> tuple[Entry, ...]:
    """What was applied for a service before, the oldest first."""
    return read_history(cluster.list("v1", "ConfigMap", namespace=namespace, labels=f"{LABEL}={name}"))


def plan_of(cluster: Cluster, name: str, namespace: str) -> Object:
    """The plan that was applied with a service, from its ConfigMap; empty where there is none."""
    import yaml

    found = cluster.get(Ref(api_version="v1", kind="ConfigMap", namespace=namespace, name=f"{name}-plan"))
    text = dig(found, "data", "plan.yaml")
    read = yaml.safe_load(text) if isinstance(text, str) else None
    return read if isinstance(read, dict) else {}


def learned_of(cluster: Cluster, name: str, namespace: str) -> Object:
    """What the operator learned of a service, from its ConfigMap; empty where there is none."""
    found = cluster.get(Ref(api_version="v1", kind="ConfigMap", namespace=namespace, name=f"{name}-learned"))
    text = dig(found, "data", "learned.json")
    read = json.loads(text) if isinstance(text, str) else None
    return read if isinstance(read, dict) else {}


def facts_text(cluster: Cluster) -> tuple[str, tuple[str, ...]]:
    """What the linter judges by, as JSON, and a note for each kind that may not be read."""
    found: list[Object] = []
    notes = []
    for api_version, kind in (
        ("v1", "Node"), ("v1", "ResourceQuota"), (RUNTIMES, "ServingRuntime"), (RUNTIMES, "ClusterServingRuntime"),
    ):  # fmt: skip
        try:
            found += cluster.list(api_version, kind) if cluster.has_kind(api_version, kind) else ()
        except RejectedError as error:
            notes.append(f"not judged by {kind}s: {error.message}")
    for namespace, name in _CONFIG_MAPS:
        try:
            config = cluster.get(Ref(api_version="v1", kind="ConfigMap", namespace=namespace, name=name))
        except RejectedError as error:
            notes.append(f"not judged by {namespace}/{name}: {error.message}")
            continue
        found += [{"apiVersion": "v1", "kind": "ConfigMap", **config}] if config is not None else []
    items = [
        {key: value for key, value in one.items() if key != "metadata"} | {"metadata": _short(one)} for one in found
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), tuple(notes)


def nodes_text(cluster: Cluster) -> str:
    """The nodes as `kubectl get nodes -o json` prints them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(cluster.list("v1", "Node"))})


def _short(found: Object) -> Object:
    metadata = dig(found, "metadata") or {}
    return {key: value for key, value in metadata.items() if key in ("name", "namespace", "labels")}


def _readable(cluster: Cluster, api_version: str, kind: str, namespace: str, labels: str) -> tuple[Object, ...]:
    """Objects that a person may have no right to see, and can do without."""
    try:
        return cluster.list(api_version, kind, namespace=namespace, labels=labels)
    except RejectedError as error:
        log.debug("without %ss: %s", kind, error)
        return ()


def _readable_one(cluster: Cluster, ref: Ref) -> Object:
    try:
        return cluster.get(ref) or {}
    except RejectedError as error:
        log.debug("without %s: %s", ref, error)
        return {}


def _events(cluster: Cluster, name: str, namespace: str) -> tuple[Object, ...]:
    starts = tuple(f"{name}-{component}" for component in _COMPONENTS)
    found: Sequence[Object] = _readable(cluster, "v1", "Event", namespace, "")
    mine = [one for one in found if _is_about(str(dig(one, "involvedObject", "name") or ""), name, starts)]
    return tuple(sorted(mine, key=event_time_s))


def _is_about(about: str, name: str, starts: tuple[str, ...]) -> bool:
    return about == name or any(about == start or about.startswith(f"{start}-") for start in starts)
