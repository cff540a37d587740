"""Fixtures of the end-to-end tests: the cluster, and for each test a namespace that goes when the test ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from e2e import support
from e2e.cluster.settings import PROJECT
from e2e.support import Cluster

_INSTALLED = "e2e-installed"  # label of the operator's namespace: a digest of what was applied


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of `make cluster`, with what is installed once for all services."""
    found = support.find()
    _install(found)
    return found


def _install(cluster: Cluster) -> None:
    """What `manifests` holds, once: a session beside this one may just have stopped the operator, to see what follows."""
    text = cluster.kubectl("kustomize", PROJECT / "manifests")
    mark = f"{_INSTALLED}={hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if cluster.list("namespaces", "default", mark):
        return
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", PROJECT / "manifests")
    _only_where_asked(cluster)
    cluster.kubectl("label", "--overwrite", "namespace", "kserve-ext", mark)


def _only_where_asked(cluster: Cluster) -> None:
    """The operator's webhooks for namespaces of its own tests: other tests look at what happens without it."""
    where = {"matchLabels": {support.OPERATED: "true"}}
    change = [{"op": "add", "path": "/webhooks/0/namespaceSelector", "value": where}]
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        cluster.kubectl("patch", kind, "admission.kserve-ext.dev", "--type=json", "-p", json.dumps(change))


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of its own, with a claim `models` on the project's models."""
    yield from _namespace(cluster, request, {})


@pytest.fixture
def restricted_namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same, with the Pod Security policy `restricted` enforced."""
    yield from _namespace(cluster, request, {"pod-security.kubernetes.io/enforce": "restricted"})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """When a test fails, write down the state of its namespace before that goes."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        _write_down(item, report)  # type: ignore[arg-type]
    return report


def _namespace(cluster: Cluster, request: pytest.FixtureRequest, labels: dict[str, str]) -> Iterator[str]:
    name = support.unique(request.node.name)
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "e2e", **labels}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, "default")
    request.node.user_properties.append(("namespace", name))
    try:
        cluster.apply(support.models_volume(name), name)
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")
        cluster.kubectl("delete", "persistentvolume", f"models-{name}", "--wait=false", "--ignore-not-found")


def _write_down(item: pytest.Item, report: pytest.TestReport) -> None:
    names = [str(value) for key, value in item.user_properties if key == "namespace"]
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.when != "call" or cluster is None:
        return
    for name in names:
        folder = support.OUT / name
        report.sections.append((f"namespace {name}, more in {folder}", "\n".join(cluster.write_down(name, folder))))
