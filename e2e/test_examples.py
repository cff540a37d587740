"""Every example of manifests/ is served by what it names, and answers as the model does here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from e2e import examples, support
from e2e.served import check_digits, models, serve, written_down
from e2e.support import Cluster
from kserve_ext.client import Client

__all__ = ["models", "serve", "written_down"]  # the fixtures


def test_a_triton_model_from_a_claim_is_served_in_a_restricted_namespace(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    name = serve("manifests/examples/digits.yaml")
    check_digits(f"http://{cluster.ingress}", authority=support.host_of(name, models))


def test_a_model_image_is_served(cluster: Cluster, namespace: str, model_image: str) -> None:
    manifest = examples.read("manifests/examples/digits-image.yaml")
    assert manifest["spec"]["predictor"]["model"]["storageUri"] == f"oci://{model_image}"
    cluster.apply(manifest, namespace)
    cluster.wait_ready("isvc", "digits-image", namespace, seconds=240)
    check_digits(f"http://{cluster.ingress}", authority=support.host_of("digits-image", namespace))


@pytest.fixture(scope="module")
def model_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that the example names, built with model_repo/Dockerfile and loaded into the nodes."""
    folder = tmp_path_factory.mktemp("image")
    shutil.copytree(examples.MODELS / "digits" / "1", folder / "digits" / "1", copy_function=examples.link)
    shutil.copy(examples.MODELS / "digits" / "config.pbtxt", folder / "digits")
    tag, file = "kserve-ext-models-digits:0.1.0", examples.MODELS / "Dockerfile"
    build = [
        "docker",
        "build",
        "-q",
        "-f",
        str(file),
        "-t",
        tag,
        "--build-arg",
        "BASE=python:3.11-slim-bookworm",
        str(folder),
    ]
    for command in (build, [sys.executable, "-m", "e2e.cluster", "load", tag]):
        done = subprocess.run(command, cwd=examples.ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return tag


def test_an_ensemble_takes_text(cluster: Cluster, models: str, serve: Callable[..., str]) -> None:
    name = serve("manifests/examples/embed.yaml")
    texts = np.array([[b"a cat sits on the mat"], [b"the kitten is on the rug"], [b"quarterly tax law"]], np.object_)
    with Client(f"http://{cluster.ingress}", authority=support.host_of(name, models)) as client:
        vectors = client.infer("embed", {"text": texts}, timeout_s=60)["embedding"]
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a cat sits on the mat"]}]}
    answer = cluster.ask(support.host_of(name, models), "/v2/models/embed/infer", body)
    np.testing.assert_allclose(answer.json()["outputs"][0]["data"], vectors[0], atol=1e-4)


def test_a_service_of_grpc_alone(cluster: Cluster, models: str, serve: Callable[..., str]) -> None:
    name = serve("manifests/examples/emulated.yaml")
    with Client(f"grpc://{cluster.ingress}", authority=support.host_of(name, models)) as client:
        answers = client.infer("emulated", {"x": np.ones((2, 8), np.float32)}, timeout_s=60)
    assert answers["y"].shape == (2, 8)


def test_standard_mode_speaks_both_protocols(cluster: Cluster, models: str, serve: Callable[..., str]) -> None:
    name = serve("manifests/examples/digits-standard.yaml")
    with examples.forwarded(cluster, models, f"service/{name}-predictor", [80, 9000]) as (http, grpc):
        check_digits(f"http://{http}")
        check_digits(f"grpc://{grpc}")
    ports = {port["name"]: port for port in cluster.get("service", f"{name}-predictor", models)["spec"]["ports"]}
    assert next(port for port in ports.values() if port["port"] == 9000)["appProtocol"] == "kubernetes.io/h2c"
    (pod, *_) = cluster.pods(models, f"serving.kserve.io/inferenceservice={name}")
    (metrics,) = [one["containerPort"] for one in pod["spec"]["containers"][0]["ports"] if one["name"] == "metrics"]
    assert metrics == 8002


def test_a_custom_container_is_served_without_a_runtime(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    name = serve("manifests/examples/custom-container.yaml")
    check_digits(f"http://{cluster.ingress}", name, authority=support.host_of(name, models))


def test_a_slice_is_served_where_it_is_offered_and_one_too_many_waits(
    cluster: Cluster, models: str, serve: Callable[..., str]
) -> None:
    name = serve("manifests/examples/gpu-slice.yaml")
    selector = f"serving.kserve.io/inferenceservice={name}"
    (pod,) = cluster.pods(models, selector)
    assert pod["spec"]["nodeName"] == cluster.worker
    container = next(one for one in pod["spec"]["containers"] if one["name"] == "kserve-container")
    assert container["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    more = examples.read("manifests/examples/gpu-slice.yaml", name="too-many")
    more["spec"]["predictor"]["model"]["resources"] = {
        kind: {"nvidia.com/mig-1g.10gb": str(cluster.given.mig_slices)} for kind in ("requests", "limits")
    }
    try:
        cluster.apply(more, models)
        support.poll("the pod is refused", lambda: unschedulable(cluster, models, "too-many"), seconds=60)
        message = unschedulable(cluster, models, "too-many")
        assert message is not None
        assert "Insufficient nvidia.com/mig-1g.10gb" in message
    finally:
        cluster.kubectl("-n", models, "delete", "isvc", "too-many", "--wait=false", "--ignore-not-found")


def unschedulable(cluster: Cluster, namespace: str, name: str) -> str | None:
    for pod in cluster.pods(namespace, f"serving.kserve.io/inferenceservice={name}"):
        for condition in pod["status"].get("conditions", []):
            if condition.get("reason") == "Unschedulable":
                return str(condition["message"])
    return None
