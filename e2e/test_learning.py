"""What runs slower than its profile claims is told, planned anew where its owner lets that happen, and put back at a word."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e import support
from e2e.load import Traffic
from e2e.operated import OWN, emulated, kubectl_apply, operator, operators, team
from e2e.product import Product
from e2e.support import Cluster, Object
from kserve_ext.bench.codec import encode
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import parse_target
from kserve_ext.operator.learned import Learned, learned_configmap, name_of, read_learned
from kserve_ext.operator.models import configmap_of
from kserve_ext.policy.learning import Correction, Evidence, corrected
from kserve_ext.profile import store

__all__ = ["operator", "team"]  # the fixtures

REPOSITORY = Path(__file__).parents[1] / "model_repo"
HARDWARE = "a100-1g.10gb"
SERVICE = "emulated"
CLAIMED = 0.6  # of the times that the model really takes
RATE_RPS, SECONDS = 40.0, 10.0
KNOWN_S = 900.0  # a quarter of an hour was seen already: ten minutes are needed


def test_a_model_slower_than_its_profile_is_told_planned_anew_where_allowed_and_put_back(
    cluster: Cluster, team: str, tmp_path: Path
) -> None:
    cluster.apply(boastful(), team)
    assert kubectl_apply(cluster, team, emulated()).startswith("0 ")
    service = cluster.wait_ready("isvc", SERVICE, team, seconds=120)
    planned = service["spec"]["predictor"]
    remember(cluster, team, service)
    product = Product(cluster=cluster, namespace=team, folder=tmp_path)
    support.poll("it is told", lambda: busy(cluster, team) and "NotAsProfiled" in said(cluster, team), seconds=240)
    assert "times the" in said(cluster, team)["NotAsProfiled"]
    proposal = support.poll("a re-plan is proposed", lambda: said(cluster, team).get("ReplanProposed"), seconds=150)
    assert "maxReplicas" in proposal
    assert 'kserve-ext.dev/replan: "auto"' in proposal
    ((model, level),) = learned(cluster, team).correction.levels
    assert model == SERVICE
    assert level >= 1.5
    assert "times the" in product.run("status", SERVICE).stdout
    assert predictor(cluster, team) == planned  # told, and nothing touched

    assert kubectl_apply(cluster, team, emulated(replan="auto")).startswith("0 ")
    support.poll("it is planned anew", lambda: "Replanned" in said(cluster, team), seconds=200, every=2)
    assert predictor(cluster, team)["maxReplicas"] > planned["maxReplicas"]
    assert learned(cluster, team).in_force.correction.levels == ((SERVICE, level),)
    product.run("wait", SERVICE, "--timeout", "3m")  # replicas before hold their slices until they end

    assert kubectl_apply(cluster, team, emulated()).startswith("0 ")
    assert predictor(cluster, team) == planned


def boastful() -> Object:
    """The model's ConfigMap with a profile that claims too much."""
    configmap: Object = configmap_of(REPOSITORY, SERVICE)
    file = f"profile.{HARDWARE}.json"
    profile = store.load(configmap["data"][file], file)
    faster = tuple((stage.model, CLAIMED) for stage in profile.stages)
    configmap["data"][file] = store.dump(corrected(profile, Correction(hardware=HARDWARE, levels=faster)))
    return configmap


def remember(cluster: Cluster, namespace: str, service: Object) -> None:
    """Let the operator believe that it has watched for a while, without a request so far: it reads that when it starts."""
    known = Learned(uid=service["metadata"]["uid"], evidence=Evidence(seconds=KNOWN_S), seen_s=time.time())
    cluster.apply(learned_configmap(service, known), namespace)
    before = {pod["metadata"]["name"] for pod in operators(cluster)}
    cluster.kubectl("-n", OWN, "delete", "pods", "-l", "app.kubernetes.io/name=kserve-ext-operator", "--wait=false")

    def replaced() -> bool:
        now = cluster.ready_pods(OWN, "app.kubernetes.io/name=kserve-ext-operator")
        return bool(now) and not before & {pod["metadata"]["name"] for pod in now}

    support.poll("the operator is another process", replaced, seconds=90)


def busy(cluster: Cluster, namespace: str) -> bool:
    """Some seconds of traffic, all of it answered."""
    target = parse_target(f"grpc://{cluster.ingress}", model=SERVICE, authority=support.host_of(SERVICE, namespace))
    requests = [encode(one, target) for one in read_samples(REPOSITORY, SERVICE)]
    with Traffic(target, requests, RATE_RPS, SECONDS) as load:
        pass
    load.check_nothing_lost()
    return True


def said(cluster: Cluster, namespace: str) -> Mapping[str, str]:
    """The words of each Event, by its reason."""
    return {
        event["reason"]: str(event.get("message") or event.get("note")) for event in cluster.list("events", namespace)
    }


def learned(cluster: Cluster, namespace: str) -> Learned:
    found = read_learned(cluster.get("configmap", name_of(SERVICE), namespace))
    assert found is not None
    return found


def predictor(cluster: Cluster, namespace: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = cluster.get("isvc", SERVICE, namespace)["spec"]["predictor"]
    return found
