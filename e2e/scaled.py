"""A service in Standard mode whose model only waits, so that a few requests a second need several replicas on two cores."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from e2e import played, support
from e2e.load import Traffic, digits_requests
from e2e.product import Product, lay_config, made_namespace
from e2e.support import Cluster, Object
from kserve_ext.bench.target import parse_target

GATEWAY_PORT = 31081  # of Standard mode's proxy, on every node
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
MODE = "serving.kserve.io/deploymentMode"
SELECTOR = "serving.kserve.io/inferenceservice="


@contextmanager
def made(cluster: Cluster, about: str, folder: Path) -> Iterator[Product]:
    """A namespace with the model that waits, and its profile."""
    with made_namespace(cluster, about) as namespace, played.slow_models(cluster, namespace):
        product = Product(cluster=cluster, namespace=namespace, folder=folder)
        report_gpu(product, 0.0)
        _with_gpu(_version(product) / "model.py")
        curve = folder / "curve.csv"
        with curve.open("w", newline="") as file:
            csv.writer(file).writerows([("batch", "latency_s"), *played.CURVE])
        for hardware in ("cpu", "gpu"):
            product.alone(
                "profile", played.MODEL, "--import", str(curve), "--hardware", hardware, "--load-time", "3s",
                "--out", str(folder / f"{hardware}.json"), "--quiet",
            )  # fmt: skip
        yield product


def service(
    product: Product, name: str, annotations: Mapping[str, str], *, hardware: str = "cpu", **predictor: Any
) -> Object:
    """An annotated InferenceService of the model that waits: 8 rows in 480 ms are 16 requests a second and replica."""
    model = {
        "modelFormat": {"name": "triton"}, "runtime": "kserve-ext-triton-standard", "storageUri": f"pvc://models/{played.MODEL}",
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    }  # fmt: skip
    own = {
        MODE: "Standard", "kserve-ext.dev/slo-p99": "3s", "kserve-ext.dev/rate": "1..40rps", "kserve-ext.dev/model": played.MODEL,
        "kserve-ext.dev/hardware": hardware, "kserve-ext.dev/profile": str(product.folder / f"{hardware}.json"),
    }  # fmt: skip
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": product.namespace, "annotations": own | dict(annotations)},
        "spec": {"predictor": {"model": model, **predictor}},
    }


def deploy(product: Product, manifest: Object, *, edit: Any = lambda folder: None) -> Path:
    """Render, lay the config, let `edit` change the bundle, apply and wait; the bundle's folder."""
    name = str(manifest["metadata"]["name"])
    bundle = product.render(manifest, f"rendered-{name}")
    lay_config(product.cluster, product.namespace, bundle, played.MODEL)
    edit(bundle)
    product.run("apply", str(bundle), "--yes", "--timeout", "3m", "--quiet")
    return bundle


def gateway(cluster: Cluster) -> Cluster:
    """The cluster, asked through the gateway of Standard mode."""
    return replace(cluster, ingress=f"{cluster.nodes[cluster.worker]}:{GATEWAY_PORT}")


def traffic(product: Product, name: str, rate_rps: float, seconds: float) -> Traffic:
    """Requests on a service in Standard mode through the gateway, which loses none when a replica goes."""
    target = played.target_at(gateway(product.cluster).ingress, f"{name}-{product.namespace}.{support.DOMAIN}")
    return Traffic(target, played.requests_to(target), rate_rps, seconds)


def door(product: Product, name: str) -> str:
    """A port of every node that leads straight to the pods of a service in Standard mode, where there is no gateway."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{name}-door"},
        "spec": {"type": "NodePort", "selector": {"app": f"isvc.{name}-predictor"}, "ports": [{"port": 8080}]},
    }
    product.cluster.apply(service, product.namespace)
    (port,) = product.kind("service", f"{name}-door")["spec"]["ports"]
    return f"{product.cluster.nodes[product.cluster.worker]}:{port['nodePort']}"


def _open(product: Product, address: str) -> str:
    """The address, once the nodes send on what comes there."""

    def answers() -> bool:
        try:
            return replace(product.cluster, ingress=address).ask("", "/v2/health/ready", timeout_s=2).status == 200
        except OSError:
            return False

    support.poll(f"{address} is open", answers, seconds=30)
    return address


def digits_traffic(product: Product, name: str, mode: str, rate_rps: float, seconds: float) -> Traffic:
    """Requests on a service of the digits model."""
    address = _open(product, door(product, name)) if mode == "Standard" else product.cluster.ingress
    target = parse_target(f"http://{address}", model="digits", authority=support.host_of(name, product.namespace))
    return Traffic(target, digits_requests(target), rate_rps, seconds)


def report_gpu(product: Product, share: float) -> None:
    """What every replica of the model says that its GPU is busy."""
    (_version(product) / "gpu.txt").write_text(f"{share:g}")


def _version(product: Product) -> Path:
    return product.cluster.given.models / product.namespace / played.MODEL / played.MODEL / "1"


def _with_gpu(model: Path) -> None:
    """No GPU is behind the cluster's numbers: the model shows one under the name of Triton's own metric."""
    text = model.read_text()
    (after,) = [line for line in text.splitlines(keepends=True) if line.startswith("        self.turn = ")]
    shown = """        self.family = family = pb_utils.MetricFamily(
            name="nv_gpu_utilization", description="GPU utilization rate", kind=pb_utils.MetricFamily.GAUGE
        )
        shown, file = family.Metric(labels={"gpu_uuid": "emulated"}), path.with_name("gpu.txt")

        def show():
            while True:
                shown.set(float(file.read_text() or 0))
                time.sleep(1)

        threading.Thread(target=show, daemon=True).start()
"""
    model.write_text(text.replace(after, after + shown).replace("import time\n", "import threading\nimport time\n", 1))


def replicas(product: Product, name: str) -> int:
    """How many the Deployment is asked for."""
    return int(product.kind("deployment", f"{name}-predictor")["spec"]["replicas"])


def ready(product: Product, name: str) -> int:
    return len(product.cluster.ready_pods(product.namespace, SELECTOR + name))


@pytest.fixture(scope="module")
def waiting(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A namespace for the services of a module."""
    with made(cluster, "scaled", tmp_path_factory.mktemp("scaled")) as product:
        yield product
