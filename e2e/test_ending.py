"""Pods that end while requests come, in each mode and with each server: a scale-down, a rolling update, a running sequence."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from e2e import examples, scaled, support
from e2e.load import RATE_RPS, Traffic, digits_requests
from e2e.product import ROOT, Product, digits, lay_config, made_namespace, planned_models
from e2e.support import Cluster, Object
from kserve_ext.bench.target import parse_target

full = pytest.mark.full  # the gateway of Standard mode
SELECTOR = "serving.kserve.io/inferenceservice="
COUNTER = ROOT / "e2e" / "data" / "counter"
IMAGE = "kserve-ext-digits:0.1.0"
LOAD_S = 170.0  # both changes, and the end of what they took away


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A mode of KServe and a server in it."""

    mode: str
    custom: bool

    @property
    def name(self) -> str:
        return f"{'own' if self.custom else 'triton'}-{self.mode.lower()}"

    def manifest(self) -> Object:
        """Two replicas, with all that is planned for them."""
        suffix = "-standard" if self.mode == "Standard" else ""
        manifest = digits(self.name, minReplicas=2, maxReplicas=3)
        manifest["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = self.mode
        model = manifest["spec"]["predictor"]["model"]
        model["runtime"] = f"kserve-ext-{'predictor' if self.custom else 'triton'}{suffix}"
        if self.custom:
            model |= {"modelFormat": {"name": "onnx"}, "image": IMAGE, "storageUri": "pvc://models/digits/digits"}
        return manifest

    def traffic(self, product: Product, seconds: float) -> Traffic:
        """Requests through the gateway of the mode."""
        address, host = product.cluster.ingress, support.host_of(self.name, product.namespace)
        if self.mode == "Standard":
            address = scaled.gateway(product.cluster).ingress
            host = f"{self.name}-{product.namespace}.{support.DOMAIN}"
        target = parse_target(f"http://{address}", model=self.name if self.custom else "digits", authority=host)
        return Traffic(target, digits_requests(target), RATE_RPS, seconds)


KINDS = [
    pytest.param(found := Kind(mode=mode, custom=custom), id=found.name, marks=full if mode == "Standard" else ())
    for mode in ("Knative", "Standard")
    for custom in (False, True)
]


@pytest.fixture(scope="module")
def product(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with made_namespace(cluster, "ending") as namespace, planned_models(cluster, namespace):
        yield Product(cluster=cluster, namespace=namespace, folder=tmp_path_factory.mktemp("ending"))


@pytest.fixture(params=KINDS)
def running(product: Product, request: pytest.FixtureRequest) -> Iterator[Kind]:
    """A service of this kind with two replicas ready."""
    kind: Kind = request.param
    bundle = product.render(kind.manifest(), kind.name)
    if not kind.custom:
        lay_config(product.cluster, product.namespace, bundle)
    product.run("apply", str(bundle), "--yes", "--timeout", "4m", "--quiet")
    try:
        yield kind
    finally:
        product.run("delete", kind.name, "--yes")


def names(product: Product, kind: Kind) -> set[str]:
    """The ready replicas that are there to stay."""
    return {pod["metadata"]["name"] for pod in product.cluster.ready_pods(product.namespace, SELECTOR + kind.name)}


def two(found: set[str]) -> set[str] | None:
    """These, when there are two: Knative calls a Revision ready with the first."""
    return found if len(found) == 2 else None


def changed(product: Product, kind: Kind, before: set[str]) -> bool:
    """Whether none of those that were there before is left."""
    found = names(product, kind)
    return bool(found) and not found & before


def leaving(product: Product, kind: Kind) -> list[Object]:
    found = product.cluster.list("pods", product.namespace, SELECTOR + kind.name)
    return [pod for pod in found if pod["metadata"].get("deletionTimestamp")]


def test_neither_a_scale_down_nor_a_rolling_update_loses_a_request(product: Product, running: Kind) -> None:
    before = support.poll("two replicas are ready", lambda: two(names(product, running)), seconds=60)
    with running.traffic(product, LOAD_S) as load:
        go_down_to_one(product, running)
        support.poll("one replica is left", lambda: len(names(product, running)) == 1, seconds=60)
        update(product, running)
        # Knative keeps the replicas of an old Revision for a window after their last request.
        support.poll("others serve alone", lambda: changed(product, running, before), seconds=120, every=1)
    load.check_nothing_lost()
    support.poll("those that were to go are gone", lambda: not leaving(product, running), seconds=90)


def go_down_to_one(product: Product, kind: Kind) -> None:
    """As an autoscaler does: by the Deployment's replicas, or on the live Revision."""
    if kind.mode == "Standard":
        product.cluster.patch("isvc", kind.name, product.namespace, {"spec": {"predictor": {"minReplicas": 1}}})
        return
    service = product.kind("services.serving.knative.dev", f"{kind.name}-predictor")
    revision = str(service["status"]["latestReadyRevisionName"])
    annotations = {"autoscaling.knative.dev/min-scale": "1", "autoscaling.knative.dev/max-scale": "1"}
    product.cluster.patch("revision", revision, product.namespace, {"metadata": {"annotations": annotations}})


def update(product: Product, kind: Kind) -> None:
    """A change of what the pods run."""
    change = {"spec": {"predictor": {"minReplicas": 1, "labels": {"changed": "yes"}}}}
    product.cluster.patch("isvc", kind.name, product.namespace, change)


@pytest.fixture
def counting(product: Product) -> Iterator[str]:
    """A stateful model in Standard mode: it adds up what a sequence sends."""
    folder = product.cluster.given.models / product.namespace / "counter"
    shutil.copytree(COUNTER, folder / "counter")
    manifest = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "counting", "annotations": {
            "serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "none",
        }},
        "spec": {"predictor": {"minReplicas": 1, "model": {
            "modelFormat": {"name": "triton"}, "runtime": "kserve-ext-triton-standard",
            "storageUri": "pvc://models/counter",
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        }}},
    }  # fmt: skip
    product.cluster.apply(manifest, product.namespace)
    product.cluster.wait_ready("isvc", "counting", product.namespace, seconds=240)
    yield "counting"
    product.cluster.kubectl("-n", product.namespace, "delete", "isvc", "counting", "--wait=false")


