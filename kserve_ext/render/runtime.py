"""Our Triton ServingRuntime: one sized for a plan, or one for the whole cluster that any InferenceService may name.

The image, ports, probes, flags and security of the container. A plan's resources stand on the InferenceService.
"""

from __future__ import annotations

import math
from typing import Any

from kserve_ext.domain import Mode, Plan, Protocol
from kserve_ext.units import format_mebibytes

IMAGE = "nvcr.io/nvidia/tritonserver:25.08-py3"
CLUSTER_RUNTIME = "kserve-ext-triton"

HTTP_PORT, GRPC_PORT, METRICS_PORT = 8080, 9000, 8002
PROTOCOL_VERSION = {Protocol.REST: "v2", Protocol.GRPC: "grpc-v2"}

_UID = 1000  # triton-server in NVIDIA's image
_DEFAULT_EXIT_S = 30.0  # Triton's own exit timeout
_QUIET_S = 30.0  # queue-proxy's wait before a pod drains, inside the grace period (Knative drainSleepDuration)
PRE_STOP_S = 5.0  # Standard mode: time for the endpoints to forget the pod before Triton refuses connections
STANDARD_GRACE_S = 30.0  # Kubernetes' default terminationGracePeriodSeconds, the least that is asked for
MARGIN_S = 5.0  # between Triton's exit and the kill
LOAD_LIMIT_S = 600  # Knative's progress-deadline: a model may take this long to load

CLUSTER_TIMEOUT_S = 300.0  # Knative's default revision timeout
CLUSTER_RESOURCES = {"cpu": "1", "memory": "2Gi"}  # what KServe's own Triton runtime has
_CLUSTER_SHM_BYTES = 2.0**29
_FORMATS = ("triton", "onnx", "tensorrt", "pytorch", "openvino", "python")

# glibc (2.35 or newer; others ignore it) asks for huge pages for large allocations, where the kernel gives them on
# request, which is its default. Weights are read for every batch: with 104 MB of them on a CPU, one row takes 0.88
# of the time, p50 at 700 requests a second 0.84 and p99 0.87 (`make bench-pages`).
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

CLUSTER_RUNTIMES = {
    CLUSTER_RUNTIME: (Protocol.REST, Mode.KNATIVE),
    f"{CLUSTER_RUNTIME}-grpc": (Protocol.GRPC, Mode.KNATIVE),
    f"{CLUSTER_RUNTIME}-standard": (Protocol.REST, Mode.STANDARD),  # both protocols
}


def runtime_name(plan: Plan) -> str:
    """The name of the plan's own ServingRuntime, which `render_runtime` makes and the InferenceService names."""
    return f"{plan.service}-triton"


def render_runtime(
    plan: Plan, *, mode: Mode = Mode.KNATIVE, namespace: str | None = None, image: str = IMAGE,
    grace_s: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The ServingRuntime of one plan: shared memory, threads and exit time are the plan's.

    `grace_s` is that of the pods in Standard mode where it is not the plan's.
    """
    metadata = {"name": runtime_name(plan)} | ({"namespace": namespace} if namespace else {})
    spec = _spec(
        protocol=plan.protocol,
        mode=mode,
        image=image,
        shm_bytes=plan.resources.shm_bytes,
        threads=max(stage.threads for stage in plan.all_stages),
        exit_s=exit_timeout_s(mode, plan.timeout_s, grace_s or standard_grace_s(plan.timeout_s)),
    )
    return runtime_object("ServingRuntime", metadata, spec)


def render_cluster_runtimes(*, image: str = IMAGE) -> tuple[dict[str, Any], ...]:
    """ClusterServingRuntimes for services without a plan, one for each row of CLUSTER_RUNTIMES."""
    return tuple(_cluster_runtime(name, protocol, mode, image) for name, (protocol, mode) in CLUSTER_RUNTIMES.items())


def _cluster_runtime(name: str, protocol: Protocol, mode: Mode, image: str) -> dict[str, Any]:
    """One runtime for services without a plan: a core and a thread unless the service says otherwise."""
    spec = _spec(
        protocol=protocol,
        mode=mode,
        image=image,
        shm_bytes=_CLUSTER_SHM_BYTES,
        threads=1,
        exit_s=exit_timeout_s(mode, CLUSTER_TIMEOUT_S),
    )
    (container,) = spec["containers"]
    container["resources"] = {"requests": dict(CLUSTER_RESOURCES), "limits": dict(CLUSTER_RESOURCES)}
    return runtime_object("ClusterServingRuntime", {"name": name}, spec)


def runtime_object(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _spec(*, protocol: Protocol, mode: Mode, image: str, shm_bytes: float, threads: int, exit_s: int) -> dict[str, Any]:
    """The spec of a runtime.

    No format is auto-selected: a service names its runtime, so installing this one changes no other service. No
    `serving.kserve.io/server-type: tritonserver` either: for it KServe adds `--model-control-mode=explicit` without a
    model to load where storageUri is absent.
    """
    served = tuple(Protocol) if mode is Mode.STANDARD else (protocol,)
    return {
        "annotations": scrape_annotations(METRICS_PORT),
        "supportedModelFormats": [{"name": name, "autoSelect": False} for name in _FORMATS],
        "protocolVersions": [PROTOCOL_VERSION[one] for one in served],
        "containers": [_container(protocol, mode, image, threads, exit_s)],
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": format_mebibytes(shm_bytes)}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _container(protocol: Protocol, mode: Mode, image: str, threads: int, exit_s: int) -> dict[str, Any]:
    container = {
        "name": "kserve-container",
        "image": image,
        "args": _args(exit_s),
        "env": [{"name": name, "value": value} for name, value in library_environment(threads).items()],
        "ports": ports(protocol, mode, port("metrics", METRICS_PORT)),
        **probes(protocol, mode),
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": security_context(),
    }
    if mode is Mode.STANDARD:  # Knative has a hook of its own, which waits for queue-proxy, and refuses another
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": round(PRE_STOP_S)}}}
    return container


def library_environment(threads: int) -> dict[str, str]:
    """What libraries below the model read: threads of one instance, and where its weights are kept.

    OpenMP and Rayon would start a thread for each core of the node, not for each core of the limit.
    """
    return {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads), **HUGE_PAGES}


def scrape_annotations(port: int) -> dict[str, str]:
    """Annotations of a runtime that end up on the pods: where Prometheus and KServe find the metrics."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/metrics",
        "prometheus.kserve.io/port": str(port),
        "prometheus.kserve.io/path": "/metrics",
    }


