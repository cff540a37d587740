"""Services, hand-made plans and configs to render, KServe's schemas, and golden folders.

KSERVE_EXT_UPDATE_GOLDEN=1 writes the golden files and the generated manifests instead of comparing them.
"""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kserve_ext.domain import (
    HorizontalScaling,
    Intent,
    Plan,
    Prediction,
    Protocol,
    RateRange,
    Reason,
    Resources,
    Scaler,
    Scaling,
    Service,
    Slo,
    StagePlan,
)

TESTS = Path(__file__).parents[1]
MIB = 2.0**20

DIGITS_CONFIG = """
# a wide MLP
name: "digits"
backend: "onnxruntime"
max_batch_size: 64
default_model_filename: "digits.onnx"
input [ { name: "pixels", data_type: TYPE_FP32, dims: [ 64 ] } ]
output [ { name: "scores", data_type: TYPE_FP32, dims: [ 10 ] } ]
optimization { graph { level: 1 } }
"""
TOKENIZER_CONFIG = """
name: "embed-tokenizer"
backend: "python"
max_batch_size: 32
input [ { name: "text", data_type: TYPE_STRING, dims: [ 1 ] } ]
output [ { name: "input_ids", data_type: TYPE_INT64, dims: [ 64 ] } ]
"""
ENCODER_CONFIG = """
name: "embed-encoder"
platform: "onnxruntime_onnx"
max_batch_size: 32
input [ { name: "input_ids", data_type: TYPE_INT64, dims: [ 64 ] } ]
output [ { name: "vector", data_type: TYPE_FP32, dims: [ 384 ] } ]
"""
EMBED_CONFIG = """
name: "embed"
platform: "ensemble"
max_batch_size: 32
input [ { name: "text", data_type: TYPE_STRING, dims: [ 1 ] } ]
output [ { name: "vector", data_type: TYPE_FP32, dims: [ 384 ] } ]
ensemble_scheduling { step [
  { model_name: "embed-tokenizer" model_version: -1
    input_map { key: "text" value: "text" } output_map { key: "input_ids" value: "input_ids" } },
  { model_name: "embed-encoder" model_version: -1
    input_map { key: "input_ids" value: "input_ids" } output_map { key: "vector" value: "vector" } }
] }
"""
EMULATED_CONFIG = """
name: "emulated"
backend: "python"
max_batch_size: 16
input [ { name: "x", data_type: TYPE_FP32, dims: [ 8 ] } ]
output [ { name: "y", data_type: TYPE_FP32, dims: [ 8 ] } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] default_queue_policy { max_queue_size: 100 } }
"""

SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
  namespace: vision
  annotations:
    kserve-ext.dev/slo-p99: 80ms
    kserve-ext.dev/rate: 20..400rps
spec:
  predictor:
    model:
      modelFormat:
        name: {format}
      storageUri: pvc://models/{name}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one rendering takes."""

    service: Service
    plan: Plan
    configs: Mapping[str, str]

    def with_manifest(self, edit: Callable[[dict[str, Any]], object]) -> Case:
        """The same case with a changed manifest."""
        manifest = copy.deepcopy(dict(self.service.manifest))
        edit(manifest)
        return dataclasses.replace(self, service=dataclasses.replace(self.service, manifest=manifest))


def service_of(manifest: dict[str, Any], protocol: Protocol) -> Service:
    name = manifest["metadata"]["name"]
    intent = Intent(
        name=name,
        namespace="vision",
        model=name,
        slo=Slo(p99_s=0.08),
        rate=RateRange(low_rps=20.0, high_rps=400.0),
        protocol=protocol,
    )
    return Service(manifest=manifest, intent=intent, source=f"{name}.yaml:1")


def plan_of(
    model: str,
    *stages: StagePlan,
    hardware: str,
    protocol: Protocol,
    low: int,
    target: float,
    accelerators: dict[str, int],
) -> Plan:
    scaling = Scaling(
        min_replicas=low,
        max_replicas=4,
        metric="concurrency",
        target=target,
        target_utilization_percent=100.0,
        panic_threshold_percent=225.0,
        panic_window_percent=10.0,
        target_burst_capacity=-1,
        window_s=60.0,
        scale_down_delay_s=12.0,
        initial_scale=1,
    )
    return Plan(
        service=model,
        namespace="vision",
        model=model,
        hardware=hardware,
        protocol=protocol,
        slo=Slo(p99_s=0.08),
        stages=stages,
        concurrency_limit=64,
        scaling=scaling,
        timeout_s=59.2,
        resources=Resources(cpu_cores=2.3, memory_bytes=700 * MIB, shm_bytes=64 * MIB, accelerators=accelerators),
        capacity_rps=310.0,
        margin=0.1,
        prediction=Prediction(
            rate_rps=200.0,
            throughput_rps=200.0,
            p50_s=0.021,
            p95_s=0.044,
            p99_s=0.061,
            mean_batch=5.2,
            mean_concurrency=4.6,
        ),
        replicas_at_high_rate=2,
        reasons=(
            Reason(
                field="concurrency_limit",
                code="concurrency-two-batches-in-flight",
                text="2 x 32 x 1 = 64: one batch runs while the next one waits",
                numbers={"limit": 64.0},
            ),
            Reason(field="hardware", code="hardware-first-that-holds", text="the first kind that holds the SLO"),
        ),
        warnings=(Reason(field="timeout_s", code="timeout-below-slo", text="a made-up warning: with a colon"),),
    )


