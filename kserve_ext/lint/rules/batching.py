"""Rules about a model config beside the service that serves it: instances, threads, GPUs, limits and delays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kserve_ext.domain import Mode
from kserve_ext.lint.config import Config
from kserve_ext.lint.finding import Hit, Severity, hit
from kserve_ext.lint.finding import rule as make
from kserve_ext.lint.nodes import items, whole
from kserve_ext.lint.project import Project
from kserve_ext.lint.service import Service
from kserve_ext.lint.subjects import configured_services, project_itself, readable_configs
from kserve_ext.render.pbtxt import is_ensemble
from kserve_ext.units import format_duration

_AUTO_BATCH = 4  # default-max-batch-size of the ONNX backend
_TWO_ON_CPU = ("onnxruntime", "tensorflow")
_KINDS = {0: "KIND_AUTO", 1: "KIND_GPU", 2: "KIND_CPU", 3: "KIND_MODEL"}
_NO_COMPLETION = ("--disable-auto-complete-config", "--strict-model-config=true")
_DELAY_SHARE = 0.5  # of the SLO that a queue delay may take before it is said
Owned = tuple[Config, Service | None]


def _owned(project: Project) -> Iterator[Owned]:
    """Each readable config with the first service that loads it."""
    owners: Mapping[int, Service] = {
        id(config): service for service in reversed(project.services) for config in service.configs
    }
    for config in readable_configs(project):
        yield config, owners.get(id(config))


def _kinds(config: Config) -> set[str]:
    return {_KINDS.get(group.kind, "") for group in config.message.instance_group}


def _on_cpu(config: Config, service: Service | None) -> bool:
    """Whether it is known to run on CPU: it says so, or its service has no GPU."""
    kinds = _kinds(config)
    if kinds & {"KIND_GPU", "KIND_MODEL"}:
        return False
    return "KIND_CPU" in kinds or (service is not None and not service.predictor.accelerators)


def instances(config: Config, service: Service | None) -> int:
    """Instances of one replica on one device, Triton's defaults filled in."""
    default = 2 if config.backend in _TWO_ON_CPU and _on_cpu(config, service) else 1
    return sum(group.count or default for group in config.message.instance_group) or default


def _threads(config: Config) -> int | None:
    for name, parameter in config.message.parameters.items():
        if name.lower() in ("intra_op_thread_count", "inference_num_threads"):
            return int(parameter.string_value) if parameter.string_value.isdecimal() else None
    return None


@make(
    "KX420", "batching-switched-on-for-you", Severity.WARNING, _owned,
    what="An ONNX model with max_batch_size 0 or none, whose tensors all may have a variable first dimension, while Triton "
    "completes configs.",
    leave=f"The ONNX backend makes the batch size {_AUTO_BATCH} and adds dynamic_batching: what seems switched off is on.",
    remedy="max_batch_size: 1 says no to batching; or --disable-auto-complete-config",
)  # fmt: skip
def switched_on(owned: Owned) -> Iterator[Hit]:
    config, service = owned
    message = config.message
    if config.backend != "onnxruntime" or message.max_batch_size or message.HasField("sequence_batching"):
        return
    tensors = [*message.input, *message.output]
    fixed = any(tensor.HasField("reshape") or not tensor.dims or tensor.dims[0] != -1 for tensor in tensors)
    fixed = fixed or any(not signature.batchable for signature in config.folder.signatures.values())
    completed = service is None or not any(word in _NO_COMPLETION for word in service.arguments)
    if completed and not fixed:
        yield config.hit(f"max_batch_size 0 on an ONNX model is completed to {_AUTO_BATCH} with dynamic batching",
                         "max_batch_size", "name")  # fmt: skip


