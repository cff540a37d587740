"""The files that are applied, one for each component, made from the modules that the graph selects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from e2e.cluster import binaries, full
from e2e.cluster.binaries import Binaries
from e2e.cluster.parts import addons, knative, kserve, monitoring
from e2e.cluster.parts.objects import Object, definitions_apart, write
from e2e.cluster.settings import HERE, Settings
from e2e.cluster.work import Log, Workshop, digest_of

DEFINITIONS = "definitions.yaml"


def build(given: Settings, shop: Workshop, programs: Binaries) -> Path:
    """A folder with `definitions.yaml`, to be applied first, and a file for each component."""
    inputs = {
        "graph": programs.graph.name,
        "parts": digest_of(HERE / "parts", Path(__file__)),
        "set": [addon.module for addon in full.ADDONS.values()] if given.which == "full" else [],
        "source": given.source,
        "port": given.ingress_port,
    }
    return shop.artefact("manifests", inputs, lambda folder, log: _make(given, programs, folder, log))


def _make(given: Settings, programs: Binaries, folder: Path, log: Log) -> None:
    def module(name: str) -> Path:
        return binaries.module_folder(given, programs.graph, name, log)

    kubectl = programs["kubectl"]
    config = (module(f"knative.dev/{name}") / "config" for name in ("serving", "networking", "caching", "net-kourier"))
    components: dict[str, Iterable[Object]] = {
        "knative": knative.objects(given, *config),
        "kserve": kserve.objects(given, module("github.com/kserve/kserve"), kubectl, log),
        "metrics-server": monitoring.metrics_server(module("sigs.k8s.io/metrics-server"), kubectl, log),
        "prometheus": monitoring.prometheus(),
    }
    if given.which == "full":
        sources = full.modules(given, programs.graph, log)
        components |= {
            "vpa": addons.vpa(sources["vpa"]),
            "keda": addons.keda(sources["keda"], kubectl, log),
            "envoy-gateway": addons.envoy_gateway(sources["envoy-gateway"]),
            "kube-router": addons.kube_router(),
        }
    first: list[Object] = []
    for name, objects in components.items():
        definitions, rest = definitions_apart(objects)
        first += definitions
        write(folder / f"{name}.yaml", rest)
    write(folder / DEFINITIONS, first)
