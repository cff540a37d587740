"""metrics-server, and Prometheus with what it scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.parts.objects import Object, containers, fitted, parse, read
from e2e.cluster.settings import HERE, REGISTRY
from e2e.cluster.work import Log


def metrics_server(module: Path, kubectl: Path, log: Log) -> Iterator[Object]:
    """From its own kustomization. kind's kubelets have certificates that nobody signed."""
    rendered = parse(log.read(kubectl, "kustomize", module / "manifests" / "base"))
    for each in fitted(rendered, lambda container: f"{REGISTRY}/metrics-server:1"):
        for container in containers(each):
            kept = [argument for argument in container["args"] if not argument.startswith("--metric-resolution")]
            # Not below the kubelet's time-out of 10 s.
            container["args"] = [*kept, "--kubelet-insecure-tls", "--metric-resolution=15s"]
        yield each


def prometheus() -> Iterator[Object]:
    """A single Prometheus in `monitoring`, without an operator or a volume."""
    return read(HERE / "parts" / "prometheus.yaml")
