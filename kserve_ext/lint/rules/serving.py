"""Rules about how a service is put together: transformers, storage, batcher, ports, load time against timeouts."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_ext.domain import Mode
from kserve_ext.intent.annotations import PREFIX
from kserve_ext.lint.finding import Hit, Severity, hit
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import arguments, items, number, whole
from kserve_ext.lint.service import Component, Service
from kserve_ext.lint.subjects import components, configured_services, services, triton_services
from kserve_ext.units import format_duration, parse_duration_s

_PREFIXES = (
    "gs://", "s3://", "pvc://", "file://", "https://", "http://", "hdfs://", "webhdfs://", "oci://", "oci+native://",
    "oci+fetch://", "hf://", "ms://",
)  # fmt: skip
_CLOUD_BLOBS = (".blob.core.windows.net", ".file.core.windows.net")
_DEFAULT_TIMEOUT_S = 300.0  # Knative's revision-timeout-seconds
_PROGRESS_DEADLINE_S = 600.0  # Knative's config-deployment
_TRITON_EXIT_S = 30.0  # Triton's own --exit-timeout-secs
_GRACE_S = 30.0  # Kubernetes' terminationGracePeriodSeconds
_PROGRESS = "serving.knative.dev/progress-deadline"


def _seconds(text: object) -> float | None:
    try:
        return parse_duration_s(text) if isinstance(text, str) else None
    except ValueError:
        return None


def timeout_s(component: Component) -> float:
    """The request timeout of a component."""
    written = whole(component.node.get("timeout"))
    return float(written) if written else _DEFAULT_TIMEOUT_S


def _load_s(service: Service) -> float:
    """The longest load measured of the service's models; 0 where none was."""
    return sum(found.folder.load_s or 0.0 for found in service.configs)


@make(
    "KX220", "transformer-workers", Severity.WARNING, components,
    what="containerConcurrency on a custom transformer or explainer without --workers in its arguments.",
    leave="KServe appends --workers=N with N = containerConcurrency: 64 starts 64 Python processes, each with its own "
    "memory, import time (about 1 s of CPU) and model copy.",
    remedy="give --workers yourself (1 for code that awaits), or leave containerConcurrency out",
)  # fmt: skip
def transformer_workers(component: Component) -> Iterator[Hit]:
    node = component.node.get("containerConcurrency")
    if component.name == "predictor" or not component.is_custom or (whole(node) or 0) < 2:
        return
    if not any(word.startswith("--workers") for word in arguments(component.container)):
        yield hit(node, f"KServe starts the {component.name} with --workers={node.value}: {node.value} processes")


@make(
    "KX221", "triton-without-a-model", Severity.ERROR, triton_services,
    what="Triton without model.storageUri and without model.storage: storageUris alone, or no storage at all.",
    leave="KServe then starts Triton with --model-control-mode=explicit. It loads nothing and answers that it is ready.",
    remedy="use model.storageUri, or name what to load with --load-model=NAME in model.args",
)  # fmt: skip
def triton_without_model(service: Service) -> Iterator[Hit]:
    predictor = service.predictor
    if predictor.is_custom or any(word.startswith("--load-model") for word in service.arguments):
        return
    if predictor.container.get("storageUri").value is None and predictor.container.get("storage").value is None:
        several = predictor.node.get("storageUris")
        place = several if several.value is not None else predictor.container
        yield hit(place, "Triton without storageUri loads nothing: KServe sets --model-control-mode=explicit")


@make(
    "KX222", "storage-scheme", Severity.WARNING, components,
    what="A storageUri that KServe has no downloader for.",
    leave="The webhook refuses it, unless a ClusterStorageContainer takes it.",
    remedy=f"one of {', '.join(prefix.removesuffix('://') for prefix in _PREFIXES)}",
)  # fmt: skip
def storage_scheme(component: Component) -> Iterator[Hit]:
    written = [
        component.container.get("storageUri"),
        *(one.get("uri") for one in items(component.node.get("storageUris"))),
    ]
    for node in written:
        if isinstance(node.value, str) and "${" not in node.value and "{{" not in node.value:
            known = node.value.startswith(("/", *_PREFIXES)) or any(blob in node.value for blob in _CLOUD_BLOBS)
            if not known:
                yield hit(node, f"storageUri {node.found()} has no scheme that KServe fetches")