@make(
    "KX421", "two-instances-by-default", Severity.WARNING, _owned,
    what="An ONNX or TensorFlow model on CPU without an instance count.",
    leave="Triton makes two instances there, one everywhere else: twice the memory, and two that contend for the same cores.",
    remedy="instance_group { count: 1 kind: KIND_CPU }, or the count that a profile supports",
)  # fmt: skip
def two_instances(owned: Owned) -> Iterator[Hit]:
    config, service = owned
    if config.backend not in _TWO_ON_CPU or not _on_cpu(config, service):
        return
    groups = config.message.instance_group
    if not groups or any(not group.count for group in groups):
        yield config.hit("no instance count on CPU: Triton makes 2 instances", "instance_group", "backend", "platform")


@make(
    "KX422", "threads-against-cpu-limit", Severity.WARNING, _owned,
    what="An ONNX model that a service runs on CPU without intra_op_thread_count, or with more threads than its CPU limit.",
    leave="Without it ONNX Runtime starts a thread for each core of the node, not of the limit: the container is throttled, "
    "and on Knative the queue-proxy beside it suffers.",
    remedy="parameters intra_op_thread_count = CPU limit / instances, at least 1",
)  # fmt: skip
def threads(owned: Owned) -> Iterator[Hit]:
    config, service = owned
    if config.backend != "onnxruntime" or not _on_cpu(config, service):
        return
    count, running = _threads(config), instances(config, service)
    limit = service.cpu_limit if service is not None else None
    if not count and service is not None:
        yield config.hit(
            "no intra_op_thread_count: a thread for each core of the node", "parameters", "backend", "platform"
        )
    elif count and limit is not None and count > 1 and count * running > max(1.0, limit):
        yield config.hit(f"{count} threads x {running} instances, and a CPU limit of {limit:g}", "parameters")


@make(
    "KX423", "gpu-instances-without-gpu", Severity.ERROR, _owned,
    what="KIND_GPU instances in a service that asks for no GPU.",
    leave="Triton fails to load the model: it sees no GPU.",
    remedy="ask for one in resources.limits, or KIND_CPU",
)  # fmt: skip
def gpu_without_gpu(owned: Owned) -> Iterator[Hit]:
    config, service = owned
    if service is not None and "KIND_GPU" in _kinds(config) and not service.predictor.accelerators:
        where = f"{service.node.file}:{service.predictor.container.line}"
        yield config.hit(
            f"KIND_GPU, and {service.name} ({where}) asks for no GPU", "instance_group.kind", "instance_group"
        )


@make(
    "KX424", "count-is-per-gpu", Severity.WARNING, _owned,
    what="More than one instance in a GPU group that spans several GPUs: listed ones, or all that the service asks for.",
    leave="count is per GPU: 2 on 4 GPUs are 8 instances, and 8 times the model's memory and host threads.",
    remedy="set count for one GPU; for one instance in all give each GPU a group of its own",
)  # fmt: skip
def per_gpu(owned: Owned) -> Iterator[Hit]:
    config, service = owned
    asked = sum(whole_text(node.text) for node in service.predictor.accelerators.values()) if service else 0
    for index, group in enumerate(config.message.instance_group):
        on_gpu = _KINDS.get(group.kind) in ("KIND_GPU", "KIND_AUTO")
        gpus = len(group.gpus) or (asked if on_gpu else 0)
        if group.count > 1 and gpus > 1:
            path = f"instance_group[{index}]" if index else "instance_group"
            yield config.hit(
                f"count {group.count} on {gpus} GPUs: {group.count * gpus} instances", f"{path}.count", path
            )


def whole_text(text: str) -> int:
    return int(text) if text.isdecimal() else 0


