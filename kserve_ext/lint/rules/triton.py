"""Rules about one config.pbtxt by itself: what Triton refuses, and what it does that is not asked for."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_ext.lint.config import Config
from kserve_ext.lint.finding import Hit, Place, Severity
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.subjects import configs, readable_configs
from kserve_ext.render.pbtxt import is_ensemble

_POLICIES = (
    "dynamic_batching.default_queue_policy", "dynamic_batching.priority_queue_policy", "dynamic_batching.priority_levels",
)  # fmt: skip


@make(
    "KX401", "config-unreadable", Severity.ERROR, configs,
    what="A config.pbtxt that is not protobuf text, or has a value that its field does not take.",
    leave="Triton does not load the model; by its API it says only 'failed to poll from model repository'.",
    remedy="the message is protobuf's, with line and column",
)  # fmt: skip
def unreadable(config: Config) -> Iterator[Hit]:
    if config.fault is not None:
        place = Place(file=config.file, line=config.fault.line, column=config.fault.column)
        yield Hit(place=place, message=config.fault.what)


@make(
    "KX402", "config-unknown-field", Severity.ERROR, configs,
    what="A field that Triton's ModelConfig does not have.",
    leave="Triton does not load the model; the reason is only in its log.",
    remedy="the fields are listed in Triton's model_config.proto",
)  # fmt: skip
def unknown_field(config: Config) -> Iterator[Hit]:
    for unknown in config.unknown:
        field = unknown.written
        place = Place(file=config.file, line=field.line, column=field.column, field=field.path)
        near = f"; the nearest is {unknown.nearest}" if unknown.nearest else ""
        yield Hit(place=place, message=f"{unknown.message} has no field {field.name} (column {field.column}){near}",
                  remedy=f"write {unknown.nearest}" if unknown.nearest else "")  # fmt: skip


@make(
    "KX403", "queue-policy", Severity.WARNING, readable_configs,
    what="A queue policy or priorities: max_queue_size, default_timeout_microseconds, allow_timeout_override, "
    "priority_levels.",
    leave="Any of them turns prefetching off and can lose a wake-up of the batcher: measured on Triton 2.51, 3 to 5 of 12 "
    "requests took 550 ms instead of 57; at 600 rps on a capacity of 444, max_queue_size 16 left 22 to 69 rps.",
    remedy="remove it and bound requests in front of Triton with containerConcurrency",
)  # fmt: skip
def queue_policy(config: Config) -> Iterator[Hit]:
    for path in _POLICIES:
        if config.find(path) is not None:
            yield config.hit(f"{path.rpartition('.')[2]} turns Triton's prefetching off", path)


@make(
    "KX404", "preferred-below-maximum", Severity.WARNING, readable_configs,
    what="preferred_batch_size below max_batch_size without a queue delay. TensorRT, whose profiles have best sizes, is "
    "left out.",
    leave="Smaller batches leave sooner than they need: measured at 16 in flight and a maximum of 8, 97.0 rps without, 77.7 "
    "with [4, 8] and 64.6 with [4].",
    remedy="remove preferred_batch_size: without it Triton fills up to max_batch_size",
)  # fmt: skip
def preferred_below(config: Config) -> Iterator[Hit]:
    batching = config.message.dynamic_batching
    small = [size for size in batching.preferred_batch_size if size < config.message.max_batch_size]
    if small and not batching.max_queue_delay_microseconds and config.backend != "tensorrt":
        yield config.hit(f"preferred_batch_size {list(batching.preferred_batch_size)} below max_batch_size "
                         f"{config.message.max_batch_size} without a queue delay",
                         "dynamic_batching.preferred_batch_size")  # fmt: skip


@make(
    "KX405", "scheduling-refused", Severity.ERROR, readable_configs,
    what="Batching settings that Triton refuses: a preferred size outside 1..max_batch_size, a default priority outside "
    "the levels, preserve_ordering with several priorities, a response cache with sequences or decoupled.",
    leave="The model does not load.",
    remedy="the message names the field",
)  # fmt: skip
def refused(config: Config) -> Iterator[Hit]:
    message = config.message
    batching, most = message.dynamic_batching, message.max_batch_size
    wrong = [size for size in batching.preferred_batch_size if not 0 < size <= most]
    if wrong:
        yield config.hit(
            f"preferred_batch_size {wrong[0]} is not in 1..{most}", "dynamic_batching.preferred_batch_size"
        )
    levels, default = batching.priority_levels, batching.default_priority_level
    if (default or levels) and not 0 < default <= levels:
        yield config.hit(f"default_priority_level {default} is not in 1..{levels}",
                         "dynamic_batching.default_priority_level", "dynamic_batching.priority_levels")  # fmt: skip
    if batching.preserve_ordering and levels > 1:
        yield config.hit("preserve_ordering excludes several priorities", "dynamic_batching.preserve_ordering")
    cached = message.response_cache.enable
    if cached and (message.HasField("sequence_batching") or message.model_transaction_policy.decoupled):
        yield config.hit("a response cache excludes sequences and decoupled models", "response_cache")


@make(
    "KX406", "batching-without-batches", Severity.WARNING, readable_configs,
    what="dynamic_batching with a max_batch_size of 1 or none.",
    leave="No batch can form, and a queue delay only makes requests wait.",
    remedy="raise max_batch_size if the model has a batch dimension, or remove dynamic_batching",
)  # fmt: skip
def no_batches(config: Config) -> Iterator[Hit]:
    message = config.message
    delayed = message.dynamic_batching.max_queue_delay_microseconds > 0
    if message.HasField("dynamic_batching") and (
        message.max_batch_size == 1 or (message.max_batch_size == 0 and delayed)
    ):
        yield config.hit(f"dynamic_batching with max_batch_size {message.max_batch_size}", "dynamic_batching")


@make(
    "KX407", "ensemble-scheduling", Severity.ERROR, readable_configs,
    what="instance_group, dynamic_batching or sequence_batching on an ensemble.",
    leave="An ensemble has no instances and no queue of its own: Triton refuses it, or what is set does nothing.",
    remedy="set them on the models of its steps",
)  # fmt: skip
def ensemble_scheduling(config: Config) -> Iterator[Hit]:
    if is_ensemble(config.message):
        for path in ("instance_group", "dynamic_batching", "sequence_batching", "model_warmup"):
            if config.find(path) is not None:
                yield config.hit(f"{path} on an ensemble", path)


@make(
    "KX408", "tensor-incomplete", Severity.ERROR, readable_configs,
    what="An input or output without name, data_type or dims, on a model that says what goes in.",
    leave="The model does not load: a tensor needs all three.",
    remedy="give name, data_type and dims",
)  # fmt: skip
def tensor_incomplete(config: Config) -> Iterator[Hit]:
    message = config.message
    for side in ("input", "output"):
        for index, tensor in enumerate(getattr(message, side)):
            path = f"{side}[{index}]" if index else side
            lacks = [name for name in ("name", "data_type", "dims") if not getattr(tensor, name)]
            if lacks:
                yield config.hit(f"{side} {tensor.name or index} without {', '.join(lacks)}", path)


RULES = (
    unreadable, unknown_field, queue_policy, preferred_below, refused, no_batches, ensemble_scheduling, tensor_incomplete,
)  # fmt: skip
