"""What must be refused, and what never becomes ready: said in one sentence, with the cause, and nothing half-applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest

from e2e import support
from e2e.product import Product, digits, made_namespace
from e2e.support import Cluster, Object

IMAGE = "kserve-ext-triton:0.1.0"


@pytest.fixture
def product(cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Product]:
    """A namespace with a short name: in Standard mode NAME-predictor-NAMESPACE must fit into 63 characters."""
    with made_namespace(cluster, "status") as namespace:
        request.node.user_properties.append(("namespace", namespace))
        try:
            cluster.apply(support.models_volume(namespace), namespace)
            yield Product(cluster=cluster, namespace=namespace, folder=tmp_path)
        finally:
            cluster.kubectl("delete", "persistentvolume", f"models-{namespace}", "--wait=false", "--ignore-not-found")


def sleeper(name: str = "sleeper", mode: str = "Knative", **container: Any) -> Object:
    """A custom predictor without a plan: a container that answers GET on 8080."""
    own = {
        "name": "kserve-container", "image": IMAGE, "ports": [{"containerPort": 8080}],
        "command": ["python3", "-m", "http.server", "--directory", "/opt/triton", "8080"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
    }  # fmt: skip
    extra = container.pop("predictor", {})
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": {"serving.kserve.io/deploymentMode": mode}},
        "spec": {"predictor": {"containers": [{**own, **container}], **extra}},
    }


def small(**resources: str) -> Object:
    """Little of everything, and as much as said of the rest. Both lists: KServe's own requests are above small limits."""
    amounts = {"cpu": "50m", "memory": "64Mi", **resources}
    return {"requests": amounts, "limits": amounts}


def applied(product: Product) -> set[str]:
    """What is there of the objects that an apply makes."""
    kinds = ("inferenceservices.serving.kserve.io", "servingruntimes.serving.kserve.io", "configmaps")
    found = {one["metadata"]["name"] for kind in kinds for one in product.cluster.list(kind, product.namespace)}
    return found - {"kube-root-ca.crt", "config-service-ca.crt"}


def cause(product: Product, name: str, code: str, seconds: float = 60) -> Any:
    """The cause with this code, once `status` gives it."""

    def look() -> Any:
        causes = product.json("status", name, code=None)["causes"]
        return next((one for one in causes if one["code"] == code), None)

    return support.poll(f"{name}: {code}", look, seconds=seconds)


# ------------------------------------------------------------------------------------------------ refused at once


def refused_manifests() -> Iterator[tuple[str, Object, list[str]]]:
    misspelt = digits()
    misspelt["spec"]["predictor"]["minReplica"] = 1
    yield "a field that the CRD does not have", misspelt, ["spec.predictor.minReplica", "minReplicas"]
    nowhere = digits(model={"runtime": "no-such-runtime"})
    yield "a runtime that is nowhere", nowhere, ["no-such-runtime", "kserve-ext-triton"]
    upside_down = digits(minReplicas=5, maxReplicas=2)
    upside_down["metadata"]["annotations"]["kserve-ext.dev/policy"] = "default"
    yield "bounds upside down", upside_down, ["Replicas"]
    elsewhere = digits()
    elsewhere["metadata"]["namespace"] = "somewhere-else"
    yield "another namespace than asked for", elsewhere, ["somewhere-else"]


REFUSED = list(refused_manifests())


@pytest.mark.parametrize(("manifest", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_the_cluster_would_refuse_is_refused_before_anything_is_sent(
    product: Product, manifest: Object, said: list[str]
) -> None:
    done = product.run("apply", product.write(manifest), "--yes", code=2)
    assert all(word in done.stderr for word in said), done.stderr
    assert applied(product) == set()


def test_a_webhook_that_denies_is_named_with_its_words(product: Product) -> None:
    bundle = product.render(digits(), "rendered")
    file = bundle / "inferenceservice.yaml"
    file.write_text(file.read_text().replace("maxReplicas: ", "maxReplicas: -"))
    done = product.run("apply", str(bundle), "--yes", code=2)
    assert "inferenceservice.kserve-webhook-server.validator denies it" in done.stderr
    assert applied(product) == set()


def test_a_namespace_that_is_not_there_is_said(cluster: Cluster, tmp_path: Path) -> None:
    nowhere = Product(cluster=cluster, namespace="no-such-namespace", folder=tmp_path)
    done = nowhere.run("apply", nowhere.write(digits()), "--yes", code=2)
    assert "no such namespace" in done.stderr
    assert "kubectl create namespace no-such-namespace" in done.stderr


def test_a_namespace_that_is_being_deleted_is_said(product: Product) -> None:
    held = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["kserve-ext.dev/held"]},
    }
    product.cluster.apply(held, product.namespace)
    try:
        product.cluster.kubectl("delete", "namespace", product.namespace, "--wait=false")
        done = product.run("apply", product.write(digits()), "--yes", code=4)
        assert "is being deleted and takes nothing new" in done.stderr
    finally:
        product.cluster.patch("configmap", "held", product.namespace, {"metadata": {"finalizers": None}})


