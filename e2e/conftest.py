"""Fixtures of the end-to-end tests: the cluster, and for each test a namespace that goes when the test ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import support
from e2e.support import Cluster


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of `make cluster`, with what is installed once for all services."""
    found = support.find()
    support.install(found)
    return found


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
