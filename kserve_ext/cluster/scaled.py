"""What a HorizontalPodAutoscaler and a recommender say of a service in Standard mode. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.cluster.objects import Object, dig, entries
from kserve_ext.cluster.snapshot import condition
from kserve_ext.units import parse_quantity

_CONTAINER = "kserve-container"


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """A HorizontalPodAutoscaler of the predictor; `problem` says why it sets nothing, where it does not."""

    name: str
    min_replicas: int
    max_replicas: int
    desired: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """One resource of the model's container: what is asked for and what a VerticalPodAutoscaler recommends."""

    resource: str  # cpu, memory
    requested: str  # as written; empty: nothing is
    target: str

    @property
    def ratio(self) -> float | None:
        """Recommended over requested."""
        requested = float(parse_quantity(self.requested)) if self.requested else 0.0
        return float(parse_quantity(self.target)) / requested if requested else None


def autoscaler_of(found: Sequence[Object], deployment: str) -> Autoscaler | None:
    """The HorizontalPodAutoscaler of a Deployment, if one of those found is."""
    for one in found:
        if dig(one, "spec", "scaleTargetRef", "name") == deployment:
            active = condition(one, "ScalingActive")
            return Autoscaler(
                name=str(dig(one, "metadata", "name")), min_replicas=int(dig(one, "spec", "minReplicas") or 1),
                max_replicas=int(dig(one, "spec", "maxReplicas") or 1),
                desired=int(dig(one, "status", "desiredReplicas") or 0),
                problem=str(active.get("message", "")) if active.get("status") == "False" else "",
            )  # fmt: skip
    return None


def recommended_of(recommender: Object, deployment: Object) -> tuple[Recommended, ...]:
    """What a VerticalPodAutoscaler recommends beside what the Deployment's pods ask for; empty: nothing yet."""
    asked = _container(entries(deployment, "spec", "template", "spec", "containers"), "name")
    told = _container(entries(recommender, "status", "recommendation", "containerRecommendations"), "containerName")
    return tuple(
        Recommended(
            resource=name,
            requested=str(dig(asked, "resources", "requests", name) or ""),
            target=str(told["target"][name]),
        )
        for name in ("cpu", "memory")
        if name in (told.get("target") or {})
    )


def _container(found: Sequence[Object], key: str) -> Object:
    return next((one for one in found if one.get(key) == _CONTAINER), {})
