"""The policies of manifests/models as the network keeps them: real connections, beside what the policies say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from e2e import examples, product, support
from e2e.network import Network
from e2e.support import Cluster, Object
from e2e.test_cluster import RESTRICTED, sleeper

pytestmark = pytest.mark.full  # the pod network of the base set enforces none

_EXAMPLES = ("digits", "digits-standard")
_KNATIVE_PORTS = (8002, 8012, 8080, 9000, 9090, 9091)  # Triton's, and queue-proxy's for HTTP and its metrics
_STANDARD_PORTS = (8002, 8080, 9000)
_CONNECT = """
import json, socket, sys
def opens(address):
    try:
        socket.create_connection(address.split(":"), 2).close()
    except OSError:
        return False
    return True
print(json.dumps([opens(address) for address in sys.argv[1:]]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A port of a pod that something listens on."""

    pod: Object
    port: int

    @property
    def address(self) -> str:
        return f"{self.pod['status']['podIP']}:{self.port}"


@pytest.fixture(scope="module")
def models(cluster: Cluster) -> Iterator[str]:
    """A namespace as manifests/models makes it, with a service in each mode."""
    with examples.models_namespace(cluster, "network") as name:
        for example in _EXAMPLES:
            cluster.apply(examples.read(f"manifests/examples/{example}.yaml"), name)
        for example in _EXAMPLES:
            cluster.wait_ready("isvc", example, name, seconds=240)
        yield name


@pytest.fixture(scope="module")
def strangers(cluster: Cluster) -> Iterator[str]:
    """A namespace that nobody knows."""
    with product.made_namespace(cluster, "strangers") as name:
        yield name


@contextmanager
def pod(cluster: Cluster, namespace: str, name: str, **labels: str) -> Iterator[Object]:
    """A running pod to connect from."""
    made = sleeper(name)
    made["metadata"]["labels"] = labels
    made["spec"]["containers"][0]["securityContext"] = RESTRICTED
    cluster.apply(made, namespace)
    try:
        yield cluster.wait_ready("pod", name, namespace)
    finally:
        cluster.kubectl("-n", namespace, "delete", "pod", name, "--wait=false", "--ignore-not-found")


def connections(cluster: Cluster, source: Object, targets: list[Target]) -> list[bool]:
    """Which of the targets a pod can open a connection to."""
    where = ("-n", source["metadata"]["namespace"], "exec", source["metadata"]["name"])
    container = source["spec"]["containers"][0]["name"]
    addresses = [target.address for target in targets]
    return list(
        json.loads(cluster.kubectl(*where, "-c", container, "--", "python3", "-c", _CONNECT, *addresses, timeout_s=300))
    )


def served(cluster: Cluster, models: str, example: str) -> Object:
    return cluster.ready_pods(models, f"serving.kserve.io/inferenceservice={example}")[0]


def check(cluster: Cluster, network: Network, source: Object, targets: list[Target]) -> list[bool]:
    """Compare; what the policies say. The rules follow a change of pods after a moment."""
    said = [network.reaches(source, target.pod, target.port) for target in targets]
    found: list[bool] = []

    def same() -> bool:
        found[:] = connections(cluster, source, targets)
        return found == said

    def differing() -> str:
        return ", ".join(
            f"{target.address} is {'open' if one else 'closed'}"
            for target, one, wanted in zip(targets, found, said, strict=True)
            if one != wanted
        )

    support.poll(f"{source['metadata']['name']} reaches what it may", same, seconds=60, every=1, why=differing)
    return said


def test_into_a_model_s_pods_comes_who_may_and_nobody_else(cluster: Cluster, models: str, strangers: str) -> None:
    knative, standard = (served(cluster, models, example) for example in _EXAMPLES)
    listening = [Target(pod=knative, port=port) for port in _KNATIVE_PORTS]
    listening += [Target(pod=standard, port=port) for port in _STANDARD_PORTS]
    network = Network.read(cluster, models, "kserve-ext")
    with ExitStack() as stack:
        sources = [
            stack.enter_context(pod(cluster, namespace, name, **labels))
            for namespace, name, labels in (
                (strangers, "stranger", {}),
                (models, "neighbour", {}),
                (models, "transformer", {"component": "transformer"}),
                ("knative-serving", "activator-like", {}),
                ("kourier-system", "gateway-like", {}),
                ("envoy-gateway-system", "proxy-like", {}),
                ("monitoring", "prometheus-like", {}),
                ("kserve-ext", "operator-like", {"app.kubernetes.io/name": "kserve-ext-operator"}),
            )
        ]
        said = {source["metadata"]["name"]: check(cluster, network, source, listening) for source in sources}
    assert not any(said["stranger"] + said["neighbour"])
    assert all(any(row) and not all(row) for name, row in said.items() if name not in ("stranger", "neighbour"))


def test_out_of_a_model_s_pods_goes_dns_alone(cluster: Cluster, models: str, strangers: str) -> None:
    dns = Target(pod=cluster.ready_pods("kube-system", "k8s-app=kube-dns")[0], port=53)
    elsewhere = [
        Target(pod=cluster.ready_pods("monitoring", "app=prometheus")[0], port=9090),
        Target(pod=cluster.ready_pods("knative-serving", "app=activator")[0], port=8012),
        Target(pod=cluster.ready_pods("kserve")[0], port=9443),
    ]
    network = Network.read(cluster, models)
    for example in _EXAMPLES:
        said = check(cluster, network, served(cluster, models, example), [dns, *elsewhere])
        assert said == [True, False, False, False]
    with pod(cluster, strangers, "free") as free:  # something does listen there
        assert check(cluster, network, free, [dns, *elsewhere]) == [True] * 4
