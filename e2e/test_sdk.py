"""Beside kserve.KServeClient: what one of the two made, the other sees, changes and deletes.

kserve runs in a process of its own: it cannot be loaded beside tritonclient.grpc, both register the same messages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from e2e import support
from e2e.product import Product, digits, lay_config, made_namespace, planned_models
from e2e.support import Cluster
from kserve_ext.cluster import (
    Where,
    apply,
    connect,
    delete,
    find_service,
    preview,
    read_bundles,
    read_manifests,
    status_of,
    units_of,
    wait_gone,
    wait_ready,
    what_is_ours,
)
from kserve_ext.errors import InputError

pytestmark = pytest.mark.skipif(find_spec("kserve") is None, reason="kserve is not installed")

CREATE = """
import json, sys
namespace, uri = sys.argv[1:3]
sys.argv = sys.argv[:1]  # kserve reads the command line when it is imported
from kubernetes.client import V1ObjectMeta, V1ResourceRequirements
from kserve import KServeClient, V1beta1InferenceService, V1beta1InferenceServiceSpec, V1beta1ModelFormat, V1beta1ModelSpec
from kserve import V1beta1PredictorSpec
model = V1beta1ModelSpec(
    model_format=V1beta1ModelFormat(name="triton"), runtime="kserve-ext-triton", storage_uri=uri, protocol_version="v2",
    resources=V1ResourceRequirements(requests={"cpu": "100m", "memory": "512Mi"}, limits={"cpu": "1", "memory": "1Gi"}),
)
service = V1beta1InferenceService(
    api_version="serving.kserve.io/v1beta1", kind="InferenceService",
    metadata=V1ObjectMeta(name="typed", namespace=namespace, annotations={"serving.kserve.io/deploymentMode": "Knative"}),
    spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(min_replicas=1, max_replicas=2, model=model)),
)
client = KServeClient()
made = client.create(service)
print(json.dumps({"name": made["metadata"]["name"]}))
"""
LOOK = """
import json, sys
namespace, name = sys.argv[1:3]
sys.argv = sys.argv[:1]
from kserve import KServeClient
client = KServeClient()
client.wait_isvc_ready(name, namespace=namespace, timeout_seconds=120, polling_interval=1)
found = client.get(name, namespace=namespace)
print(json.dumps({"ready": client.is_isvc_ready(name, namespace=namespace), "max": found["spec"]["predictor"]["maxReplicas"]}))
"""
DELETE = """
import sys
namespace, name = sys.argv[1:3]
sys.argv = sys.argv[:1]
from kserve import KServeClient
KServeClient().delete(name, namespace=namespace)
print("{}")
"""


@pytest.fixture(scope="module")
def product(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with made_namespace(cluster, "sdk") as namespace, planned_models(cluster, namespace):
        yield Product(cluster=cluster, namespace=namespace, folder=tmp_path_factory.mktemp("sdk"))


def kserve(product: Product, code: str, *arguments: str) -> Any:
    """What a script that uses kserve's client prints."""
    environment = {**os.environ, "KUBECONFIG": str(product.cluster.kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-c", code, product.namespace, *arguments], env=environment, capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_bundle_is_applied_from_python_and_kserves_client_sees_it(product: Product) -> None:
    bundle = product.render(digits(), "rendered")
    lay_config(product.cluster, product.namespace, bundle)
    cluster = connect(Where(kubeconfig=str(product.cluster.kubeconfig), namespace=product.namespace))
    texts = [(str(file), file.read_text()) for file in sorted(bundle.glob("*.yaml"))]
    (unit,) = units_of(read_manifests(texts), namespace=product.namespace)
    seen = preview(cluster, unit)
    assert seen.differs
    steps: list[str] = []
    receipt = apply(cluster, seen, timeout_s=180, say=steps.append)
    assert receipt.ready
    assert steps[:3] == [
        "ServingRuntime digits-triton created",
        "ConfigMap digits-plan created",
        "InferenceService digits created",
    ]
    assert not preview(cluster, unit).differs

    answer = kserve(product, LOOK, "digits")
    assert answer["ready"] is True
    kserve(product, DELETE, "digits")
    support.poll(
        "the history goes with the service", lambda: not read_bundles(cluster, "digits", product.namespace), seconds=60
    )


def test_what_kserves_client_created_is_seen_changed_and_deleted_here(product: Product) -> None:
    assert kserve(product, CREATE, "pvc://models/digits") == {"name": "typed"}
    cluster = connect(Where(kubeconfig=str(product.cluster.kubeconfig), namespace=product.namespace))
    found = wait_ready(cluster, "typed", product.namespace, timeout_s=180)
    assert status_of(found).phase == "ready"

    live = find_service(cluster, "typed", product.namespace)
    wanted = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": "typed", "annotations": live["metadata"]["annotations"]},
        "spec": {"predictor": {"maxReplicas": 3}},
    }
    (unit,) = units_of([wanted], namespace=product.namespace)
    seen = preview(cluster, unit)
    assert {owner for error in seen.conflicts for owner in error.fields.values()} == {"OpenAPI-Generator"}
    assert apply(cluster, seen, timeout_s=180, force=True).ready
    assert kserve(product, LOOK, "typed") == {"ready": True, "max": 3}

    delete(cluster, what_is_ours(cluster, "typed", product.namespace))
    wait_gone(cluster, "typed", product.namespace, timeout_s=120)
    with pytest.raises(InputError, match="no such InferenceService"):
        find_service(cluster, "typed", product.namespace)
