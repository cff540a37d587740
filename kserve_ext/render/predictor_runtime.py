"""Our ServingRuntimes for custom predictors, for the whole cluster: any image whose entry point is `kserve_ext.serving`.

A service names one of them and its own image; ports, probes, metrics and security come from here, a plan's numbers
stand on the InferenceService as environment variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kserve_ext.domain import Mode, Plan, Protocol
from kserve_ext.render.runtime import (
    CLUSTER_RESOURCES,
    GRPC_PORT,
    HTTP_PORT,
    PROTOCOL_VERSION,
    library_environment,
    ports,
    probes,
    runtime_object,
    scrape_annotations,
    security_context,
)

PREDICTOR_IMAGE = "kserve-ext-digits:0.1.0"  # runs any model that is one .onnx file
PREDICTOR_RUNTIME = "kserve-ext-predictor"
PREDICTOR_RUNTIMES = {
    PREDICTOR_RUNTIME: (Protocol.REST, Mode.KNATIVE),
    f"{PREDICTOR_RUNTIME}-grpc": (Protocol.GRPC, Mode.KNATIVE),
    f"{PREDICTOR_RUNTIME}-standard": (Protocol.REST, Mode.STANDARD),  # both protocols
}

_FORMATS = ("onnx", "python")
_START_LIMIT_S = 120  # until Python has imported the server, on a busy node; models load with the ports open


def is_custom(manifest: Mapping[str, Any]) -> bool:
    """Whether a custom predictor serves: containers of the user's own, or one of the runtimes here."""
    predictor = manifest["spec"]["predictor"]
    if predictor.get("model"):
        return predictor["model"].get("runtime") in PREDICTOR_RUNTIMES
    return "triton" not in predictor and bool(predictor.get("containers"))


def predictor_runtime(plan: Plan, mode: Mode) -> str:
    """The runtime for the plan's protocol in this mode."""
    protocol = Protocol.REST if mode is Mode.STANDARD else plan.protocol
    return next(name for name, made_for in PREDICTOR_RUNTIMES.items() if made_for == (protocol, mode))


def render_predictor_runtimes(*, image: str = PREDICTOR_IMAGE) -> tuple[dict[str, Any], ...]:
    """ClusterServingRuntimes, one for each row of PREDICTOR_RUNTIMES."""
    return tuple(_runtime(name, protocol, mode, image) for name, (protocol, mode) in PREDICTOR_RUNTIMES.items())


def _runtime(name: str, protocol: Protocol, mode: Mode, image: str) -> dict[str, Any]:
    served = tuple(Protocol) if mode is Mode.STANDARD else (protocol,)
    spec = {
        "annotations": scrape_annotations(HTTP_PORT),
        "supportedModelFormats": [{"name": known, "autoSelect": False} for known in _FORMATS],
        "protocolVersions": [PROTOCOL_VERSION[one] for one in served],
        "containers": [_container(protocol, mode, image)],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return runtime_object("ClusterServingRuntime", {"name": name}, spec)


def _container(protocol: Protocol, mode: Mode, image: str) -> dict[str, Any]:
    """No command: the image's entry point says which class is served. No hook: the server waits by itself when it ends."""
    return {
        "name": "kserve-container",
        "image": image,
        "args": [
            "--model_name={{.Name}}",
            "--model_dir=/mnt/models",
            f"--http_port={HTTP_PORT}",
            f"--grpc_port={GRPC_PORT}",
        ],
        "env": [{"name": name, "value": value} for name, value in library_environment(1).items()],
        "ports": ports(protocol, mode),
        **probes(protocol, mode, silent_s=_START_LIMIT_S),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": security_context(),
        "resources": {"requests": dict(CLUSTER_RESOURCES), "limits": dict(CLUSTER_RESOURCES)},
    }