def test_a_running_sequence_ends_in_the_pod_that_has_its_state(product: Product, counting: str) -> None:
    cluster, namespace = product.cluster, product.namespace
    (pod,) = cluster.ready_pods(namespace, SELECTOR + counting)
    name, hook_s = pod["metadata"]["name"], hook_of(pod)
    with (
        examples.forwarded(cluster, namespace, f"pod/{name}", [9000]) as (address,),
        triton.InferenceServerClient(address) as client,
    ):
        assert add_one(client, sequence_start=True) == 1
        cluster.kubectl("-n", namespace, "delete", "pod", name, "--wait=false")
        told = time.monotonic()
        sums = [add_one(client)]
        while time.monotonic() - told < hook_s + 5:  # well beyond the moment in which Triton is told to end
            time.sleep(1)
            sums.append(add_one(client))
        assert cluster.get("pod", name, namespace)["metadata"]["deletionTimestamp"]
        assert add_one(client, sequence_end=True) == len(sums) + 2
    assert sums == list(range(2, len(sums) + 2))
    gone = "it ends once its sequence has ended"
    support.poll(
        gone, lambda: name not in [one["metadata"]["name"] for one in cluster.list("pods", namespace)], seconds=30
    )


def hook_of(pod: Object) -> int:
    (container,) = pod["spec"]["containers"]
    return int(container["lifecycle"]["preStop"]["sleep"]["seconds"])


def add_one(client: triton.InferenceServerClient, **flags: bool) -> float:
    tensor = triton.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
    return float(client.infer("counter", [tensor], sequence_id=1, **flags).as_numpy("y")[0, 0])


def test_what_is_planned_leaves_the_longest_request_its_time(product: Product, tmp_path: Path) -> None:
    """Hook, Triton's exit time and grace period, as they are in the Deployment that KServe makes."""
    kind = Kind(mode="Standard", custom=False)
    manifest = kind.manifest()
    manifest["metadata"]["name"] = "patient"
    manifest["spec"]["predictor"] |= {"timeout": 100, "minReplicas": 1}
    bundle = product.render(manifest, "patient")
    product.run("apply", str(bundle), "--yes", "--timeout", "4m", "--quiet")
    try:
        pod = product.kind("deployment", "patient-predictor")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (exit_s,) = [int(arg.partition("=")[2]) for arg in container["args"] if arg.startswith("--exit-timeout-secs=")]
        assert (
            100
            <= exit_s
            < container["lifecycle"]["preStop"]["sleep"]["seconds"] + exit_s
            < pod["terminationGracePeriodSeconds"]
        )
    finally:
        product.run("delete", "patient", "--yes")
