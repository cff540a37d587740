"""What a person wants to know of a running service, from a snapshot, its plan and its history. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.cluster.causes import Cause
from kserve_ext.cluster.history import Entry
from kserve_ext.cluster.objects import Object, dig, entries
from kserve_ext.cluster.readiness import Phase, judge
from kserve_ext.cluster.scaled import Autoscaler, Recommended, autoscaler_of, recommended_of
from kserve_ext.cluster.snapshot import Snapshot, is_true, ready_pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Where a part of the traffic goes."""

    revision: str
    percent: int
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """One pod: where it runs and whether it answers."""

    name: str
    node: str
    revision: str
    ready: bool
    ending: bool
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The newest applied bundle, and the one a rollback would go to (0: none)."""

    number: int
    outcome: str
    applied_at: str
    back_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A service as it is now. `desired_replicas` is None where nothing says how many are wanted."""

    name: str
    namespace: str
    mode: str
    phase: Phase
    step: str
    causes: tuple[Cause, ...]
    url: str
    replicas_ready: int
    replicas_desired: int | None
    traffic: tuple[Share, ...]
    pods: tuple[PodState, ...]
    planned: Object  # the plan's values; empty where it was not planned
    learned: Object  # what the operator learned of it since; empty where it did not, or all is as planned
    autoscaler: Autoscaler | None  # of Standard mode
    recommended: tuple[Recommended, ...]
    bundle: Bundle | None


def status_of(
    found: Snapshot, history: Sequence[Entry] = (), plan: Object | None = None, learned: Object | None = None
) -> Status:
    """The status of one service."""
    from kserve_ext.cluster.history import to_go_back_to

    now, back = judge(found), to_go_back_to(history)
    newest = history[-1] if history else None
    return Status(
        name=found.name, namespace=found.namespace, mode="Knative" if found.knative else "Standard", phase=now.phase,
        step=now.step, causes=now.causes, url=str(dig(found.service, "status", "url") or ""),
        replicas_ready=len(ready_pods(found)), replicas_desired=_desired(found), traffic=_traffic(found),
        pods=tuple(map(_pod, found.pods)), planned=plan or {}, learned=learned or {},
        autoscaler=None if found.knative else autoscaler_of(found.horizontal, f"{found.name}-predictor"),
        recommended=recommended_of(found.recommender, found.deployment),
        bundle=None if newest is None else Bundle(
            number=newest.number, outcome=newest.outcome, applied_at=newest.applied_at, back_to=back.number if back else 0
        ),
    )  # fmt: skip


def _desired(found: Snapshot) -> int | None:
    if not found.knative:
        wanted = dig(found.deployment, "spec", "replicas")
        return None if wanted is None else int(wanted)
    scales = [dig(one, "status", "desiredScale") for one in found.autoscalers]
    decided = [int(scale) for scale in scales if scale is not None and scale >= 0]  # -1: not decided yet
    return sum(decided) if decided else None


def _traffic(found: Snapshot) -> tuple[Share, ...]:
    return tuple(
        Share(
            revision=str(one.get("revisionName", "")),
            percent=int(one.get("percent") or 0),
            tag=str(one.get("tag") or ""),
        )
        for one in entries(found.knative_service, "status", "traffic")
    )


def _pod(pod: Object) -> PodState:
    return PodState(
        name=str(dig(pod, "metadata", "name")), node=str(dig(pod, "spec", "nodeName") or ""), ready=is_true(pod, "Ready"),
        revision=str(dig(pod, "metadata", "labels", "serving.knative.dev/revision") or ""),
        ending=bool(dig(pod, "metadata", "deletionTimestamp")),
        restarts=sum(int(one.get("restartCount") or 0) for one in entries(pod, "status", "containerStatuses")),
    )  # fmt: skip
