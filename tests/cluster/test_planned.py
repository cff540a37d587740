"""What `verify --isvc` takes from a cluster: the plan in its ConfigMap, and the address to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.objects_of_a_cluster import service
from factories import intent, profile, request

from kserve_ext.cli.cluster_verify import _prediction, _target
from kserve_ext.cluster.planned import read_planned
from kserve_ext.domain import Plan, Protocol
from kserve_ext.errors import ClusterError
from kserve_ext.policy import plan
from kserve_ext.render.bundle import render_plan


@pytest.fixture
def decided() -> Plan:
    found = plan(request(intent(), profile()))
    assert isinstance(found, Plan)
    return found


def written(decided: Plan) -> dict[str, Any]:
    """The plan as it stands in the ConfigMap."""
    found: dict[str, Any] = yaml.safe_load(render_plan(decided)["data"]["plan.yaml"])
    return found


def test_a_plan_read_back_is_what_was_rendered(decided: Plan) -> None:
    found = read_planned(written(decided), "digits")
    assert (found.slo, found.stages, found.prediction) == (decided.slo, decided.stages, decided.prediction)
    assert (found.model, found.protocol, found.concurrency_limit) == (
        decided.model,
        decided.protocol,
        decided.concurrency_limit,
    )


@pytest.mark.parametrize(("values", "said"), [({}, "has no plan"), ({"model": "m"}, "another release")])
def test_a_service_without_a_plan_or_with_one_of_another_release_is_said(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        read_planned(values, "digits")


def test_the_plans_own_figure_stands_for_its_own_rate_only(decided: Plan, tmp_path: Path) -> None:
    planned = read_planned(written(decided), "digits")
    rate = decided.prediction.rate_rps
    assert _prediction(planned, rate * 1.01, tmp_path)[0] == decided.prediction
    none, why = _prediction(planned, rate * 2, tmp_path)
    assert (none, "nothing is predicted" in why) == (None, True)


@pytest.mark.parametrize(
    ("via", "reached", "authority"),
    [
        (None, "digits-models.example.com:80", None),
        ("http://10.0.0.1:31080", "10.0.0.1:31080", "digits-models.example.com"),
        ("10.0.0.1:31080", "10.0.0.1:31080", "digits-models.example.com"),
    ],
)
def test_an_ingress_is_asked_for_the_host_of_the_service(via: str | None, reached: str, authority: str | None) -> None:
    target = _target(service(), via, "digits")
    assert (target.address, target.authority, target.model) == (reached, authority, "digits")


def test_a_grpc_service_is_asked_over_grpc_through_the_same_ingress() -> None:
    grpc = service()
    grpc["metadata"]["annotations"]["kserve-ext.dev/protocol"] = "grpc"
    target = _target(grpc, "http://10.0.0.1:31080", "digits")
    assert (target.protocol, target.tls, target.authority) == (Protocol.GRPC, False, "digits-models.example.com")
