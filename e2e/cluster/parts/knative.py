"""Knative Serving with Kourier, configured for KServe, GPUs and restricted pods, and with its metrics on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from e2e.cluster.parts.objects import Object, containers, fitted, read, with_data
from e2e.cluster.settings import REGISTRY, Settings

DOMAIN = "example.com"
_PODSPEC = (  # fields of a pod that Knative refuses unless told otherwise
    "affinity", "nodeselector", "tolerations", "topologyspreadconstraints", "priorityclassname", "runtimeclassname",
    "schedulername", "securitycontext", "fieldref", "init-containers", "persistent-volume-claim",
    "persistent-volume-write", "volumes-emptydir", "volumes-image",
)  # fmt: skip
FEATURES = {
    **{f"kubernetes.podspec-{field}": "enabled" for field in _PODSPEC},
    "secure-pod-defaults": "enabled",  # what a namespace under the policy `restricted` asks for, where nothing else is said
    "multi-container-probing": "enabled",
}
_METRICS = {"metrics-protocol": "prometheus", "request-metrics-protocol": "prometheus"}


def config(given: Settings) -> dict[str, dict[str, str]]:
    """What is set in Knative's ConfigMaps."""
    return {
        "config-network": {"ingress-class": "kourier.ingress.networking.knative.dev"},
        "config-domain": {DOMAIN: ""},
        "config-features": FEATURES,
        "config-observability": _METRICS,
        "config-deployment": {
            "progress-deadline": "300s",
            "queue-sidecar-cpu-request": "10m",
            "queue-sidecar-memory-request": "32Mi",
            **_local_images(given),
        },
    }


def objects(given: Settings, serving: Path, networking: Path, caching: Path, kourier: Path) -> Iterator[Object]:
    """All of it, from the config folders of the four modules.

    serving links definitions of networking and caching, and module archives hold no links: they are read where they are.
    """
    namespace = serving / "core" / "100-namespace.yaml"
    folders = (namespace, serving / "core", serving / "hpa-autoscaling", networking, caching)
    for each in with_data(fitted(read(*folders), _image), config(given)):
        if each["kind"] == "Image":
            each["spec"]["image"] = _image(each["spec"])
        yield each
    yield from _kourier(fitted(read(kourier), _image), given)


def _local_images(given: Settings) -> dict[str, str]:
    """Where no registry can be reached: whom Knative must not ask for digests, and the proxy it puts beside every model."""
    if given.source == "prebuilt":
        return {}
    return {
        "registries-skipping-tag-resolving": f"{REGISTRY},ko.local,dev.local,index.docker.io,nvcr.io,ghcr.io",
        "queue-sidecar-image": f"{REGISTRY}/knative-queue:1",
    }


def _kourier(found: Iterable[Object], given: Settings) -> Iterator[Object]:
    for each in found:
        for container in containers(each):
            container.pop("lifecycle", None)  # its hook needs a shell with curl
        if each["kind"] == "Service" and each["metadata"]["name"] == "kourier":
            each["spec"]["type"] = "NodePort"
            for port in each["spec"]["ports"]:
                if port["name"] == "http2":
                    port["nodePort"] = given.ingress_port
        yield each


def _image(container: Object) -> str:
    """The local image of what the manifests name as ko://MODULE/cmd/PROGRAM, or as Envoy's own."""
    named: str = container["image"]
    if not named.startswith("ko://"):
        return f"{REGISTRY}/envoy:1" if "envoy" in named else named
    program = named.rsplit("/", 1)[1]
    return f"{REGISTRY}/{program if program == 'kourier' else f'knative-{program}'}:1"
