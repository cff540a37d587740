"""A model's own config.pbtxt and its stage of the plan in; the config that production runs out.

What the user wrote stays, less what would undo the plan; `notes` names what was left out, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kserve_ext.domain import Reason, StagePlan
from kserve_ext.render.pbtxt import backend, with_batching

if TYPE_CHECKING:
    from kserve_ext.render.pbtxt import ModelConfig

_WARMUP = "planned-batch-"  # prefix of the warm-up samples written here
_TYPE_STRING = 13  # inference.DataType
_KIND_AUTO, _KIND_GPU, _KIND_CPU = 0, 1, 2  # inference.ModelInstanceGroup.Kind

_UNDO_THE_PLAN = {  # fields of dynamic_batching that are never written, and why
    "preferred_batch_size": "a preferred size below the largest one makes batches smaller than the plan counts on",
    "default_queue_policy": "a queue policy turns Triton's prefetching off and stalls requests for up to 500 ms; "
    "containerConcurrency bounds the queue",
    "priority_queue_policy": "a queue policy turns Triton's prefetching off and stalls requests for up to 500 ms",
    "priority_levels": "priorities turn Triton's prefetching off and stall requests for up to 500 ms",
}


def planned_config(base: ModelConfig, stage: StagePlan, *, accelerators: int = 0) -> ModelConfig:
    """The production config of one model on a replica that has this many accelerators; 0 = it runs on CPU."""
    delay_s = stage.max_queue_delay_s if stage.max_batch_size > 1 else None
    config = with_batching(
        base,
        max_batch_size=stage.max_batch_size,
        max_queue_delay_s=delay_s,
        instances=stage.instances,
        threads=stage.threads,
    )
    _place(config, accelerators)
    _warm_up(config)
    return config


def planned_ensemble(base: ModelConfig, stages: Sequence[StagePlan]) -> ModelConfig:
    """The production config of an ensemble: Triton refuses a batch size above that of a step, unless the step has 0."""
    limits = [stage.max_batch_size for stage in stages if stage.max_batch_size]
    batch = min(limits, default=base.max_batch_size) if base.max_batch_size else 0
    return with_batching(base, max_batch_size=batch, max_queue_delay_s=None, instances=1)


def notes(base: ModelConfig, stage: StagePlan) -> tuple[Reason, ...]:
    """What `planned_config` leaves out of the user's config or cannot add to it."""
    written = {field.name for field, _ in base.dynamic_batching.ListFields()}
    found = [
        Reason(
            field=f"{stage.model}.dynamic_batching.{name}",
            code="batching-field-left-out",
            text=f"{name} left out: {why}",
        )
        for name, why in _UNDO_THE_PLAN.items()
        if name in written
    ]
    if not _own_warm_up(base) and (obstacle := _warm_up_obstacle(base)):
        text = f"no warm-up: {obstacle}, so the first request after a start pays for it"
        found.append(Reason(field=f"{stage.model}.model_warmup", code="no-warm-up", text=text))
    return tuple(found)


def _place(config: ModelConfig, accelerators: int) -> None:
    """Put the instances on the CPU or on the accelerators; a kind that the user chose stays where it can run."""
    group = config.instance_group[0]
    if accelerators == 0 and group.kind in (_KIND_AUTO, _KIND_GPU):
        group.kind = _KIND_CPU
        group.ClearField("gpus")
    elif accelerators and group.kind == _KIND_AUTO:
        group.kind = _KIND_GPU
    if accelerators > 1 and group.kind == _KIND_GPU:
        _spread(config, accelerators)


def _spread(config: ModelConfig, accelerators: int) -> None:
    """One group for each accelerator: Triton takes `count` per GPU, the plan means all instances of the replica."""
    total, first = config.instance_group[0].count, type(config.instance_group[0])()
    first.CopyFrom(config.instance_group[0])
    del config.instance_group[:]
    for index in range(min(accelerators, total)):
        group = config.instance_group.add()
        group.CopyFrom(first)
        group.count = total // accelerators + (index < total % accelerators)
        group.gpus[:] = [index]


def _warm_up(config: ModelConfig) -> None:
    """Run the smallest and the largest batch before the model is ready, unless the user warms it up or it cannot be.

    Zeros fit every type: as an index they name the first row, where made-up numbers may point outside a table. Triton
    does not load a model whose warm-up fails, so nothing is warmed up with input that the model may refuse.
    """
    if _own_warm_up(config):
        return
    del config.model_warmup[:]
    if _warm_up_obstacle(config):
        return
    for batch in sorted({1, max(1, config.max_batch_size)}):
        sample = config.model_warmup.add(name=f"{_WARMUP}{batch}", batch_size=batch, count=1)
        for tensor in _required_inputs(config):
            sample.inputs[tensor.name].data_type = tensor.data_type
            sample.inputs[tensor.name].dims[:] = tensor.dims
            sample.inputs[tensor.name].zero_data = True


def _own_warm_up(config: ModelConfig) -> bool:
    return any(not sample.name.startswith(_WARMUP) for sample in config.model_warmup)


def _warm_up_obstacle(config: ModelConfig) -> str:
    if backend(config) == "python":
        return "a program may refuse made-up input"
    for tensor in _required_inputs(config):
        if any(size < 1 for size in tensor.dims):
            return f"input {tensor.name} has dimensions of no fixed size"
        if tensor.data_type == _TYPE_STRING:
            return f"input {tensor.name} is text, and made-up text may not be valid input"
    return "" if config.input else "the config names no inputs"


def _required_inputs(config: ModelConfig) -> list[ModelConfig]:
    return [tensor for tensor in config.input if not tensor.optional]