@make(
    "KX223", "agent-batcher", Severity.WARNING, services,
    what="KServe's batcher in front of a model that Triton serves.",
    leave="It takes V1 JSON only, keeps one batch in flight, drops callers' headers, waits 5 s for a full batch as "
    "installed, and turns a failing predictor into HTTP 200. V2 and gRPC requests are not batched.",
    remedy="remove batcher and use dynamic_batching in config.pbtxt",
)  # fmt: skip
def agent_batcher(service: Service) -> Iterator[Hit]:
    node = service.predictor.node.get("batcher")
    if node.value is not None and service.is_triton:
        yield hit(node, "batcher in front of Triton: use dynamic_batching in config.pbtxt")


@make(
    "KX224", "grpc-without-a-port", Severity.ERROR, triton_services,
    what="protocolVersion grpc-v2 on a runtime without ports, and no ports in the service.",
    leave="KServe's own Triton runtime declares no ports: gRPC on 9000 is not on the Service, and Knative speaks HTTP/1 to "
    "8080. Every gRPC call fails.",
    remedy="set model.ports to containerPort 9000, name h2c, protocol TCP",
)  # fmt: skip
def grpc_without_port(service: Service) -> Iterator[Hit]:
    container = service.predictor.container
    node = container.get("protocolVersion")
    runtime = service.runtime.container.get("ports") if service.runtime else None
    silent = service.stock_runtime or (runtime is not None and not items(runtime))
    if node.value == "grpc-v2" and silent and not items(container.get("ports")):
        yield hit(node, "protocolVersion grpc-v2, and no port is declared for it")


@make(
    "KX225", "http-port-name-for-grpc", Severity.ERROR, services,
    what="protocolVersion grpc-v2 on a port that is not named h2c, in Knative mode.",
    leave="Knative speaks HTTP/1 to a port with another name: every gRPC call fails.",
    remedy="name the port h2c",
)  # fmt: skip
def http_name_for_grpc(service: Service) -> Iterator[Hit]:
    container = service.predictor.container
    ports = items(container.get("ports"))
    if service.mode is Mode.KNATIVE and container.get("protocolVersion").value == "grpc-v2" and len(ports) == 1:
        name = ports[0].get("name")
        if name.value in (None, "", "http1"):
            yield hit(name, f"gRPC on a port named {name.text or 'nothing'}: Knative needs h2c")


@make(
    "KX226", "cold-start-beyond-timeout", Severity.ERROR, configured_services,
    what="A service that scales to zero and takes longer to load than its timeout, by the load time in its profile.",
    leave="Every request that waits for the start fails with 504 at the timeout, which also resets the load signal. Image "
    "pull and scheduling come on top of the load.",
    remedy="minReplicas 1, or a timeout above the cold start",
)  # fmt: skip
def cold_start(service: Service) -> Iterator[Hit]:
    low, load_s, limit_s = service.predictor.node.get("minReplicas"), _load_s(service), timeout_s(service.predictor)
    if service.mode is not Mode.STANDARD and low.value == 0 and load_s >= limit_s:
        yield hit(
            low, f"scale to zero, a load of {format_duration(load_s)} and a timeout of {format_duration(limit_s)}"
        )


