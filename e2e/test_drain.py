"""A node is drained under load: the budget of manifests/models gives up one replica at a time, and no request is lost."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e import examples, support
from e2e.load import Load
from e2e.support import Cluster, Object

SERVICE = "digits"
SELECTOR = f"serving.kserve.io/inferenceservice={SERVICE}"
REPLICAS = 2
LOAD_S = 100.0  # two evictions, each with a replica that starts elsewhere and one that ends its requests


@pytest.fixture
def models(cluster: Cluster) -> Iterator[str]:
    """A namespace as manifests/models makes it, with both replicas of a service on the worker."""
    with examples.models_namespace(cluster, "drain") as name:
        cluster.apply(preferring(cluster.worker), name)
        cluster.wait_ready("isvc", SERVICE, name, seconds=240)
        support.poll("both run on the worker", lambda: nodes(cluster, name) == [cluster.worker] * REPLICAS, seconds=90)
        yield name


def preferring(node: str) -> Object:
    """The digits example with a fixed number of replicas that go to one node as long as it takes any."""
    manifest = examples.read("manifests/examples/digits.yaml", name=SERVICE)
    there = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": there}]}
    manifest["spec"]["predictor"] |= {
        "minReplicas": REPLICAS,
        "maxReplicas": REPLICAS,
        "affinity": {"nodeAffinity": affinity},
    }
    return manifest


def nodes(cluster: Cluster, namespace: str) -> list[str]:
    """The nodes of the ready replicas, one for each."""
    return [pod["spec"]["nodeName"] for pod in cluster.ready_pods(namespace, SELECTOR)]


@contextmanager
def counting(cluster: Cluster, namespace: str) -> Iterator[list[int]]:
    """How many replicas are ready, looked at again and again."""
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(len(nodes(cluster, namespace)))
            time.sleep(0.2)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def drain(cluster: Cluster, node: str) -> str:
    """Drain a node of the service's replicas, and of nothing else that runs there; what kubectl says."""
    options = ("--pod-selector", SELECTOR, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=180s")
    command = [str(cluster.program), "--kubeconfig", str(cluster.kubeconfig), "drain", node, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_a_drained_node_gives_up_one_replica_at_a_time_and_no_request_is_lost(cluster: Cluster, models: str) -> None:
    try:
        with Load(cluster, models, LOAD_S, SERVICE) as load, counting(cluster, models) as ready:
            said = drain(cluster, cluster.worker)
    finally:
        cluster.kubectl("uncordon", cluster.worker)
    assert said.count(f"pod/{SERVICE}-predictor") >= REPLICAS, said
    assert "violate the pod's disruption budget" in said  # the second one was asked to wait, and did
    assert min(ready) >= 1
    elsewhere = [f"{cluster.given.name}-control-plane"] * REPLICAS
    assert nodes(cluster, models) == elsewhere
    load.check_nothing_lost()