def security_context() -> dict[str, Any]:
    """What the Pod Security Standard `restricted` asks of a container, and a root file system that nothing is written to."""
    return {
        "runAsNonRoot": True,
        "runAsUser": _UID,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _args(exit_s: int) -> list[str]:
    return [
        "tritonserver",
        "--model-repository=/mnt/models",
        f"--http-port={HTTP_PORT}",
        f"--grpc-port={GRPC_PORT}",
        f"--metrics-port={METRICS_PORT}",
        f"--exit-timeout-secs={exit_s}",
        # What was planned is what runs: Triton would complete an ONNX model to batch 4 with dynamic batching.
        "--disable-auto-complete-config",
    ]


def standard_grace_s(timeout_s: float) -> int:
    """How long a pod may take to end in Standard mode: the hook, the longest request that came during it, and a margin."""
    return math.ceil(max(STANDARD_GRACE_S, PRE_STOP_S + timeout_s + MARGIN_S))


def exit_timeout_s(mode: Mode, timeout_s: float, grace_s: float = STANDARD_GRACE_S) -> int:
    """Seconds Triton may take to end: inside what the pod's grace period leaves, so that it is never killed.

    Knative's grace period is the revision's timeout, and queue-proxy's quiet time runs inside it. It ends as soon as the
    last request is answered.
    """
    left = min(_DEFAULT_EXIT_S + MARGIN_S, timeout_s - _QUIET_S) if mode is Mode.KNATIVE else grace_s - PRE_STOP_S
    return int(max(1.0, left - MARGIN_S))


def ports(protocol: Protocol, mode: Mode, *more: dict[str, Any]) -> list[dict[str, Any]]:
    """The ports declared: one in Knative, named as Knative wants it; in Standard the service's own protocol first."""
    by_protocol = {Protocol.REST: port("http1", HTTP_PORT), Protocol.GRPC: port("h2c", GRPC_PORT)}
    if mode is Mode.KNATIVE:
        return [by_protocol[protocol]]
    first = by_protocol.pop(protocol)  # KServe's port 80 leads to the first
    return [first, *by_protocol.values(), *more]


def port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def probes(protocol: Protocol, mode: Mode, *, silent_s: int = LOAD_LIMIT_S) -> dict[str, Any]:
    """Ready when every model is; alive when the server answers, which nobody asks for the first `silent_s`.

    Triton opens its ports only when its models are loaded, so liveness must not speak before that. In Standard mode a
    startup probe holds it back. In Knative mode a startup probe would switch the activator's own fast probing off, so
    liveness waits as long as a revision may take to start; it is sent to the container's only port, whatever port it
    names, so a gRPC service is asked over gRPC. Readiness has a period there: without one Knative asks every 50 ms but
    the kubelet only every 10 s, and what loads for more than a second is ready that much later (4 s of loading: 12 s
    after the start, 5 s with a period of 1 s).
    """
    ready = {"httpGet": {"path": "/v2/health/ready", "port": HTTP_PORT}}
    live: dict[str, Any] = {"httpGet": {"path": "/v2/health/live", "port": HTTP_PORT}}
    if mode is Mode.STANDARD:
        startup = live | {"periodSeconds": 2, "failureThreshold": silent_s // 2}
        pace = {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}
        return {"startupProbe": startup, "readinessProbe": ready | pace, "livenessProbe": live | pace}
    if protocol is Protocol.GRPC:
        live = {"grpc": {"port": GRPC_PORT}}
    often = {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 3}
    late = {"initialDelaySeconds": silent_s, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}
    return {"readinessProbe": ready | often, "livenessProbe": live | late}