@make(
    "KX227", "cold-start-budget-beyond-timeout", Severity.WARNING, services,
    what=f"{PREFIX}cold-start-budget above the timeout, on a service that may scale to zero.",
    leave="A request that waits as long as the budget allows has been ended by the timeout before: 504.",
    remedy="raise timeout above the budget, or lower the budget",
)  # fmt: skip
def budget_beyond_timeout(service: Service) -> Iterator[Hit]:
    node, low = service.annotations.get(PREFIX + "cold-start-budget"), service.predictor.node.get("minReplicas")
    budget_s, limit_s = _seconds(node.value), timeout_s(service.predictor)
    if service.mode is not Mode.STANDARD and low.value in (None, 0) and budget_s is not None and budget_s > limit_s:
        yield hit(
            node, f"a cold-start budget of {format_duration(budget_s)} and a timeout of {format_duration(limit_s)}"
        )


@make(
    "KX228", "progress-deadline", Severity.ERROR, services,
    what="A progress deadline (600 s as installed, or serving.knative.dev/progress-deadline) that the load time in the "
    "profile, or the time the probes allow, exceeds.",
    leave="Knative calls the revision failed and scales it to zero while the model is still loading: it never starts.",
    remedy="raise serving.knative.dev/progress-deadline above pull plus load",
)  # fmt: skip
def progress_deadline(service: Service) -> Iterator[Hit]:
    if service.mode is not Mode.KNATIVE:
        return
    node = service.predictor.annotation(_PROGRESS)
    written_s = _seconds(node.value)
    deadline_s, load_s = written_s or _PROGRESS_DEADLINE_S, _load_s(service)
    probe = service.predictor.container.get("startupProbe")
    allowed_s = (number(probe.get("periodSeconds")) or 10) * (number(probe.get("failureThreshold")) or 3)
    if load_s >= deadline_s:
        yield hit(node, f"a load of {format_duration(load_s)} and a progress deadline of {format_duration(deadline_s)}")
    elif probe.value is not None and allowed_s > deadline_s:
        yield hit(probe, f"the startup probe allows {format_duration(allowed_s)}, the progress deadline "
                         f"{format_duration(deadline_s)}")  # fmt: skip


@make(
    "KX229", "killed-before-triton-exits", Severity.WARNING, triton_services,
    what="Triton's exit timeout (30 s, or --exit-timeout-secs) at or above the grace period of its pod.",
    leave="The pod is killed while Triton still drains: requests in flight are lost at every scale-down and rollout.",
    remedy="set --exit-timeout-secs some seconds below the timeout (Knative) or terminationGracePeriodSeconds (Standard)",
)  # fmt: skip
def killed_before_exit(service: Service) -> Iterator[Hit]:
    if service.mode is None:
        return
    name = "timeout" if service.mode is Mode.KNATIVE else "terminationGracePeriodSeconds"
    node = service.predictor.node.get(name)
    written = [word.partition("=")[2] for word in service.arguments if word.startswith("--exit-timeout-secs=")]
    try:
        exit_s = float(written[-1]) if written else _TRITON_EXIT_S
    except ValueError:
        return
    grace_s = timeout_s(service.predictor) if service.mode is Mode.KNATIVE else float(whole(node) or _GRACE_S)
    if (node.value is not None or written) and grace_s <= exit_s:
        yield hit(node, f"a grace period of {grace_s:g} s and an exit timeout of {exit_s:g} s")


@make(
    "KX230", "timeout-below-slo", Severity.ERROR, services,
    what="A timeout below the p99 that is asked for.",
    leave="Requests are ended before they could be late.",
    remedy="raise timeout",
)  # fmt: skip
def timeout_below_slo(service: Service) -> Iterator[Hit]:
    node, slo_s = service.predictor.node.get("timeout"), service.slo_p99_s
    if slo_s is not None and whole(node) and float(whole(node) or 0) < slo_s:
        yield hit(node, f"timeout {node.value} s ends requests before the p99 of {format_duration(slo_s)}")


RULES = (
    transformer_workers, triton_without_model, storage_scheme, agent_batcher, grpc_without_port, http_name_for_grpc,
    cold_start, budget_beyond_timeout, progress_deadline, killed_before_exit, timeout_below_slo,
)  # fmt: skip
