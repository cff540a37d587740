"""The operator on a real cluster: planned at `kubectl apply`, a floor ahead of traffic, and no floor left when it is gone."""

from __future__ import annotations

import copy
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import support
from e2e.product import Product
from e2e.support import Cluster
from kserve_ext.operator.floors import BASE, MIN_SCALE
from kserve_ext.operator.models import configmap_of
from kserve_ext.operator.records import history_configmap
from kserve_ext.policy.forecast.history import append, empty

ROOT = Path(__file__).parents[1]
OWN = "kserve-ext"
TTL_S = 30


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Iterator[str]:
    """The operator as `kubectl apply -k manifests` installs it, with a short TTL and many rounds."""
    support.poll("the webhook is trusted", lambda: _trusted(cluster), seconds=180)  # nobody does anything but apply
    deployments = [one for one in _kustomized(cluster) if one["kind"] == "Deployment"]
    text = yaml.safe_dump_all(map(_hurried, deployments))
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    try:
        for name in ("kserve-ext-operator", "kserve-ext-guard"):
            cluster.kubectl("-n", OWN, "rollout", "status", "deployment", name, "--timeout=120s", timeout_s=150)
        yield text
    finally:
        as_it_was = yaml.safe_dump_all(deployments)
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=as_it_was)


def _kustomized(cluster: Cluster) -> list[dict[str, Any]]:
    text = cluster.kubectl("kustomize", ROOT / "manifests/operator")
    return [one for one in yaml.safe_load_all(text) if one]


def _hurried(deployment: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(deployment)
    result["spec"]["template"]["spec"]["containers"][0]["args"] += [f"--floor-ttl={TTL_S}s", "--every=3s"]
    return result


@pytest.fixture
def team(cluster: Cluster, operator: str, namespace: str) -> str:
    """A namespace that asks the operator, with the profile of the emulated model."""
    cluster.kubectl("label", "namespace", namespace, f"{support.OPERATED}=true")
    cluster.apply(configmap_of(ROOT / "model_repo", "emulated"), namespace)

    def answers() -> bool:
        return "planned for" in kubectl_apply(cluster, namespace, emulated(), "--dry-run=server")

    support.poll("the webhook answers", answers, seconds=90)  # the test before may have stopped it
    return namespace


def _trusted(cluster: Cluster) -> bool:
    found = cluster.get("mutatingwebhookconfiguration", "admission.kserve-ext.dev")
    return all(webhook["clientConfig"].get("caBundle") for webhook in found["webhooks"])


def emulated(rate: str = "10..500rps") -> dict[str, Any]:
    """The example, at a rate that the cluster's two slices carry."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "manifests/examples/emulated.yaml").read_text())
    manifest["metadata"]["annotations"]["kserve-ext.dev/rate"] = rate
    return manifest


def kubectl_apply(cluster: Cluster, namespace: str, manifest: dict[str, Any], *more: str) -> str:
    """What a person sees of `kubectl apply`, warnings included."""
    command = [cluster.program, "--kubeconfig", cluster.kubeconfig, "-n", namespace, "apply", *more, "-f", "-"]
    done = subprocess.run(
        command, input=yaml.safe_dump(manifest), capture_output=True, text=True, timeout=60, check=False
    )
    return f"{done.returncode} {done.stdout}{done.stderr}"


def revisions(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    return cluster.list("revisions", namespace)


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
    support.poll("it is away", lambda: not _operators(cluster), seconds=60)
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
        support.poll("it is gone", lambda: not _operators(cluster), seconds=60)
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


def _operators(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.list("pods", OWN, "app.kubernetes.io/name=kserve-ext-operator")
