"""The objects of SET=full: the Gateway API with Envoy Gateway, KEDA, the VPA recommender, kube-router."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.parts.objects import Object, containers, fitted, parse, read
from e2e.cluster.settings import HERE, REGISTRY
from e2e.cluster.work import Log

_KEDA = {
    "keda-operator": "keda-operator",
    "keda-metrics-apiserver": "keda-adapter",
    "keda-admission-webhooks": "keda-webhooks",
}


def vpa(module: Path) -> Iterator[Object]:
    """The recommender alone: it recommends, and nothing evicts."""
    deploy = module / "deploy"
    files = (deploy / "vpa-v1-crd-gen.yaml", deploy / "vpa-rbac.yaml", deploy / "recommender-deployment.yaml")
    return _plain(fitted(read(*files), lambda container: f"{REGISTRY}/vpa-recommender:1"))


def keda(module: Path, kubectl: Path, log: Log) -> Iterator[Object]:
    """Operator, metrics adapter and webhooks; the operator makes their certificates itself."""
    rendered = parse(log.read(kubectl, "kustomize", module / "config" / "default"))
    return _plain(fitted(rendered, lambda container: f"{REGISTRY}/{_KEDA[container['name']]}:1"))


def envoy_gateway(module: Path) -> Iterator[Object]:
    """The definitions of the chart, and our own short form of the rest; the gateway that KServe's routes attach to."""
    templates = module / "charts" / "gateway-crds-helm" / "templates"
    for file in (templates / "experimental-gatewayapi-crds.yaml", *sorted((templates / "generated").glob("*.yaml"))):
        # Each file stands between one `if` and its `end`; there is no other templating.
        yield from parse("\n".join(line for line in file.read_text().splitlines() if not line.startswith("{{")))
    yield from read(HERE / "parts" / "envoy-gateway.yaml")


def kube_router() -> Iterator[Object]:
    """Its firewall alone: the pod network and services stay with those that have them."""
    return read(HERE / "parts" / "kube-router.yaml")


def _plain(objects: Iterator[Object]) -> Iterator[Object]:
    """Containers started by their image's entry point: the manifests name paths of the published images."""
    for each in objects:
        for container in containers(each):
            container.pop("command", None)
        yield each
