"""Custom predictors on the cluster: the classes of predictors/ on KServe's server and on Triton, and the router."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from e2e import examples, product, support
from e2e.served import models, written_down
from e2e.support import Cluster
from kserve_ext.bundles import bundle_for
from kserve_ext.client import Client
from kserve_ext.intent.read import read_services
from kserve_ext.library import read_profile
from kserve_ext.packaging.package import package_for_triton
from kserve_ext.policy import PlanRequest, plan

MINILM = examples.ROOT / "tests" / "data" / "minilm"


__all__ = ["models", "written_down"]  # the fixtures


def client(cluster: Cluster, models: str, name: str, *, grpc: bool = False) -> Client:
    scheme = "grpc" if grpc else "http"
    return Client(f"{scheme}://{cluster.ingress}", authority=support.host_of(name, models))


def serve(cluster: Cluster, models: str, manifest: dict[str, Any], *, seconds: float = 180) -> str:
    cluster.apply(manifest, models)
    name: str = manifest["metadata"]["name"]
    cluster.wait_ready("isvc", name, models, seconds=seconds)
    return name


def stop(cluster: Cluster, models: str, name: str) -> None:
    cluster.kubectl("-n", models, "delete", "isvc", name, "--wait=false", "--ignore-not-found")


def env_of(cluster: Cluster, models: str, name: str) -> dict[str, str]:
    """What the serving container of a running pod has in its environment."""
    (pod, *_) = cluster.pods(models, f"serving.kserve.io/inferenceservice={name}")
    container = next(one for one in pod["spec"]["containers"] if one["name"] == "kserve-container")
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def test_digits_answers_as_the_file_does_in_every_protocol_of_http(cluster: Cluster, models: str) -> None:
    name = serve(cluster, models, examples.read("predictors/digits/inferenceservice.yaml"))
    try:
        pictures, shown = product.images(40)
        expected = product.answers_here(pictures)
        with client(cluster, models, name) as asked:  # V2, binary tensors
            answers = asked.infer(name, {"image": pictures}, timeout_s=60)
        np.testing.assert_allclose(answers["scores"], expected["scores"], atol=1e-5)
        assert np.mean(answers["label"].ravel() == shown) >= 0.95
        host = support.host_of(name, models)
        v2 = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": pictures[0].tolist()}]}
        outputs = cluster.ask(host, f"/v2/models/{name}/infer", v2).json()["outputs"]
        assert next(one["data"] for one in outputs if one["name"] == "label") == [int(expected["label"][0, 0])]
        v1 = cluster.ask(host, f"/v1/models/{name}:predict", {"instances": pictures[:2].tolist()}).json()
        assert [row["label"] for row in v1["predictions"]] == expected["label"][:2].tolist()
        assert cluster.ask(host, f"/v2/models/{name}/infer", {"inputs": []}).status == 400
    finally:
        stop(cluster, models, name)


def test_embed_takes_text_and_gives_the_vectors_of_the_original_package(cluster: Cluster, models: str) -> None:
    name = serve(cluster, models, examples.read("predictors/embed/inferenceservice.yaml"))
    try:
        sentences = json.loads((MINILM / "sentences.json").read_text(encoding="utf-8"))[:8]
        reference = np.load(MINILM / "reference.npz")["embeddings"][:8]
        with client(cluster, models, name) as asked:
            texts = np.array([[text.encode()] for text in sentences], np.object_)
            vectors = asked.infer(name, {"text": texts}, timeout_s=60)["embedding"]
        cosine = (vectors * reference).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)
        assert cosine.min() >= 0.999
        host = support.host_of(name, models)
        v1 = cluster.ask(host, f"/v1/models/{name}:predict", {"instances": sentences[:1]}).json()
        np.testing.assert_allclose(v1["predictions"][0], vectors[0], atol=1e-4)
    finally:
        stop(cluster, models, name)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_plan_s_numbers_reach_the_predictor(cluster: Cluster, models: str, protocol: str, tmp_path: Path) -> None:
    manifest = examples.read("predictors/digits/inferenceservice.yaml", name=f"planned-{protocol}")
    manifest["metadata"]["annotations"] |= {"kserve-ext.dev/protocol": protocol, "kserve-ext.dev/slo-p99": "250ms"}
    del manifest["spec"]["predictor"]["model"]["protocolVersion"]
    (service,) = read_services(yaml.safe_dump(manifest), "service.yaml")
    profile = read_profile(product.PROFILE)
    decided = plan(PlanRequest(intent=service.intent, profiles={profile.hardware: profile}))
    bundle = bundle_for(service, decided, tmp_path)
    rendered = yaml.safe_load(bundle.files["inferenceservice.yaml"])
    name = serve(cluster, models, rendered)
    try:
        env = env_of(cluster, models, name)
        (stage,) = decided.stages
        assert env["KSERVE_EXT_MAX_BATCH_SIZE"] == str(stage.max_batch_size)
        assert env["KSERVE_EXT_CONCURRENCY_LIMIT"] == str(decided.concurrency_limit)
        (pod, *_) = cluster.pods(models, f"serving.kserve.io/inferenceservice={name}")
        log = cluster.kubectl("-n", models, "logs", pod["metadata"]["name"], "-c", "kserve-container")
        assert f"batches of up to {stage.max_batch_size} " in log
        revision = cluster.get("revision", pod["metadata"]["labels"]["serving.knative.dev/revision"], models)
        assert revision["spec"]["containerConcurrency"] == decided.concurrency_limit
        pictures, _ = product.images(3)
        with client(cluster, models, name, grpc=protocol == "grpc") as asked:
            answers = asked.infer(name, {"image": pictures}, timeout_s=60)
        np.testing.assert_allclose(answers["scores"], product.answers_here(pictures)["scores"], atol=1e-5)
    finally:
        stop(cluster, models, name)


def test_the_same_class_packaged_answers_the_same_on_the_cluster_s_triton(
    cluster: Cluster, models: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(examples.ROOT))
    folder = cluster.given.models / models / "packaged"
    package_for_triton(
        "predictors.digits:Digits", examples.MODELS / "digits" / "1", name="digits", repository=folder, max_batch_size=8
    )
    manifest = examples.read("manifests/examples/digits.yaml", name="packaged")
    manifest["spec"]["predictor"]["model"]["storageUri"] = "pvc://models/packaged"
    name = serve(cluster, models, manifest)
    try:
        pictures, _ = product.images(5)
        with client(cluster, models, name) as asked:
            answers = asked.infer("digits", {"image": pictures}, timeout_s=60)
        np.testing.assert_allclose(answers["scores"], product.answers_here(pictures)["scores"], atol=1e-5)
    finally:
        stop(cluster, models, name)


def test_the_router_asks_the_pods_of_its_triton(cluster: Cluster, models: str) -> None:
    manifest = examples.read("predictors/router/inferenceservice.yaml")
    name = serve(cluster, models, manifest, seconds=240)
    try:
        pictures, _ = product.images(4)
        with (
            examples.forwarded(cluster, models, f"service/{name}-transformer", [80]) as (address,),
            Client(f"http://{address}") as asked,
        ):
            answers = asked.infer("digits", {"image": pictures}, timeout_s=60)
        np.testing.assert_allclose(answers["scores"], product.answers_here(pictures)["scores"], atol=1e-5)
    finally:
        stop(cluster, models, name)
