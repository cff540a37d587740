"""The plan that was applied with a service, as `render` wrote it into its ConfigMap, read again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kserve_ext.domain import Prediction, Protocol, Slo, StagePlan
from kserve_ext.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a load on the service is judged by, and what it is predicted from."""

    model: str
    hardware: str
    protocol: Protocol
    slo: Slo
    stages: tuple[StagePlan, ...]
    concurrency_limit: int
    prediction: Prediction


def read_planned(plan: Mapping[str, Any], service: str) -> Planned:
    """The plan from the values in the ConfigMap. Raises ClusterError where there is none, or one of another release."""
    if not plan:
        raise ClusterError(
            f"{service} has no plan in its namespace: there is no ConfigMap {service}-plan",
            remedy="apply it with `kserve-ext apply`, or give --model, --slo-p99 and --rate",
        )
    try:
        return Planned(
            model=plan["model"],
            hardware=plan["hardware"],
            protocol=Protocol(plan["protocol"]),
            slo=Slo(**plan["slo"]),
            stages=tuple(StagePlan(**stage) for stage in plan["stages"]),
            concurrency_limit=plan["concurrency_limit"],
            prediction=Prediction(**plan["prediction"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ClusterError(
            f"the plan in ConfigMap {service}-plan is of another release: {error}", remedy="apply the service again"
        ) from error
