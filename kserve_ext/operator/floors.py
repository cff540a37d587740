"""Which Revision carries a service's floor, and the patch that raises or removes it. Pure.

The floor is `min-scale` on the live Revision. What it was before is kept beside it, under Knative's own prefix: any
other annotation of a Revision is copied to its pods, and would restart them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.objects import dig, entries

Object = Mapping[str, Any]

PREFIX = "autoscaling.knative.dev/"
MIN_SCALE, MAX_SCALE = PREFIX + "min-scale", PREFIX + "max-scale"
BASE = PREFIX + "kserve-ext-base"  # min-scale as it was before the floor; empty: there was none
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
STUCK_S = 20.0  # so long may a raised floor show no effect before the service is woken by a request


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The Revision that takes a service's traffic, and how it stands."""

    namespace: str
    revision: str
    base: int
    most: int | None
    ready: int
    desired: int  # -1: the autoscaler has not decided, as after its restart
    unschedulable: bool


def target_of(service: Object, revision: Object | None, autoscaler: Object | None) -> Target | str:
    """The Revision to carry the floor; or, in words, why none can."""
    latest, shares = live_revision(service)
    if not latest:
        return "no Revision is ready"
    if shares.get(latest, 0) < 100 and len(shares) > 1:
        return f"traffic is split between {', '.join(sorted(shares))}"
    if revision is None:
        return f"Revision {latest} is not there"
    annotations = revision["metadata"].get("annotations") or {}
    if annotations.get(PREFIX + "class", "kpa.autoscaling.knative.dev") != "kpa.autoscaling.knative.dev":
        return f"Revision {latest} is not scaled by Knative's pod autoscaler"
    return Target(
        namespace=str(service["metadata"]["namespace"]), revision=latest,
        base=_count(annotations.get(BASE, annotations.get(MIN_SCALE))), most=_count(annotations.get(MAX_SCALE)) or None,
        ready=_count(dig(autoscaler, "status", "actualScale")),
        desired=int(-1 if (seen := dig(autoscaler, "status", "desiredScale")) is None else seen),
        unschedulable=_unschedulable(revision),
    )  # fmt: skip


def live_revision(service: Object) -> tuple[str, dict[str, int]]:
    """The latest ready Revision of a service, and the share of the traffic of each."""
    status = dig(service, "status", "components", "predictor") or {}
    shares = {str(one.get("revisionName", "")): int(one.get("percent") or 0) for one in entries(status, "traffic")}
    shares.pop("", None)
    return str(status.get("latestReadyRevision") or ""), {name: share for name, share in shares.items() if share}


def raised(target: Target, floor: int) -> int | None:
    """The min-scale that a floor means for this Revision; None where it is no more than it has without.

    Where nothing is ready and pods cannot be placed, a floor would keep Knative from ever seeing the Revision as reachable.
    """
    wanted = min(floor, target.most) if target.most else floor
    stuck = target.unschedulable and target.ready == 0
    return None if stuck or wanted <= target.base else wanted


def change(revision: Object, wanted: int | None) -> dict[str, Any] | None:
    """The merge patch that gives a Revision this min-scale, or back the one it had; None where it is so already."""
    annotations = revision["metadata"].get("annotations") or {}
    if wanted is None:
        return _patch({MIN_SCALE: annotations[BASE] or None, BASE: None}) if BASE in annotations else None
    now = annotations.get(MIN_SCALE)
    if BASE in annotations and now == str(wanted):
        return None
    return _patch({MIN_SCALE: str(wanted), BASE: annotations.get(BASE, now or "")})


def has_floor(revision: Object) -> bool:
    """Whether a Revision carries a floor of ours."""
    return BASE in (revision["metadata"].get("annotations") or {})


def service_name(revision: Object) -> str:
    """The InferenceService that a Revision is of."""
    return str((revision["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""))


def floor_of(revision: Object) -> int | None:
    """The min-scale that a Revision has by a floor of ours."""
    annotations = revision["metadata"].get("annotations") or {}
    return _count(annotations.get(MIN_SCALE)) if BASE in annotations else None


def needs_waking(target: Target, wanted: int | None, since_s: float) -> bool:
    """Whether a raised floor has no effect: an autoscaler that has not decided yet ignores min-scale until a request comes."""
    return wanted is not None and target.ready == 0 and target.desired < 0 and since_s >= STUCK_S


def _patch(annotations: Mapping[str, str | None]) -> dict[str, Any]:
    return {"metadata": {"annotations": dict(annotations)}}


def _unschedulable(revision: Object) -> bool:
    for one in entries(revision, "status", "conditions"):
        if one.get("type") == "ResourcesAvailable" and one.get("status") == "False":
            return "chedul" in f"{one.get('reason', '')} {one.get('message', '')}"
    return False


def _count(text: Any) -> int:
    try:
        return max(0, int(text or 0))
    except (TypeError, ValueError):
        return 0
