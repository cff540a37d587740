from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.tiny_api import TinyApi, kubeconfig, serving

from kserve_ext.client import AsyncClient, Client, cluster
from kserve_ext.client.endpoint import ServiceName, service_name, service_url
from kserve_ext.errors import InputError, MissingExtraError, UnreachableError


def service(**changed: Any) -> dict[str, Any]:
    """An InferenceService as the cluster returns it."""
    return {
        "metadata": {"name": "digits", "annotations": {}},
        "spec": {"predictor": {"model": {}}},
        "status": {
            "url": "http://digits.default.example.com",
            "address": {"url": "http://digits.default.svc.cluster.local/v1/models/digits:predict"},
        },
        **changed,
    }


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("digits", ServiceName(name="digits")),
        ("team-a/digits", ServiceName(name="digits", namespace="team-a")),
        ("http://digits", None),
        ("digits:80", None),
    ],
)
def test_a_name_is_an_inferenceservice_and_anything_with_a_colon_an_address(
    where: str, named: ServiceName | None
) -> None:
    assert service_name(where) == named


def test_a_service_is_reached_by_its_own_address_inside_and_by_its_public_one_outside() -> None:
    assert service_url(service(), inside=True) == "http://digits.default.svc.cluster.local"
    assert service_url(service(), inside=False) == "http://digits.default.example.com"


@pytest.mark.parametrize("inside", [True, False])
def test_the_only_url_there_is_is_used(inside: bool) -> None:
    assert service_url(service(status={"url": "https://h:8443"}), inside=inside) == "https://h:8443"


@pytest.mark.parametrize(
    "grpc",
    [
        {"metadata": {"name": "d", "annotations": {"kserve-ext.dev/protocol": "grpc"}}},
        {"spec": {"predictor": {"model": {"ports": [{"name": "h2c", "containerPort": 9000}]}}}},
        {"spec": {"predictor": {"containers": [{"ports": [{"name": "grpc-port", "containerPort": 8081}]}]}}},
    ],
)
def test_a_service_that_speaks_grpc_is_asked_over_grpc(grpc: dict[str, Any]) -> None:
    assert service_url(service(**grpc), inside=True) == "grpc://digits.default.svc.cluster.local:80"
    assert service_url(service(**grpc, status={"url": "https://h"}), inside=False) == "grpcs://h:443"


def test_a_service_without_a_url_says_why() -> None:
    waiting = service(status={"conditions": [{"type": "Ready", "status": "False", "message": "no image"}]})
    with pytest.raises(UnreachableError, match="no image"):
        service_url(waiting, inside=True)
    with pytest.raises(UnreachableError, match="not ready"):
        service_url({"metadata": {"name": "digits"}}, inside=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster with the service digits in the namespace `models`, which the kubeconfig names."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with serving(TinyApi()) as api:
        api.objects["/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/digits"] = service()
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, api.url)))
        yield


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("where", ["digits", "models/digits"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_of_a_service_finds_its_endpoint(where: str, kind: Any) -> None:
    assert kind(where)._link.target.host == "digits.default.example.com"


@pytest.mark.usefixtures("here")
def test_a_service_that_is_not_there_is_said() -> None:
    with pytest.raises(
        InputError, match=r"no such InferenceService in namespace models .* found other; allowed: digits"
    ):
        Client("other")


def test_without_a_cluster_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(UnreachableError, match="no cluster to look up InferenceService digits in") as caught:
        Client("digits")
    assert "KUBECONFIG" in caught.value.remedy


def test_without_the_kubernetes_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(MissingExtraError) as caught:
        cluster.find_url(ServiceName(name="digits"))
    assert "kserve-ext[cluster]" in caught.value.remedy