def test_a_quota_on_what_is_applied_is_said_before_anything_is_sent(product: Product) -> None:
    few = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"count/configmaps": "1"}},
    }
    product.cluster.apply(few, product.namespace)
    support.poll(
        "the quota counts", lambda: product.kind("resourcequota", "few").get("status", {}).get("used"), seconds=30
    )
    done = product.run("apply", product.write(digits()), "--yes", code=2)
    assert "quota few has no room" in done.stderr
    assert applied(product) == set()


def test_a_person_without_the_right_is_told_which_one(product: Product) -> None:
    """As a service account that may read only."""
    cluster, namespace = product.cluster, product.namespace
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}, namespace)
    kinds = "inferenceservices.serving.kserve.io,servingruntimes.serving.kserve.io,configmaps"
    cluster.kubectl("-n", namespace, "create", "role", "reader", "--verb=get,list", f"--resource={kinds}")
    account = f"--serviceaccount={namespace}:reader"
    cluster.kubectl("-n", namespace, "create", "rolebinding", "reader", "--role=reader", account)
    token = cluster.kubectl("-n", namespace, "create", "token", "reader").strip()
    kubeconfig = product.folder / "reader.kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    config = ("config", f"--kubeconfig={kubeconfig}")
    cluster.kubectl(*config, "set-credentials", "reader", f"--token={token}")
    cluster.kubectl(*config, "set-context", "reader", f"--cluster=kind-{cluster.given.name}", "--user=reader")
    done = product.run(
        "apply", product.write(digits()), "--yes", "--kubeconfig", str(kubeconfig), "--context", "reader", code=2
    )
    assert f"system:serviceaccount:{namespace}:reader may not patch" in done.stderr
    assert "kubectl auth can-i patch" in done.stderr


# ------------------------------------------------------------------------------------------------ never ready

NEVER: dict[str, tuple[Object, str, str]] = {
    "image": (sleeper(image="kserve-ext-nowhere:1"), "image", "kserve-ext-nowhere:1"),
    "memory": (
        sleeper(command=["python3", "-c", "x = bytearray(10**9)"], resources=small(memory="64Mi")),
        "memory", "more memory than its limit",
    ),
    "crash": (sleeper(command=["python3", "-c", "raise SystemExit(3)"]), "crash", "exit code 3"),
    "no-gpu": (
        sleeper(resources=small(**{"nvidia.com/gpu": "64"})), "no-gpu", "nvidia.com/gpu",
    ),
    "selector": (sleeper(predictor={"nodeSelector": {"disk": "none-such"}}), "selector", "no node has the labels"),
    "standard-crash": (sleeper(mode="Standard", command=["python3", "-c", "raise SystemExit(3)"]), "crash", "exit code 3"),
}  # fmt: skip


@pytest.mark.parametrize(("manifest", "code", "said"), NEVER.values(), ids=NEVER)
def test_what_keeps_a_service_from_being_ready_is_one_sentence(
    product: Product, manifest: Object, code: str, said: str
) -> None:
    product.cluster.apply(manifest, product.namespace)
    found = cause(product, "sleeper", code)
    assert said in found["sentence"]
    assert found["remedy"]


def test_what_pod_security_forbids_is_named(cluster: Cluster, restricted_namespace: str, tmp_path: Path) -> None:
    product = Product(cluster=cluster, namespace=restricted_namespace, folder=tmp_path)
    cluster.apply(sleeper(securityContext={"runAsUser": 0, "allowPrivilegeEscalation": True}), restricted_namespace)
    found = cause(product, "sleeper", "pod-security")
    assert "restricted" in found["sentence"]


def test_a_quota_that_leaves_no_room_for_a_pod_is_named(product: Product) -> None:
    few = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"limits.cpu": "100m"}},
    }
    product.cluster.apply(few, product.namespace)
    product.cluster.apply(sleeper(), product.namespace)
    assert "small" in cause(product, "sleeper", "quota")["sentence"]