@make(
    "KX425", "shared-memory-of-python-models", Severity.WARNING, configured_services,
    what="A python-backend model on a runtime without a memory volume at /dev/shm.",
    leave="Each python instance takes 1 MB of shared memory and grows by what its tensors need; a container has 64 MB. "
    "Then requests fail, or the model does not load. KServe's own Triton runtime mounts none.",
    remedy="mount an emptyDir of medium Memory at /dev/shm in the runtime, or in model.volumeMounts and volumes",
)  # fmt: skip
def shared_memory(service: Service) -> Iterator[Hit]:
    python = [config for config in service.configs if config.backend == "python"]
    if not python or not (service.stock_runtime or service.runtime is not None or service.predictor.is_custom):
        return
    holders = [service.predictor.container, *([service.runtime.container] if service.runtime else ())]
    mounts = [mount.get("mountPath").value for holder in holders for mount in items(holder.get("volumeMounts"))]
    if "/dev/shm" not in mounts:
        names = ", ".join(config.model for config in python)
        yield hit(service.predictor.container, f"python backend ({names}) and nothing mounted at /dev/shm")


@make(
    "KX426", "limit-below-batches", Severity.WARNING, configured_services,
    what="containerConcurrency below what fills the batches: max_batch_size times instances; below twice that where no "
    "SLO says why.",
    leave="Measured with a batch of 8 and s(b) = 41.5 + 5 b ms: one instance gives 63.8 rps at 8 in flight, 82.9 at 12 and "
    "94.9 at 16, of a capacity of 98. A limit of batch x instances wastes 16 to 35 %.",
    remedy="twice max_batch_size x instances, or a smaller max_batch_size",
)  # fmt: skip
def limit_below_batches(service: Service) -> Iterator[Hit]:
    node = service.predictor.node.get("containerConcurrency")
    limit = whole(node) or 0
    if not limit or service.mode is Mode.STANDARD:
        return
    most = (0, "")
    for config in service.configs:
        message = config.message
        if not is_ensemble(message) and message.HasField("dynamic_batching"):
            most = max(most, (message.max_batch_size * instances(config, service), config.model))
    needed = most[0] if service.slo_p99_s is not None else 2 * most[0]
    if limit < needed:
        yield hit(node, f"containerConcurrency {limit}; {most[1]} fills its batches from {2 * most[0]} in flight on")


@make(
    "KX427", "queue-delay-against-slo", Severity.WARNING, configured_services,
    what="A max_queue_delay_microseconds above half of the p99 that is asked for.",
    leave="A request may wait that long before it is executed at all. Measured with one instance at 60 rps, a delay of 30 ms "
    "raised the median from 95 to 112 ms.",
    remedy="lower the delay; it pays only where instances are idle",
)  # fmt: skip
def delay_against_slo(service: Service) -> Iterator[Hit]:
    for config in service.configs:
        delay_s = queue_delay_s(config)
        if service.slo_p99_s is not None and delay_s > _DELAY_SHARE * service.slo_p99_s:
            yield config.hit(
                f"a queue delay of {format_duration(delay_s)}; {service.name} asks for a p99 of "
                f"{format_duration(service.slo_p99_s)}", "dynamic_batching.max_queue_delay_microseconds",
            )  # fmt: skip


def queue_delay_s(config: Config) -> float:
    """The configured queue delay; 0 without one."""
    return float(config.message.dynamic_batching.max_queue_delay_microseconds) * 1e-6


@make(
    "KX428", "config-name-without-a-file", Severity.WARNING, project_itself,
    what="--model-config-name=NAME in a service whose model has configs, none of them NAME.pbtxt.",
    leave="Triton falls back to config.pbtxt without a word: the tuned config is not the one that runs.",
    remedy="add configs/NAME.pbtxt beside config.pbtxt, or correct the argument",
)  # fmt: skip
def config_name(project: Project) -> Iterator[Hit]:
    for service in project.services:
        named = [word.partition("=")[2] for word in service.arguments if word.startswith("--model-config-name=")]
        if named and service.configs and not any(config.variant == named[-1] for config in service.configs):
            args = service.predictor.container.get("args")
            yield hit(args, f"--model-config-name={named[-1]}, and no configs/{named[-1]}.pbtxt")


RULES = (
    switched_on, two_instances, threads, gpu_without_gpu, per_gpu, shared_memory, limit_below_batches, delay_against_slo,
    config_name,
)  # fmt: skip
