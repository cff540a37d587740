"""What `verify --isvc` needs of a cluster: where the service answers, what it was planned for, what is predicted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kserve_ext.bench.target import Target
    from kserve_ext.cluster import Cluster
    from kserve_ext.cluster.planned import Planned
    from kserve_ext.domain import Prediction, Slo

_PREDICTED_REQUESTS = 20_000
_SAME_RATE = 0.05  # a prediction for a rate this near is one for this rate


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLoad:
    """A load on a service: where to, how much, by what it is judged, and what each replica should then do."""

    target: Target
    slo: Slo
    rate_rps: float  # 0 in closed loop
    replicas: int
    predicted: Prediction | None
    note: str  # why nothing is predicted, or what the prediction leaves out


def service_load(
    cluster: Cluster, name: str, *, via: str | None, model: str | None, slo_p99_s: float | None, rate_rps: float | None,
    closed_loop: bool, repository: Path,
) -> ServiceLoad:  # fmt: skip
    """The load for an InferenceService: what its plan says, with what is asked for in its place.

    Raises InputError, ClusterError, UnreachableError while it has no URL.
    """
    from kserve_ext.cluster import find_service, plan_of, take
    from kserve_ext.cluster.planned import read_planned
    from kserve_ext.cluster.snapshot import ready_pods
    from kserve_ext.domain import Slo

    service = find_service(cluster, name, cluster.namespace)
    plan = plan_of(cluster, name, cluster.namespace)
    alone = bool(model and slo_p99_s and (rate_rps or closed_loop))  # no plan is needed
    planned = read_planned(plan, name) if plan or not alone else None
    replicas = max(1, len(ready_pods(take(cluster, service))))
    slo = planned.slo if planned else Slo(p99_s=slo_p99_s or 0.0)
    if rate_rps is None and not closed_loop:
        assert planned is not None
        rate_rps = planned.prediction.rate_rps * replicas
    rate = rate_rps or 0.0
    predicted, note = _prediction(planned, rate / replicas, repository) if planned and rate else (None, "")
    target = _target(service, via, model or (planned.model if planned else ""))
    return ServiceLoad(
        target=target, slo=replace(slo, p99_s=slo_p99_s) if slo_p99_s else slo, rate_rps=rate, replicas=replicas,
        predicted=predicted, note=note,
    )  # fmt: skip


def _target(service: object, via: str | None, model: str) -> Target:
    """The public URL; with `via` the address of an ingress, asked for the URL's host as a gateway routes by it."""
    from kserve_ext.bench.target import parse_target
    from kserve_ext.client.endpoint import service_url

    public = parse_target(service_url(service, inside=False), model=model)  # type: ignore[arg-type]
    if via is None:
        return public
    plain = via.partition("://")[2] or via
    reached = parse_target(f"{plain}", model=model, protocol=public.protocol, authority=public.host)
    return replace(reached, tls=via.startswith(("https://", "grpcs://")))


def _prediction(planned: Planned, rate_rps: float, repository: Path) -> tuple[Prediction | None, str]:
    """What one replica does at this rate: from the model's profile where it is at hand, else the plan's own figure."""
    from kserve_ext.library import profile_path, read_profile
    from kserve_ext.policy import Settings
    from kserve_ext.policy.replica import build_replica, predict

    file = profile_path(repository, planned.model, planned.hardware)
    outside = "predicted for the server alone: ingress, activator and queue-proxy come on top"
    if file.exists():
        replica = build_replica(read_profile(file, model=planned.model))
        found = predict(
            replica, planned.stages, rate_rps, settings=Settings(), requests=_PREDICTED_REQUESTS,
            concurrency_limit=planned.concurrency_limit or None,
        )  # fmt: skip
        return found, outside
    at = planned.prediction.rate_rps
    if abs(rate_rps - at) <= _SAME_RATE * at:
        return planned.prediction, outside
    return None, f"nothing is predicted: the plan knows {at:.4g} rps a replica only, and {file} is not there"
