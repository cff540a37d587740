"""Triton's model configuration: config.pbtxt text to and from its protobuf message, and the changes a plan makes to it.

Every function returns a new message and leaves its argument alone. No queue policy, priority or preferred batch size
is ever written: a queue policy turns Triton's prefetching off and stalls requests for up to 500 ms.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from kserve_ext.errors import ModelError, Problem

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfig

ONNX_FILENAME = "onnx_filename"  # parameter: the file that the shared python-backend model.py runs
DEFAULT_ONNX_FILENAME = "model.onnx"  # Triton's own default for the onnxruntime backend

# The parameter by which each backend takes its intra-op threads; 0 or absent means all cores of the host, not the limit.
_THREADS_PARAMETER = {"pytorch": "INTRA_OP_THREAD_COUNT", "openvino": "INFERENCE_NUM_THREADS"}
_DEFAULT_THREADS_PARAMETER = "intra_op_thread_count"  # onnxruntime, and the shared python-backend model.py


def parse_config(text: str, file: str = "config.pbtxt") -> ModelConfig:
    """The message written in `text`. Raises ModelError with the line and the nearest known field."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    config = ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise ModelError(
            _problem(error, file), remedy="the fields are listed in Triton's model_config.proto"
        ) from error
    return config


def format_config(config: ModelConfig) -> str:
    """The text of a message: fields in the order of Triton's proto file, map entries by key, short lists on one line."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(config, use_short_repeated_primitives=True))


def with_batching(
    config: ModelConfig,
    *,
    max_batch_size: int,
    max_queue_delay_s: float | None,
    instances: int,
    threads: int | None = None,
) -> ModelConfig:
    """The config with this batching: `max_queue_delay_s` None = one request per execution, a number = dynamic batching.

    An ensemble takes only the batch size: it has no queue and no instances of its own.
    Raises ModelError for what cannot be batched this way: a fixed batch dimension, or sequence batching.
    """
    _check_batchable(config, max_batch_size)
    new = _copy(config)
    new.max_batch_size = max_batch_size
    if is_ensemble(config):
        return new
    ordered = new.dynamic_batching.preserve_ordering
    new.ClearField("dynamic_batching")
    if max_queue_delay_s is not None and max_batch_size > 0:
        new.dynamic_batching.SetInParent()  # an empty message is a request for the dynamic batcher, an absent one is not
        new.dynamic_batching.max_queue_delay_microseconds = round(max_queue_delay_s * 1e6)
        new.dynamic_batching.preserve_ordering = ordered
    _set_instances(new, instances)
    if threads is not None:
        new.parameters[_THREADS_PARAMETER.get(backend(new), _DEFAULT_THREADS_PARAMETER)].string_value = str(threads)
    return new


def untuned_config(config: ModelConfig) -> ModelConfig:
    """What a repository without tuning runs: no batching, one instance.

    The batch size is 1, not absent: Triton's ONNX backend completes an absent one to 4 and switches batching on.
    """
    return with_batching(config, max_batch_size=min(config.max_batch_size, 1), max_queue_delay_s=None, instances=1)


def on_python_backend(config: ModelConfig) -> ModelConfig:
    """The same model for a server that has only the python backend: an ONNX file runs in the shared model.py.

    `default_model_filename` moves to the parameter `onnx_filename`, because the python backend would load that file
    as its program. A python model or an ensemble comes back as it is. Raises ModelError for any other backend.
    """
    new = _copy(config)
    name = backend(config)
    if name in ("python", "ensemble"):
        return new
    if name != "onnxruntime":
        raise ModelError(
            Problem(
                what=f"{config.name} cannot run on the embedded server",
                field="backend",
                found=repr(name),
                allowed="onnxruntime, python, or an ensemble of them",
            ),
            remedy="profile it against a Triton that has this backend, or import its measurements as CSV",
        )
    new.backend = "python"
    if config.default_model_filename:
        new.parameters[ONNX_FILENAME].string_value = config.default_model_filename
    for field in ("platform", "optimization", "default_model_filename"):
        new.ClearField(field)
    return new


def steps(config: ModelConfig) -> tuple[str, ...]:
    """The models of an ensemble in the order of its steps; empty for a plain model."""
    return tuple(step.model_name for step in config.ensemble_scheduling.step)


def is_ensemble(config: ModelConfig) -> bool:
    """Whether the config only wires other models together."""
    return backend(config) == "ensemble"


def backend(config: ModelConfig) -> str:
    """The backend that runs the model, also where the config gives it by platform or by file name; empty if unknown."""
    if config.HasField("ensemble_scheduling") or config.platform == "ensemble":
        return "ensemble"
    if config.backend:
        return str(config.backend)
    named_onnx = config.default_model_filename.endswith(".onnx")
    if config.platform == "onnxruntime_onnx" or (named_onnx and not config.platform):
        return "onnxruntime"
    return {"tensorrt_plan": "tensorrt", "pytorch_libtorch": "pytorch"}.get(config.platform, str(config.platform))


def _copy(config: ModelConfig) -> ModelConfig:
    new = type(config)()
    new.CopyFrom(config)
    return new


def _check_batchable(config: ModelConfig, max_batch_size: int) -> None:
    if config.HasField("sequence_batching"):
        what = f"{config.name} uses sequence batching, which ties requests to an instance and is not planned"
        raise ModelError(Problem(what=what, field="sequence_batching", allowed="dynamic_batching or no scheduler"))
    if config.max_batch_size == 0 and max_batch_size > 0:
        what = f"{config.name} has a fixed batch dimension and cannot be batched"
        raise ModelError(Problem(what=what, field="max_batch_size", found=str(max_batch_size), allowed="0"))


def _set_instances(config: ModelConfig, instances: int) -> None:
    """One group with `instances` entries; the first group's other fields (kind, GPUs, profile) stay."""
    if not config.instance_group:
        config.instance_group.add()
    del config.instance_group[1:]
    config.instance_group[0].count = instances


def _problem(error: Exception, file: str) -> Problem:
    """What protobuf's parser says, with the position cut off and the nearest known field added."""
    text = re.sub(r"^\d+:\d+ : ", "", str(error))
    line: int | None = error.GetLine()  # type: ignore[attr-defined]  # protobuf's ParseError
    unknown = re.search(r'Message type "inference\.(\w+(?:\.\w+)*)" has no field named "(\w+)"', text)
    if unknown is None:
        return Problem(file=file, line=line, what=text)
    message, name = unknown.groups()
    known = _fields(message)
    near = difflib.get_close_matches(name, known, n=1)
    allowed = f"{near[0]} is the nearest of its fields" if near else ", ".join(known)
    return Problem(file=file, line=line, field=name, what=f"unknown field of {message}", found=name, allowed=allowed)


def _fields(message: str) -> list[str]:
    from tritonclient.grpc import model_config_pb2

    descriptor = model_config_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"inference.{message}")
    return sorted(descriptor.fields_by_name)
