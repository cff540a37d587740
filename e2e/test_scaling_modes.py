"""Each way to scale, from its plan to its replicas: by requests, queue, CPU and GPU, ahead of a forecast, to and from zero."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from e2e import scaled, support
from e2e.product import Product, digits, lay_config, lay_digits
from e2e.scaled import PROMETHEUS, deploy, ready, replicas, report_gpu, service, traffic, waiting
from e2e.support import Cluster, Object

full = pytest.mark.full  # KEDA, or the recommender
__all__ = ["waiting"]  # the fixture

KEDA = {"kserve-ext.dev/prometheus": PROMETHEUS}
BUSY_RPS, BUSY_S = 30.0, 120.0  # two replicas' worth, for long enough that a query over a minute sees all of it


@contextmanager
def served(product: Product, manifest: Object, **how: object) -> Iterator[str]:
    """The service, applied from its plan; it goes with all that was applied with it."""
    name = str(manifest["metadata"]["name"])
    deploy(product, manifest, **how)  # type: ignore[arg-type]
    try:
        yield name
    finally:
        product.run("delete", name, "--yes")


def quick(bundle: Path) -> None:
    """The bundle with a short way down, so that a test need not wait for it."""
    file = bundle / "autoscaler.yaml"
    found = yaml.safe_load(file.read_text())
    spec = found["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] if "advanced" in spec else spec["behavior"]
    behavior["scaleDown"]["stabilizationWindowSeconds"] = 15
    if "cooldownPeriod" in spec:
        spec |= {"cooldownPeriod": 15, "initialCooldownPeriod": 45, "pollingInterval": 5}
    file.write_text(yaml.safe_dump(found, sort_keys=False))


def planned_target(product: Product, name: str) -> float:
    plan = yaml.safe_load(product.kind("configmap", f"{name}-plan")["data"]["plan.yaml"])
    return float(plan["horizontal"]["target"])


@full
@pytest.mark.parametrize("by", ["rps", "queue"])
def test_keda_brings_the_replicas_that_the_load_needs_and_takes_them_away(waiting: Product, by: str) -> None:
    annotations = KEDA | {"kserve-ext.dev/scaler": f"keda-{by}"}
    with served(waiting, service(waiting, f"by-{by}", annotations), edit=quick) as name:
        assert replicas(waiting, name) == 1
        with traffic(waiting, name, BUSY_RPS, BUSY_S) as load:
            support.poll("more replicas are ready", lambda: ready(waiting, name) >= 2, seconds=BUSY_S - 5)
            seen = waiting.json("status", name)["autoscaler"]
        # A load that doubles at once waits for the replicas, some of it longer than the test does; nothing fails.
        assert set(load.result.errors) <= {"no answer"}
        assert (seen["name"], seen["problem"]) == (f"{name}-keda", "")
        support.poll("one replica is left", lambda: replicas(waiting, name) == 1, seconds=180, every=1)


@full
def test_the_autoscaler_s_target_is_the_plan_s(waiting: Product) -> None:
    annotations = KEDA | {"kserve-ext.dev/scaler": "keda-rps"}
    with served(waiting, service(waiting, "target", annotations)) as name:
        (metric,) = support.poll(
            "KEDA has made its HPA", lambda: waiting.kind("hpa", f"{name}-keda")["spec"]["metrics"], seconds=60
        )
        quantity = str(metric["external"]["target"]["averageValue"])
        value = float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)
        assert value == pytest.approx(planned_target(waiting, name), abs=1e-3)
        assert waiting.json("diff", str(waiting.folder / f"rendered-{name}" / name))["differs"] is False


@full
def test_a_forecast_brings_replicas_before_there_is_a_request(waiting: Product) -> None:
    annotations = KEDA | {"kserve-ext.dev/scaler": "keda-rps"}
    with served(waiting, service(waiting, "foreseen", annotations), edit=quick) as name:
        foretell(waiting, name, 2 * planned_target(waiting, name))
        support.poll("two replicas are asked for", lambda: replicas(waiting, name) == 2, seconds=120, every=1)


@full
def test_at_zero_replicas_requests_fail_and_a_forecast_wakes_the_service(waiting: Product) -> None:
    annotations = KEDA | {"kserve-ext.dev/scaler": "keda-rps"}
    with served(waiting, service(waiting, "asleep", annotations, minReplicas=0), edit=quick) as name:
        support.poll("no replica is left", lambda: replicas(waiting, name) == 0, seconds=120, every=1)
        asleep = replace(waiting.cluster, ingress=scaled.door(waiting, name))
        with pytest.raises(OSError, match=r"refused|timed out"):
            asleep.ask(name, "/v2/health/ready", timeout_s=5)
        time.sleep(20)  # four looks of KEDA
        assert replicas(waiting, name) == 0  # a request that failed wakes nothing
        assert waiting.json("status", name, code=None)["replicas_desired"] == 0  # KServe no longer calls it ready
        foretell(waiting, name, 1.0)
        support.poll("a replica is ready", lambda: ready(waiting, name) == 1, seconds=120, every=1)


@full
def test_without_prometheus_the_replicas_of_the_busy_rate_run(waiting: Product) -> None:
    nobody = {"kserve-ext.dev/prometheus": "http://nobody.monitoring.svc:9090", "kserve-ext.dev/scaler": "keda-rps"}
    with served(waiting, service(waiting, "alone", nobody)) as name:
        plan = yaml.safe_load(waiting.kind("configmap", f"{name}-plan")["data"]["plan.yaml"])
        wanted = plan["horizontal"]["fallback_replicas"]
        assert wanted == plan["replicas_at_high_rate"] > 1
        support.poll("KEDA falls back", lambda: replicas(waiting, name) == wanted, seconds=180, every=1)


@full
def test_a_busy_gpu_brings_replicas(waiting: Product) -> None:
    """No GPU is behind the cluster's numbers: the model reports how busy one is, as Triton does with a real one."""
    annotations = KEDA | {"kserve-ext.dev/scaler": "keda-gpu"}
    report_gpu(waiting, 0.1)
    with served(waiting, service(waiting, "by-gpu", annotations, hardware="gpu"), edit=quick) as name:
        assert replicas(waiting, name) == 1
        report_gpu(waiting, 1.0)
        support.poll("more replicas are asked for", lambda: replicas(waiting, name) >= 2, seconds=150, every=1)
        assert (
            waiting.json("status", name, code=None)["autoscaler"]["problem"] == ""
        )  # and they are not what it falls back to
        report_gpu(waiting, 0.1)
        support.poll("one replica is left", lambda: replicas(waiting, name) == 1, seconds=180, every=1)