def test_one_slice_too_many_waits_and_says_why(product: Product) -> None:
    """Each slice of the worker is taken by one service; the next one stays pending."""
    slice_ = small(**{"nvidia.com/mig-1g.10gb": "1"})
    for index in range(product.cluster.given.mig_slices + 1):
        product.cluster.apply(sleeper(f"slice-{index}", mode="Standard", resources=slice_), product.namespace)
    pods = support.poll("the slices are taken", lambda: _scheduled(product), seconds=90)
    assert {pod["spec"]["nodeName"] for pod in pods} == {product.cluster.worker}
    waiting = [one for one in product.json("status", code=None) if any(c["code"] == "no-gpu" for c in one["causes"])]
    assert waiting
    assert "nvidia.com/mig-1g.10gb" in waiting[0]["causes"][0]["sentence"]


def _scheduled(product: Product) -> list[Object] | None:
    pods = [pod for pod in product.cluster.pods(product.namespace) if pod["spec"].get("nodeName")]
    waiting = [pod for pod in product.cluster.pods(product.namespace) if not pod["spec"].get("nodeName")]
    return pods if pods and waiting else None


def test_a_service_that_never_gets_ready_times_out_with_its_cause(product: Product) -> None:
    product.cluster.apply(sleeper(image="kserve-ext-nowhere:1"), product.namespace)
    cause(product, "sleeper", "image")
    done = product.run("wait", "sleeper", "--timeout", "3s", code=1)
    assert "not ready after 3s" in done.stderr
    assert "kserve-ext-nowhere:1 cannot be pulled" in done.stderr


def test_an_atomic_apply_that_fails_leaves_nothing(product: Product) -> None:
    never = digits(model={"storageUri": "pvc://no-such-claim/digits"})
    done = product.run("apply", product.write(never), "--yes", "--atomic", "--timeout", "20s", code=1)
    assert "no-such-claim" in done.stderr
    assert "deleted again:" in done.stderr
    support.poll("nothing is left", lambda: applied(product) == set(), seconds=30)


def test_a_failed_apply_says_what_is_there_and_how_to_undo_it(product: Product) -> None:
    never = digits(model={"storageUri": "pvc://no-such-claim/digits"})
    done = product.run("apply", product.write(never), "--yes", "--timeout", "15s", code=1)
    assert "all of it is applied (bundle 1)" in done.stderr
    assert f"kserve-ext delete digits -n {product.namespace}" in done.stderr
    assert product.json("status", "digits", code=1)["bundle"]["outcome"] == "failed"
    product.run("delete", "digits", "--yes")


def test_a_cluster_that_is_not_there_exits_with_four(cluster: Cluster, tmp_path: Path) -> None:
    with made_namespace(cluster, "unreachable") as namespace:
        product = Product(cluster=cluster, namespace=namespace, folder=tmp_path)
        kubeconfig = tmp_path / "gone.kubeconfig"
        kubeconfig.write_text(cluster.kubeconfig.read_text())
        config = ("config", f"--kubeconfig={kubeconfig}", "set-cluster", f"kind-{cluster.given.name}")
        cluster.kubectl(*config, "--server=https://127.0.0.1:9")
        assert "does not answer" in product.run("status", "--kubeconfig", str(kubeconfig), code=4).stderr
        assert "no such context" in product.run("status", "--context", "prod", code=2).stderr


def test_credentials_that_the_cluster_does_not_accept_exit_with_four(cluster: Cluster, tmp_path: Path) -> None:
    product = Product(cluster=cluster, namespace="default", folder=tmp_path)
    kubeconfig = tmp_path / "expired.kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    config = ("config", f"--kubeconfig={kubeconfig}")
    cluster.kubectl(*config, "set-credentials", "expired", "--token=once-upon-a-time")
    cluster.kubectl(*config, "set-context", "expired", f"--cluster=kind-{cluster.given.name}", "--user=expired")
    done = product.run("status", "--kubeconfig", str(kubeconfig), "--context", "expired", code=4)
    assert "does not accept these credentials" in done.stderr


def test_a_cluster_whose_certificate_another_ca_signed_is_told(cluster: Cluster, tmp_path: Path) -> None:
    product = Product(cluster=cluster, namespace="default", folder=tmp_path)
    kubeconfig = tmp_path / "other.kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    config = ("config", f"--kubeconfig={kubeconfig}", "set-cluster", f"kind-{cluster.given.name}")
    cluster.kubectl(*config, f"--certificate-authority={certifi.where()}", "--embed-certs=true")
    assert "not signed by the CA" in product.run("status", "--kubeconfig", str(kubeconfig), code=4).stderr
