"""How onnxruntime runs a model on a GPU: execution providers and their limits, as fields of Triton's model config.

Keys as in triton-inference-server/onnxruntime_backend, README: an accelerator's own parameters for TensorRT and CUDA,
model parameters for the memory limit and growth of CUDA's arena. What TensorRT cannot run goes to CUDA, and what CUDA
cannot run goes to the CPU; that fallback is there in any case and is said aloud in the notes, since it is slow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kserve_ext.domain import Reason
from kserve_ext.policy.gpu.memory import CONTEXT_BYTES, MARGIN

ENGINE_CACHE = "/tmp/trt-engines"  # an emptyDir or a volume: engines take minutes to build and fit one GPU model
_WORKSPACE_SHARE = 0.25  # of an instance's memory, for TensorRT while it builds and runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Accelerators in order of preference, each with its parameters, and parameters of the model."""

    accelerators: tuple[tuple[str, Mapping[str, str]], ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Reason, ...] = ()


def execution(
    usable_bytes: float, instances: int, *, tensorrt: bool = False, cuda_graphs: bool = False,
    cache: str = ENGINE_CACHE,
) -> Execution:  # fmt: skip
    """Settings for `instances` instances that share a slice: each gets an equal part of it less context and margin.

    CUDA graphs are off unless asked for: they need one fixed shape, and a dynamic batcher makes many.
    """
    each_bytes = math.floor((usable_bytes * (1 - MARGIN) - CONTEXT_BYTES) / max(1, instances))
    parameters = {"gpu_mem_limit": str(each_bytes), "arena_extend_strategy": "1"}  # 1: as requested, not doubled
    graphs = "1" if cuda_graphs else "0"
    chosen: list[tuple[str, Mapping[str, str]]] = []
    if tensorrt:
        options = {
            "max_workspace_size_bytes": str(math.floor(each_bytes * _WORKSPACE_SHARE)),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": cache,
            "trt_cuda_graph_enable": graphs,
        }
        chosen.append(("tensorrt", options))
    chosen.append(("cuda", {"enable_cuda_graph": graphs}))
    fallback = Reason(
        field="optimization.execution_accelerators",
        code="cpu-fallback",
        text=f"{' then '.join(name for name, _ in chosen)} then cpu: a node of the graph that no provider before takes "
        "runs on the CPU, at the price of two copies; onnxruntime's log names such nodes when the model loads",
    )
    limit = Reason(
        field="parameters.gpu_mem_limit",
        code="gpu-memory-per-instance",
        text=f"{each_bytes} bytes for each of {instances} instances: without a limit the first one's arena takes it all",
        numbers={"bytes": float(each_bytes), "instances": float(instances)},
    )
    return Execution(accelerators=tuple(chosen), parameters=parameters, notes=(limit, fallback))


def with_execution(config: Any, settings: Execution) -> Any:
    """A copy of a ModelConfig message with these settings. What its author chose already stays."""
    new = type(config)()
    new.CopyFrom(config)
    accelerators = new.optimization.execution_accelerators.gpu_execution_accelerator
    if not accelerators:
        for name, parameters in settings.accelerators:
            entry = accelerators.add(name=name)
            for key, value in sorted(parameters.items()):
                entry.parameters[key] = value
    for key, value in settings.parameters.items():
        if key not in new.parameters:
            new.parameters[key].string_value = value
    return new