@full
def test_a_scaler_is_changed_for_another_without_a_service_in_between(waiting: Product) -> None:
    cpu = service(waiting, "changing", {"kserve-ext.dev/scaler": "fixed"}, minReplicas=1)
    with served(waiting, cpu) as name:
        deploy(waiting, service(waiting, name, KEDA | {"kserve-ext.dev/scaler": "keda-rps"}))
        assert waiting.kind("scaledobject", f"{name}-scaler")["spec"]["minReplicaCount"] == 1
        deploy(waiting, cpu)
        gone = waiting.cluster.list("scaledobject", waiting.namespace)
        assert not [
            one
            for one in gone
            if one["metadata"]["name"] == f"{name}-scaler" and not one["metadata"].get("deletionTimestamp")
        ]


@pytest.fixture(scope="module")
def fast(cluster: Cluster, waiting: Product) -> Product:
    """The same, for the digits model: it uses the CPU."""
    lay_digits(cluster, waiting.namespace)
    return waiting


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_the_cpu_brings_replicas(fast: Product, mode: str) -> None:
    """At 100 requests a second digits uses more than the fiftieth of a core that it asks for."""
    manifest = digits(f"by-cpu-{mode.lower()}")
    manifest["metadata"]["annotations"] |= {
        "serving.kserve.io/deploymentMode": mode,
        "kserve-ext.dev/scaler": "hpa" if mode == "Standard" else "knative-hpa",
    }
    manifest["spec"]["predictor"] |= {"maxReplicas": 2}
    manifest["spec"]["predictor"]["model"]["resources"]["requests"]["cpu"] = "20m"
    if mode == "Standard":
        manifest["spec"]["predictor"]["model"]["runtime"] = "kserve-ext-triton-standard"
    name = str(manifest["metadata"]["name"])
    bundle = fast.render(manifest, name)
    lay_config(fast.cluster, fast.namespace, bundle)
    fast.run("apply", str(bundle), "--yes", "--timeout", "3m", "--quiet")
    try:
        deployment = f"{name}-predictor" if mode == "Standard" else f"{revision(fast, name)}-deployment"
        with scaled.digits_traffic(fast, name, mode, 100.0, 110.0):
            support.poll(
                "two replicas are asked for",
                lambda: fast.kind("deployment", deployment)["spec"]["replicas"] == 2,
                seconds=105,
                every=1,
            )
    finally:
        fast.run("delete", name, "--yes")


