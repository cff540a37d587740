"""The cluster itself: what `make cluster` promises to those who test on it."""

from __future__ import annotations

import json
import subprocess

import pytest

from e2e import support
from e2e.cluster.parts import knative
from e2e.support import Cluster, KubectlError, Object

IMAGE = "kserve-ext-triton:0.1.0"
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def sleeper(name: str, **resources: str) -> Object:
    """A pod that does nothing, with limits on resources."""
    container = {"name": "sleep", "image": IMAGE, "command": ["sleep", "infinity"], "resources": {"limits": resources}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def knative_service(name: str, annotations: dict[str, str] | None = None, **pod: object) -> Object:
    """A Knative Service that answers every GET."""
    container = {
        "image": IMAGE,
        "command": ["python3", "-m", "http.server", "--directory", "/opt/triton", "8080"],
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    template = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [container], **pod}}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": template},
    }


def test_both_nodes_are_ready_and_take_pods(cluster: Cluster) -> None:
    nodes = cluster.list("nodes", "default")
    assert {node["metadata"]["name"] for node in nodes} == set(cluster.nodes)
    assert all(support.condition(node, "Ready") == "True" for node in nodes)
    assert not [taint for node in nodes for taint in node["spec"].get("taints", [])]


def test_a_pod_that_asks_for_a_slice_runs_on_the_worker_and_one_too_many_waits(
    cluster: Cluster, namespace: str
) -> None:
    slices = cluster.given.mig_slices
    cluster.apply([sleeper(f"fits-{i}", **{"nvidia.com/mig-1g.10gb": "1"}) for i in range(slices)], namespace)
    support.poll("the pods run", lambda: len(cluster.ready_pods(namespace)) == slices, seconds=60)
    assert {pod["spec"]["nodeName"] for pod in cluster.pods(namespace)} == {cluster.worker}

    cluster.apply(sleeper("one-too-many", **{"nvidia.com/mig-1g.10gb": "1"}), namespace)

    def refusal() -> str | None:
        conditions = cluster.get("pod", "one-too-many", namespace)["status"].get("conditions", [])
        return next((one["message"] for one in conditions if one.get("reason") == "Unschedulable"), None)

    assert "Insufficient nvidia.com/mig-1g.10gb" in support.poll("the pod is refused", refusal, seconds=30)


def test_a_service_address_that_nobody_serves_refuses_at_once(cluster: Cluster) -> None:
    # Let out of the node, such a connection may be accepted by something else and kept for good.
    probe = "exec 3<>/dev/tcp/10.96.77.77/443"
    done = subprocess.run(
        ["docker", "exec", cluster.worker, "timeout", "5", "bash", "-c", probe],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    assert "refused" in done.stderr


def test_pod_metrics_are_served(cluster: Cluster) -> None:
    def used() -> list[Object]:
        found = json.loads(cluster.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/kserve/pods"))
        return found["items"] or None

    assert support.poll("metrics-server knows KServe's controller", used, seconds=90)[0]["containers"]


@pytest.mark.parametrize("feature", sorted(name for name in knative.FEATURES if name.startswith("kubernetes.podspec-")))
def test_knative_is_set_to_take_the_pod_fields(cluster: Cluster, feature: str) -> None:
    assert cluster.get("configmap", "config-features", "knative-serving")["data"][feature] == "enabled"


def test_knative_accepts_what_gpu_services_need(cluster: Cluster, namespace: str) -> None:
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    service = knative_service(
        "scheduled",
        nodeSelector={"nvidia.com/gpu.present": "true"},
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        topologySpreadConstraints=[{**spread, "labelSelector": {"matchLabels": {"app": "scheduled"}}}],
        securityContext={"runAsNonRoot": True, "runAsUser": 1000},
    )
    cluster.apply(service, namespace)
    cluster.wait_ready("ksvc", "scheduled", namespace)
    assert [pod["spec"]["nodeName"] for pod in cluster.pods(namespace)] == [cluster.worker]


def test_a_service_runs_where_the_restricted_policy_is_enforced(cluster: Cluster, restricted_namespace: str) -> None:
    service = knative_service("restricted")
    service["spec"]["template"]["spec"]["containers"][0]["securityContext"] = RESTRICTED
    cluster.apply(service, restricted_namespace)
    cluster.wait_ready("ksvc", "restricted", restricted_namespace)

    answer = cluster.ask(f"restricted.{restricted_namespace}.{support.DOMAIN}", "/")
    assert answer.status == 200

    with pytest.raises(KubectlError, match="violates PodSecurity"):
        cluster.apply(sleeper("lax"), restricted_namespace)


def test_requests_are_seen_in_prometheus(cluster: Cluster, namespace: str) -> None:
    cluster.apply(knative_service("seen", {"autoscaling.knative.dev/min-scale": "1"}), namespace)
    cluster.wait_ready("ksvc", "seen", namespace)
    for _ in range(5):
        assert cluster.ask(f"seen.{namespace}.{support.DOMAIN}", "/").status == 200

    def counted(query: str) -> float:
        return sum(value for _, value in cluster.metric(query))

    answered = f'http_server_request_duration_seconds_count{{job="queue-proxy",namespace="{namespace}"}}'
    support.poll("the requests are counted", lambda: counted(f"sum({answered})") >= 5, seconds=30)
    pods = f'kn_revision_pods_count{{job="knative",k8s_namespace_name="{namespace}"}}'
    support.poll("the autoscaler's view is there", lambda: counted(pods) >= 1, seconds=30)
    memory = f'container_memory_working_set_bytes{{job="cadvisor",namespace="{namespace}",container="user-container"}}'
    support.poll("the kubelet's view is there", lambda: counted(memory) > 0, seconds=60)
    assert cluster.metric('up{job="knative",component="activator"}')[0][1] == 1


def test_a_claim_on_the_models_shows_the_projects_models(cluster: Cluster, namespace: str) -> None:
    pod = sleeper("reader")
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "models", "mountPath": "/mnt"}]
    pod["spec"]["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}]
    cluster.apply(pod, namespace)
    support.poll("the pod runs", lambda: len(cluster.ready_pods(namespace)) == 1, seconds=60)
    listed = cluster.kubectl("--namespace", namespace, "exec", "reader", "--", "ls", "/mnt/digits/digits/1")
    assert "model.onnx" in listed
