"""What SET=full adds: one address for both protocols in Standard mode, replicas from a query, recommended resources."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc

from e2e import support
from e2e.product import DIGITS, Product, digits, lay_config, made_namespace, planned_models
from e2e.support import Cluster, Object

pytestmark = pytest.mark.full
_GATEWAY_PORT = 31081  # of the proxy, on every node
_IMAGE = "kserve-ext-triton:0.1.0"


@pytest.fixture
def gateway(cluster: Cluster) -> Cluster:
    """The cluster, asked through the gateway of Standard mode."""
    return replace(cluster, ingress=f"{cluster.nodes[cluster.worker]}:{_GATEWAY_PORT}")


def standard(name: str, annotations: dict[str, str], ports: list[Object], *, replicas: int = 1) -> Object:
    """Triton with the digits, in Standard mode, replicas left to others."""
    container = {
        "name": "kserve-container",
        "image": _IMAGE,
        "args": ["tritonserver", "--model-repository=/models/digits", "--http-port=8080", "--grpc-port=9000"],
        "ports": ports,
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": {"serving.kserve.io/deploymentMode": "Standard", **annotations}},
        "spec": {
            "predictor": {
                "minReplicas": replicas,
                "maxReplicas": 3,
                "containers": [container],
                "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}],
            }
        },
    }


def deployment_replicas(cluster: Cluster, name: str, namespace: str) -> int:
    found: int = cluster.get("deployment", f"{name}-predictor", namespace)["spec"]["replicas"]
    return found


def test_one_host_and_port_answers_http_and_grpc(gateway: Cluster, cluster: Cluster, namespace: str) -> None:
    # A port is gRPC's by its name.
    ports = [{"name": "http1", "containerPort": 8080}, {"name": "h2c", "containerPort": 9000}]
    cluster.apply(standard("both", {"serving.kserve.io/autoscalerClass": "none"}, ports), namespace)
    cluster.wait_ready("isvc", "both", namespace)
    host = f"both-{namespace}.{support.DOMAIN}"
    image = np.zeros((1, 64), np.float32)

    body = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image.ravel().tolist()}]}
    answer = support.poll("the route is there", lambda: _answered(gateway, host, body), seconds=60)
    over_http = {one["name"]: one["data"] for one in answer["outputs"]}

    with grpc.InferenceServerClient(gateway.ingress, channel_args=[("grpc.default_authority", host)]) as client:
        tensor = grpc.InferInput("image", [1, 64], "FP32")
        tensor.set_data_from_numpy(image)
        over_grpc = client.infer("digits", [tensor])

    assert over_grpc.as_numpy("scores").ravel() == pytest.approx(over_http["scores"])
    assert over_grpc.as_numpy("label").ravel().tolist() == over_http["label"]


def test_a_planned_service_in_standard_mode_is_applied_and_verified_through_the_gateway(
    gateway: Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    manifest = digits(model={"runtime": "kserve-ext-triton-standard"})
    manifest["metadata"]["annotations"] |= {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none",
    }
    with made_namespace(cluster, "standard") as namespace, planned_models(cluster, namespace):
        product = Product(cluster=cluster, namespace=namespace, folder=tmp_path)
        bundle = product.render(manifest, "rendered")
        lay_config(cluster, namespace, bundle)
        receipt = product.json("apply", str(bundle), "--yes", "--timeout", "3m", "--quiet")
        planned = product.json("status", "digits")["planned"]
        found = product.json(
            "verify", "--isvc", "digits", "--via", f"http://{gateway.ingress}", "--samples", str(DIGITS / "samples.json"),
            "--rate", "30rps", "--slo-p99", "5s", "--duration", "20s",
        )  # fmt: skip
        replicas = deployment_replicas(cluster, "digits", namespace)
    assert receipt["ready"]
    assert replicas == planned["replicas_at_high_rate"]
    assert found["measurement"]["failed"] == 0
    assert found["measurement"]["sent"] > 400


def test_keda_sets_the_replicas_that_a_query_asks_for(cluster: Cluster, namespace: str) -> None:
    service = standard("asked", {"serving.kserve.io/autoscalerClass": "external"}, [{"containerPort": 8080}])
    cluster.apply(service, namespace)
    cluster.wait_ready("isvc", "asked", namespace)
    trigger = {
        "type": "prometheus",
        "metadata": {"serverAddress": "http://prometheus.monitoring.svc:9090", "query": "vector(6)", "threshold": "2"},
    }
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "asked"},
        "spec": {
            "scaleTargetRef": {"name": "asked-predictor"},
            "minReplicaCount": 1,
            "maxReplicaCount": 3,
            "pollingInterval": 5,
            "triggers": [trigger],
        },
    }
    cluster.apply(scaled, namespace)
    try:
        three = "three replicas are asked for"
        support.poll(three, lambda: deployment_replicas(cluster, "asked", namespace) == 3, seconds=90)
    finally:  # before its namespace: the operator must take its finalizer away
        cluster.kubectl("--namespace", namespace, "delete", "scaledobject", "asked", "--timeout=60s")


def test_the_recommender_recommends(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        standard("watched", {"serving.kserve.io/autoscalerClass": "none"}, [{"containerPort": 8080}]), namespace
    )
    cluster.wait_ready("isvc", "watched", namespace)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "watched-predictor"}
    recommender = {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "watched"},
        "spec": {"targetRef": target, "updatePolicy": {"updateMode": "Off"}},
    }
    cluster.apply(recommender, namespace)

    def recommended() -> Object | None:
        status = cluster.get("verticalpodautoscaler", "watched", namespace).get("status", {})
        return next(iter(status.get("recommendation", {}).get("containerRecommendations", [])), None)

    found = support.poll("there is a recommendation", recommended, seconds=180, every=2)
    assert found["containerName"] == "kserve-container"
    assert found["target"].keys() == {"cpu", "memory"}


def _answered(gateway: Cluster, host: str, body: Object) -> Object | None:
    answer = gateway.ask(host, "/v2/models/digits/infer", json.dumps(body).encode())
    return answer.json() if answer.status == 200 else None
