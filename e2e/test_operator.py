"""The operator on a real cluster: planned at `kubectl apply`, a floor ahead of traffic, and no floor left when it is gone."""

from __future__ import annotations

import time
from pathlib import Path

from e2e import support
from e2e.operated import OWN, TTL_S, emulated, kubectl_apply, operator, operators, revisions, team
from e2e.product import Product
from e2e.support import Cluster
from kserve_ext.operator.floors import BASE, MIN_SCALE
from kserve_ext.operator.records import history_configmap
from kserve_ext.policy.forecast.history import append, empty

__all__ = ["operator", "team"]  # the fixtures


def annotations(cluster: Cluster, namespace: str) -> dict[str, str]:
    (revision,) = revisions(cluster, namespace)
    found: dict[str, str] = revision["metadata"].get("annotations", {})
    return found


def test_a_service_is_planned_when_it_is_applied_and_serves(cluster: Cluster, team: str) -> None:
    told = kubectl_apply(cluster, team, emulated(), "--dry-run=server")
    assert told.startswith("0 ")
    assert "Warning: kserve-ext: planned for a100-1g.10gb" in told
    assert not cluster.list("inferenceservices", team)
    assert kubectl_apply(cluster, team, emulated()).startswith("0 ")
    cluster.wait_ready("isvc", "emulated", team, seconds=120)
    spec = cluster.get("isvc", "emulated", team)["spec"]["predictor"]
    assert spec["containerConcurrency"] == 19
    assert spec["model"]["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    assert cluster.get("configmap", "emulated-plan", team)["data"]["reasons.txt"]
    kubectl_apply(cluster, team, emulated())
    time.sleep(3)  # a second Revision would be there by now
    assert len(revisions(cluster, team)) == 1


def test_what_nothing_holds_is_refused_with_the_reason(cluster: Cluster, team: str) -> None:
    manifest = emulated()
    manifest["metadata"]["annotations"]["kserve-ext.dev/slo-p99"] = "1ms"
    told = kubectl_apply(cluster, team, manifest)
    assert told.startswith("1 ")
    assert "emulated: p99 of 1ms cannot be held on a100-1g.10gb" in told
    manifest["metadata"]["annotations"]["kserve-ext.dev/infeasible"] = "admit"
    told = kubectl_apply(cluster, team, manifest, "--dry-run=server")
    assert told.startswith("0 ")
    assert "admitted as written, not planned" in told


def test_a_service_applied_while_the_operator_is_away_is_planned_when_it_is_back(
    cluster: Cluster, team: str, tmp_path: Path
) -> None:
    cluster.kubectl("-n", OWN, "scale", "deployment", "kserve-ext-operator", "--replicas=0")
    support.poll("it is away", lambda: not operators(cluster), seconds=60)
    assert kubectl_apply(cluster, team, emulated()).startswith("0 ")
    assert "containerConcurrency" not in cluster.get("isvc", "emulated", team)["spec"]["predictor"]
    cluster.kubectl("-n", OWN, "scale", "deployment", "kserve-ext-operator", "--replicas=2")

    def planned() -> bool:
        return cluster.get("isvc", "emulated", team)["spec"]["predictor"].get("containerConcurrency") == 19

    support.poll("it is planned", planned, seconds=90)
    said = [event["reason"] for event in cluster.list("events", team)]
    assert "PlannedLate" in said
    assert "kserve-ext.dev/planned" in cluster.get("isvc", "emulated", team)["metadata"]["annotations"]
    cluster.wait_ready("isvc", "emulated", team, seconds=120)
    told = Product(cluster=cluster, namespace=team, folder=tmp_path).json("status", "emulated")
    assert told["planned"]["concurrency_limit"] == 19


def test_a_floor_is_raised_and_does_not_outlive_an_operator_that_is_killed_for_good(
    cluster: Cluster, team: str, operator: str
) -> None:
    now_s = int(time.time()) // 60 * 60
    history, _ = append(empty(60, 20_160), now_s - 6 * 3600, [30_000] * 360, 60)  # 500 a second for six hours
    cluster.apply(history_configmap(OWN, team, "emulated", history), OWN)
    kubectl_apply(cluster, team, emulated())
    cluster.wait_ready("isvc", "emulated", team, seconds=120)
    support.poll("a floor is raised", lambda: BASE in annotations(cluster, team), seconds=90)
    assert annotations(cluster, team)[MIN_SCALE] == "2"
    assert "FloorRaised" in [event["reason"] for event in cluster.list("events", team)]

    cluster.kubectl("-n", OWN, "scale", "deployment", "kserve-ext-operator", "--replicas=0")
    stopped = time.monotonic()
    try:
        support.poll("it is gone", lambda: not operators(cluster), seconds=60)
        assert BASE in annotations(cluster, team)  # a restart, or an upgrade, drops no floor
        support.poll("the guard removes the floor", lambda: BASE not in annotations(cluster, team), seconds=TTL_S + 40)
        print(f"floor removed {time.monotonic() - stopped:.0f} s after the operator was stopped, TTL {TTL_S} s")
        assert annotations(cluster, team)[MIN_SCALE] == "1"
        assert len(revisions(cluster, team)) == 1
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=operator)


def test_an_operator_that_is_uninstalled_takes_its_floors_along(cluster: Cluster, team: str, operator: str) -> None:
    now_s = int(time.time()) // 60 * 60
    history, _ = append(empty(60, 20_160), now_s - 6 * 3600, [30_000] * 360, 60)
    cluster.apply(history_configmap(OWN, team, "emulated", history), OWN)
    kubectl_apply(cluster, team, emulated())
    cluster.wait_ready("isvc", "emulated", team, seconds=120)
    support.poll("a floor is raised", lambda: BASE in annotations(cluster, team), seconds=90)
    try:
        cluster.kubectl("-n", OWN, "delete", "deployment", "kserve-ext-operator")
        support.poll("the floor is gone", lambda: BASE not in annotations(cluster, team), seconds=TTL_S - 10)
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=operator)
