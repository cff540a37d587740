"""What Triton tells about a model, as frozen types: metadata, and its counters. Seconds, never nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kserve_ext.errors import TritonError

_NS = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output as a client sees it: the batch dimension is in `shape`, -1 stands for any size."""

    name: str
    datatype: str  # Open Inference Protocol V2: FP32, INT64, BYTES, …
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """How a loaded model is called."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    backend: str  # `python`, `onnxruntime`, …; `ensemble` for an ensemble
    is_ensemble: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """All executions of one batch size: how many, and their time in total."""

    executions: int = 0
    compute_input_s: float = 0.0
    compute_infer_s: float = 0.0
    compute_output_s: float = 0.0

    def __sub__(self, earlier: BatchStatistics) -> BatchStatistics:
        return BatchStatistics(
            executions=self.executions - earlier.executions,
            compute_input_s=self.compute_input_s - earlier.compute_input_s,
            compute_infer_s=self.compute_infer_s - earlier.compute_infer_s,
            compute_output_s=self.compute_output_s - earlier.compute_output_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """Counters of one model since it was loaded."""

    inference_count: int  # rows
    execution_count: int
    request_count: int  # requests answered; an ensemble has no executions of its own, but has these
    failed_count: int
    queue_s: float  # waiting time of all requests together
    request_s: float = 0.0  # time in the server of all answered requests together
    batches: Mapping[int, BatchStatistics] = field(default_factory=dict)  # by batch size

    @property
    def mean_batch(self) -> float:
        """Rows per execution; 0 where there was none."""
        return self.inference_count / self.execution_count if self.execution_count else 0.0

    def __sub__(self, earlier: ModelStatistics) -> ModelStatistics:
        """What happened since `earlier`, batch sizes without executions left out. Raises TritonError after a reload."""
        if earlier.request_count > self.request_count or earlier.execution_count > self.execution_count:
            raise TritonError("the model's counters went back: it was loaded again in between")
        none = BatchStatistics()
        batches = {size: now - earlier.batches.get(size, none) for size, now in self.batches.items()}
        return ModelStatistics(
            inference_count=self.inference_count - earlier.inference_count,
            execution_count=self.execution_count - earlier.execution_count,
            request_count=self.request_count - earlier.request_count,
            failed_count=self.failed_count - earlier.failed_count,
            queue_s=self.queue_s - earlier.queue_s,
            request_s=self.request_s - earlier.request_s,
            batches={size: batch for size, batch in batches.items() if batch.executions},
        )


def read_metadata(metadata: Mapping[str, Any], config: Mapping[str, Any]) -> ModelMetadata:
    """From the answers to `/v2/models/M` and `/v2/models/M/config`."""
    platform = str(metadata.get("platform", ""))
    return ModelMetadata(
        name=metadata["name"],
        inputs=tuple(_tensor(entry) for entry in metadata.get("inputs", ())),
        outputs=tuple(_tensor(entry) for entry in metadata.get("outputs", ())),
        max_batch_size=int(config.get("max_batch_size", 0)),
        backend=str(config.get("backend") or platform),
        is_ensemble=platform == "ensemble",
    )


def read_statistics(answer: Mapping[str, Any]) -> ModelStatistics:
    """From the answer to `/v2/models/M/stats`; of several versions the newest counts."""
    newest = max(answer["model_stats"], key=lambda entry: int(entry["version"]))
    times = newest["inference_stats"]
    return ModelStatistics(
        inference_count=int(newest["inference_count"]),
        execution_count=int(newest["execution_count"]),
        request_count=int(times["success"]["count"]),
        failed_count=int(times["fail"]["count"]),
        queue_s=int(times["queue"]["ns"]) * _NS,
        request_s=int(times["success"]["ns"]) * _NS,
        batches={int(entry["batch_size"]): _batch(entry) for entry in newest.get("batch_stats", ())},
    )


def _tensor(entry: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(name=entry["name"], datatype=entry["datatype"], shape=tuple(int(size) for size in entry["shape"]))


def _batch(entry: Mapping[str, Any]) -> BatchStatistics:
    return BatchStatistics(
        executions=int(entry["compute_infer"]["count"]),
        compute_input_s=int(entry["compute_input"]["ns"]) * _NS,
        compute_infer_s=int(entry["compute_infer"]["ns"]) * _NS,
        compute_output_s=int(entry["compute_output"]["ns"]) * _NS,
    )