@full
def test_a_recommendation_stands_beside_what_is_asked_for(waiting: Product) -> None:
    annotations = {"kserve-ext.dev/scaler": "fixed", "kserve-ext.dev/vertical": "recommend"}
    with served(waiting, service(waiting, "watched", annotations, minReplicas=1)) as name:
        found = support.poll(
            "it is recommended", lambda: waiting.json("status", name)["recommended"] or None, seconds=240, every=5
        )
        assert {one["resource"]: one["requested"] for one in found} == {"cpu": "50m", "memory": "128Mi"}
        assert "recommended" in waiting.run("status", name).stdout
        pods = waiting.cluster.ready_pods(waiting.namespace, scaled.SELECTOR + name)
        (container,) = pods[0]["spec"]["containers"]
        assert container["resources"]["requests"] == {"cpu": "50m", "memory": "128Mi"}  # nothing was changed


def test_placeholders_give_their_place_to_a_replica_and_take_it_back(waiting: Product) -> None:
    """Four GPUs: one for the replica, three kept by placeholders, one of which the second replica pushes out."""
    annotations = {"kserve-ext.dev/scaler": "fixed", "kserve-ext.dev/node-start": "30m"}
    manifest = service(waiting, "placed", annotations, hardware="gpu", minReplicas=1, maxReplicas=4)
    with served(waiting, manifest) as name:

        def placeholders(running: int, pending: int) -> bool:
            found = waiting.cluster.pods(waiting.namespace, f"app.kubernetes.io/name={name}-placeholder")
            phases = sorted(pod["status"]["phase"] for pod in found)
            return phases == ["Pending"] * pending + ["Running"] * running

        support.poll("placeholders hold the other GPUs", lambda: placeholders(3, 0), seconds=90)
        ask_for(waiting, name, 2)
        support.poll("the second replica is ready", lambda: ready(waiting, name) == 2, seconds=90)
        events = waiting.cluster.list("events", waiting.namespace)
        pushed = [one for one in events if one["reason"] == "Preempted"]
        assert [one for one in pushed if one["involvedObject"]["name"].startswith(f"{name}-placeholder")]
        # The placeholder that replaces it waits: what orders a node where there is a cluster autoscaler.
        support.poll("a placeholder is pending", lambda: placeholders(2, 1), seconds=60)
        ask_for(waiting, name, 1)
        support.poll("the placeholder has its GPU again", lambda: placeholders(3, 0), seconds=120)


# ----------------------------------------------------------------------------------------------------------- helpers


def ask_for(product: Product, name: str, count: int) -> None:
    """Another number of replicas of a service whose scaler is fixed."""
    product.cluster.patch("isvc", name, product.namespace, {"spec": {"predictor": {"minReplicas": count}}})


def revision(product: Product, name: str) -> str:
    return str(product.kind("services.serving.knative.dev", f"{name}-predictor")["status"]["latestReadyRevisionName"])


def foretell(product: Product, name: str, rate_rps: float) -> None:
    """A pod that shows the forecast of a service, as the operator does."""
    labels = f'inferenceservice_namespace="{product.namespace}",inferenceservice_name="{name}"'
    text = f"# TYPE kserve_ext_forecast_rps gauge\nkserve_ext_forecast_rps{{{labels}}} {rate_rps:g}\n"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-forecast",
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8000", "prometheus.io/path": "/metrics"},
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "forecast", "image": "kserve-ext-digits:0.1.0", "imagePullPolicy": "IfNotPresent",
                "command": ["python", "-m", "http.server", "8000", "--directory", "/shown"],
                "volumeMounts": [{"name": "shown", "mountPath": "/shown"}],
            }],
            "volumes": [{"name": "shown", "configMap": {"name": f"{name}-forecast"}}],
        },
    }  # fmt: skip
    shown = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-forecast"},
        "data": {"metrics": text},
    }
    product.cluster.apply([shown, pod], product.namespace)
