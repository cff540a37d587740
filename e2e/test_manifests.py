"""manifests/ on a real cluster: what is applied is whole, and what it says of network and monitoring is so."""

from __future__ import annotations

from collections.abc import Callable

import yaml

from e2e import examples, support
from e2e.network import Network
from e2e.served import check_digits, models, serve, written_down
from e2e.support import Cluster

__all__ = ["models", "serve", "written_down"]  # the fixtures

RUNTIMES = ("triton", "triton-grpc", "triton-standard", "predictor", "predictor-grpc", "predictor-standard")


def test_the_base_is_applied_whole_and_applying_it_again_changes_nothing(cluster: Cluster) -> None:
    there = {found["metadata"]["name"] for found in cluster.list("clusterservingruntimes", "default")}
    assert there >= {f"kserve-ext-{name}" for name in RUNTIMES}
    # kubectl diff ends with 1 where something differs
    cluster.kubectl("diff", "--server-side", "--force-conflicts", "-k", examples.ROOT / "manifests")


def test_only_the_gateway_knative_and_prometheus_may_reach_a_model(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    name = serve("manifests/examples/digits.yaml", lambda isvc: isvc["metadata"].update(name="reached"))
    check_network(cluster, Network.read(cluster, models), models, name)


def check_network(cluster: Cluster, network: Network, models: str, name: str) -> None:
    """Who may reach a running model, judged by the labels and ports of the pods that are really there."""
    (pod, *_) = cluster.pods(models, f"serving.kserve.io/inferenceservice={name}")
    activator = cluster.pods("knative-serving", "app=activator")[0]
    autoscaler = cluster.pods("knative-serving", "app=autoscaler")[0]
    gateway = cluster.pods("kourier-system", "app=3scale-kourier-gateway")[0]
    prometheus = cluster.pods("monitoring")[0]
    where = ("kserve-ext", "app.kubernetes.io/name=kserve-ext-operator")
    operator = support.poll("the operator is there", lambda: next(iter(cluster.pods(*where)), None), seconds=60)
    controller = cluster.pods("kserve")[0]
    dns = cluster.pods("kube-system", "k8s-app=kube-dns")[0]
    for source in (activator, gateway):
        assert network.reaches(source, pod, 8012)
        assert network.reaches(source, pod, 8013)
        assert not network.reaches(source, pod, 8080)  # past the proxy that holds the limit
    assert network.reaches(autoscaler, pod, 9090)
    for port in (8002, 9091):
        assert network.reaches(prometheus, pod, port)
    for port in (8002, 8080, 9091):
        assert network.reaches(operator, pod, port)
    assert not network.reaches(operator, pod, 8012)
    for stranger in (controller, dns, pod):
        for port in (8012, 8080, 9000, 8002):
            assert not network.reaches(stranger, pod, port)
    assert network.reaches(pod, dns, 53, "UDP")
    for target, port in ((activator, 8012), (prometheus, 9090), (controller, 9443)):
        assert not network.reaches(pod, target, port)


def test_every_rule_is_one_that_prometheus_takes_and_finds_data_for(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    (rules,) = yaml.safe_load_all((examples.ROOT / "manifests/monitoring/rules.yaml").read_text())
    recorded = {rule["record"]: rule["expr"] for rule in rules["spec"]["groups"][0]["rules"] if "record" in rule}
    alerts = [rule["expr"] for rule in rules["spec"]["groups"][0]["rules"] if "alert" in rule]
    name = serve("manifests/examples/digits.yaml")

    def silent() -> list[str]:
        check_digits(f"http://{cluster.ingress}", authority=support.host_of(name, models))
        seen = {rule: [series["namespace"] for series, _ in cluster.metric(expr)] for rule, expr in recorded.items()}
        return [rule for rule, namespaces in seen.items() if namespaces.count(models) != 1]

    support.poll("each rule gives a series for the model", lambda: not silent(), seconds=90, every=3,
                 why=lambda: f"not {', '.join(silent())}")  # fmt: skip
    for expr in alerts:
        for rule, written in recorded.items():
            expr = expr.replace(rule, f"({written})")
        cluster.metric(expr)  # fails where Prometheus cannot read it