def stage(model: str, batch: int, *, delay_s: float = 0.0, instances: int = 1, threads: int = 1) -> StagePlan:
    return StagePlan(model=model, max_batch_size=batch, max_queue_delay_s=delay_s, instances=instances, threads=threads)


def _digits() -> Case:
    plan = plan_of(
        "digits", stage("digits", 32, delay_s=0.0015, threads=2), hardware="cpu", protocol=Protocol.REST, low=1, target=11.2,
        accelerators={},
    )  # fmt: skip
    manifest = yaml.safe_load(SERVICE.format(name="digits", format="onnx"))
    return Case(service=service_of(manifest, Protocol.REST), plan=plan, configs={"digits": DIGITS_CONFIG})


def _embed() -> Case:
    plan = plan_of(
        "embed", stage("embed-tokenizer", 1), stage("embed-encoder", 8, instances=2), hardware="cpu",
        protocol=Protocol.GRPC, low=0, target=6.0, accelerators={},
    )  # fmt: skip
    manifest = yaml.safe_load(SERVICE.format(name="embed", format="triton"))
    configs = {"embed": EMBED_CONFIG, "embed-tokenizer": TOKENIZER_CONFIG, "embed-encoder": ENCODER_CONFIG}
    return Case(service=service_of(manifest, Protocol.GRPC), plan=plan, configs=configs)


def _emulated() -> Case:
    plan = plan_of(
        "emulated", stage("emulated", 16, instances=2), hardware="h100-1g.10gb", protocol=Protocol.REST, low=1,
        target=40.125, accelerators={"nvidia.com/mig-1g.10gb": 1},
    )  # fmt: skip
    manifest = yaml.safe_load(SERVICE.format(name="emulated", format="triton"))
    return Case(service=service_of(manifest, Protocol.REST), plan=plan, configs={"emulated": EMULATED_CONFIG})


def _standard() -> Case:
    return _digits().with_manifest(
        lambda manifest: manifest["metadata"]["annotations"].update({"serving.kserve.io/deploymentMode": "Standard"})
    )


CASES = {"digits": _digits, "embed": _embed, "emulated": _emulated, "digits-standard": _standard}


def _scaled(scaler: Scaler) -> Case:
    """A GPU model of which a queue may be measured, scaled by something else than Knative's pod autoscaler."""
    case, standard = _emulated(), scaler is not Scaler.KNATIVE_HPA
    mode = "Standard" if standard else "Knative"
    settings = HorizontalScaling(
        scaler=scaler, target=80.0 if scaler.on_cpu else 81.25, at_capacity=95.5, served_s=0.02,
        window_s=60.0 if scaler.by_keda else 0.0, up_replicas=3,
        up_period_s=15.0, down_stabilization_s=72.0, fallback_replicas=2 if scaler.by_keda else 0,
    )  # fmt: skip
    stages = tuple(dataclasses.replace(each, max_queue_delay_s=0.0015) for each in case.plan.stages)
    plan = dataclasses.replace(case.plan, stages=stages, horizontal=settings, placeholders=2)
    case = dataclasses.replace(case, plan=plan).with_manifest(
        lambda manifest: manifest["metadata"]["annotations"].update({"serving.kserve.io/deploymentMode": mode})
    )
    intent = dataclasses.replace(
        case.service.intent, scaler=scaler, prometheus="http://prometheus.monitoring:9090", vertical=standard
    )
    return dataclasses.replace(case, service=dataclasses.replace(case.service, intent=intent))


@pytest.fixture(params=[one for one in Scaler if one.on_cpu or one.by_keda])
def scaled(request: pytest.FixtureRequest) -> Case:
    """A service with each HorizontalPodAutoscaler, placeholders, and in Standard mode a recommender."""
    return _scaled(request.param)


@pytest.fixture
def scaled_by() -> Callable[[Scaler], Case]:
    return _scaled


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Each of the cases in turn."""
    return CASES[request.param]()


@pytest.fixture
def digits() -> Case:
    return _digits()


@pytest.fixture(scope="session")
def make_digits() -> Callable[[], Case]:
    """For property tests, which take no fixture of a single test."""
    return _digits


@pytest.fixture
def embed() -> Case:
    return _embed()


@pytest.fixture
def emulated() -> Case:
    return _emulated()


@pytest.fixture(scope="session")
def crd() -> Callable[[str], dict[str, Any]]:
    """The closed schema of a kind by its plural."""

    def load(plural: str) -> dict[str, Any]:
        (file,) = (TESTS / "data").glob(f"*/{plural}.json.gz")
        schema = json.loads(gzip.decompress(file.read_bytes()))
        closed: dict[str, Any] = _close(schema)
        return closed

    return load


def _close(node: Any) -> Any:
    """The schema with every object that lists its fields closed to others."""
    if isinstance(node, list):
        return [_close(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _close(inner) for key, inner in node.items()}
    lists_fields = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    if lists_fields and not node.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed


@pytest.fixture
def golden() -> Callable[[Path, Mapping[str, str]], None]:
    """Compare texts by path with the files of a folder, or write them when asked to."""

    def check(folder: Path, texts: Mapping[str, str]) -> None:
        if os.environ.get("KSERVE_EXT_UPDATE_GOLDEN") == "1":
            for path, text in texts.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
        found = {path: (folder / path).read_text() if (folder / path).exists() else "missing" for path in texts}
        assert dict(texts) == found, "golden files differ: run again with KSERVE_EXT_UPDATE_GOLDEN=1 and read the diff"

    return check
