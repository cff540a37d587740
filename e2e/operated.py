"""The operator as `kubectl apply -k manifests` installs it, but in a hurry, and a team that asks it for plans."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import support
from e2e.support import Cluster
from kserve_ext.operator.guard import FLOORS_LEASE
from kserve_ext.operator.models import configmap_of

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
    support.poll("the loop has gone a round", lambda: leads(cluster), seconds=90)
    return namespace


def leads(cluster: Cluster) -> bool:
    """Whether one of the operators that are there has gone a round: with its first it sweeps up what nobody needs."""
    youngest = max((pod["metadata"]["creationTimestamp"] for pod in operators(cluster)), default="")
    renewed: str = cluster.get("lease", FLOORS_LEASE, OWN)["spec"]["renewTime"]
    return bool(youngest) and renewed > youngest


def _trusted(cluster: Cluster) -> bool:
    found = cluster.get("mutatingwebhookconfiguration", "admission.kserve-ext.dev")
    return all(webhook["clientConfig"].get("caBundle") for webhook in found["webhooks"])


def emulated(**annotations: str) -> dict[str, Any]:
    """The example, at a rate that the cluster's two slices carry."""
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "manifests/examples/emulated.yaml").read_text())
    for name, value in {"rate": "10..500rps", **annotations}.items():
        manifest["metadata"]["annotations"][f"kserve-ext.dev/{name}"] = value
    return manifest


def kubectl_apply(cluster: Cluster, namespace: str, manifest: dict[str, Any], *more: str) -> str:
    """What a person sees of `kubectl apply`, warnings included."""
    done = cluster.attempt("-n", namespace, "apply", *more, "-f", "-", stdin=yaml.safe_dump(manifest))
    return f"{done.returncode} {done.stdout}{done.stderr}"


def revisions(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    return cluster.list("revisions", namespace)


def operators(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.list("pods", OWN, "app.kubernetes.io/name=kserve-ext-operator")
