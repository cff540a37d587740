"""The words of the product as frozen types: what is wanted, what was measured, what was decided, and why.

Seconds, requests per second and bytes throughout; a field that carries a unit says so in its name.
Nothing here reads, writes or computes more than a derived property.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# --------------------------------------------------------------------------------------------- what the user wants


class Protocol(StrEnum):
    """How requests reach the model: Open Inference Protocol V2 over HTTP or over gRPC."""

    REST = "rest"
    GRPC = "grpc"


class Mode(StrEnum):
    """How KServe runs the service. Knative takes one port for each container; Standard takes all of them."""

    KNATIVE = "Knative"
    STANDARD = "Standard"


class Scaler(StrEnum):
    """Who sets the replicas, and by what it goes. The first two scale a Knative Revision, the others a Deployment."""

    KPA = "kpa"  # Knative's pod autoscaler
    KNATIVE_HPA = "knative-hpa"  # Knative's HPA class, on CPU
    HPA = "hpa"  # a HorizontalPodAutoscaler on CPU
    KEDA_RPS = "keda-rps"
    KEDA_QUEUE = "keda-queue"
    KEDA_GPU = "keda-gpu"
    FIXED = "fixed"  # nobody: as many replicas as the busy rate needs

    @property
    def on_cpu(self) -> bool:
        return self in (Scaler.KNATIVE_HPA, Scaler.HPA)

    @property
    def by_keda(self) -> bool:
        return self.value.startswith("keda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """99 % of requests answered within `p99_s`; `availability` is the share of requests answered at all."""

    p99_s: float
    availability: float = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRange:
    """Requests per second the service must hold: from `low_rps` (quiet) to `high_rps` (busy)."""

    low_rps: float
    high_rps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the user has set by hand in the manifest. The plan keeps it, and says where it contradicts the SLO."""

    container_concurrency: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    scale_target: float | None = None
    scale_metric: str | None = None
    timeout_s: float | None = None
    cpu_cores: float | None = None
    memory_bytes: float | None = None
    accelerators: Mapping[str, int] = dataclasses.field(default_factory=dict)  # {"nvidia.com/gpu": 1}
    autoscaling: Mapping[str, str] = dataclasses.field(
        default_factory=dict
    )  # autoscaling.knative.dev/ annotations, prefix cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A further model in the same replica, and what is asked of it."""

    model: str
    p99_s: float
    rate: RateRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the annotations of one InferenceService ask for."""

    name: str
    namespace: str
    model: str  # folder in the model repository
    slo: Slo
    rate: RateRange
    protocol: Protocol = Protocol.REST
    hardware: tuple[str, ...] = ("cpu",)  # kinds that may be used, in order of preference
    max_replicas: int | None = None
    cold_start_budget_s: float | None = None
    profile: str | None = None  # path of a profile instead of model_repo/<model>/profiles/<hardware>.json
    policy: str = "default"
    neighbours: tuple[Neighbour, ...] = ()
    scaler: Scaler | None = None  # None: Knative's pod autoscaler, and in Standard mode a fixed number of replicas
    prometheus: str | None = None  # URL that KEDA asks
    node_start_s: float | None = None  # how long a new node takes to come
    vertical: bool = False  # whether to have CPU and memory recommended beside what is planned
    pins: Pins = dataclasses.field(default_factory=Pins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One InferenceService as the user wrote it, and the intent read from it."""

    manifest: Mapping[str, Any]
    intent: Intent
    source: str  # file:line


# ------------------------------------------------------------------------------------------------ what was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Measured values at fixed probabilities: `values[i]` is the quantile at `probabilities[i]`, ascending."""

    probabilities: tuple[float, ...]
    values: tuple[float, ...]


IDLE_S = 0.010  # idleness after which an instance is as slow as it gets; measured so, and simulated so


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePoint:
    """Time one instance is taken by one execution of `batch` rows while `instances` instances are busy.

    `requests` says how the rows came: 1 = one request of `batch` rows, `batch` = that many single-row requests
    merged by the dynamic batcher, which costs the server more per execution.
    """

    batch: int
    instances: int
    requests: int
    count: int  # executions measured
    mean_s: float  # from throughput at saturation: instances x elapsed / executions
    quantiles_s: Quantiles
    server_compute_s: float  # mean from Triton's own batch_stats: input + infer + output
    after_idle_extra_s: float = 0.0  # more, where the instance was idle for IDLE_S before: its caches have gone cold


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProfile:
    """The points of one model; a plain service has one stage, an ensemble one per step, in order."""

    model: str
    max_batch: int  # 0: the model has a fixed batch dimension and cannot be batched
    points: tuple[ServicePoint, ...]
    memory_loaded_bytes: float  # resident memory one instance adds when loaded
    memory_peak_bytes: float  # the same at the largest batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one model costs on one kind of hardware."""

    model: str
    hardware: str
    model_digest: str  # sha256 of the model's files: a profile of other weights is another profile
    stages: tuple[StageProfile, ...]
    overhead_s: Quantiles  # request time outside the instances at low load: client, network, server front end
    load_s: float  # from load request to ready
    cpu_per_request_s: float  # server CPU, all processes, one row per request, at the largest batch
    memory_server_bytes: float  # the server without any model
    host: Mapping[str, str]  # CPU model, cores, kernel, memory
    versions: Mapping[str, str]  # server, backend, runtime, this package
    measured_at: str  # ISO 8601, UTC
    overhead_after_idle_extra_s: float = 0.0  # more overhead for a request that comes IDLE_S after the last answer


# ------------------------------------------------------------------------------------------------- what was decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a field of the plan has its value. `field` is the plan's path, e.g. `stages[0].max_batch_size`."""

    field: str
    code: str  # stable, kebab-case, e.g. `concurrency-two-batches-in-flight`
    text: str  # one sentence with the numbers in it
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """How one model is served inside a replica."""

    model: str
    max_batch_size: int  # 0: the model cannot be batched; 1: batching off by choice
    max_queue_delay_s: float
    instances: int
    threads: int  # intra-op threads of one instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Knative's pod autoscaler for this service; every field is one annotation or one InferenceService field."""

    min_replicas: int
    max_replicas: int
    metric: str  # concurrency | rps
    target: float  # soft, per replica
    target_utilization_percent: float
    panic_threshold_percent: float
    panic_window_percent: float
    target_burst_capacity: int  # 0: activator only at zero replicas; -1: always in the path
    window_s: float
    scale_down_delay_s: float
    initial_scale: int
    activation_scale: int = 1  # replicas that one request starts from zero
    scale_to_zero_retention_s: float = 0.0  # how long the last replica is kept beyond what Knative keeps it anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizontalScaling:
    """A HorizontalPodAutoscaler, ours or the one that KEDA makes, in place of Knative's pod autoscaler."""

    scaler: Scaler
    target: float  # per replica: percent of the CPU requested, requests per second, ms in the queue, percent of a GPU
    at_capacity: float  # the same of a replica at its capacity
    served_s: float  # of a request that waits for nothing: what is longer is the queue
    window_s: float  # over which the query looks back; 0: no query
    up_replicas: int  # at most so many more within `up_period_s`
    up_period_s: float
    down_stabilization_s: float  # the highest wish of so long counts
    fallback_replicas: int  # while the query fails, if more do not run already; 0: those that run
    polling_s: float = 0.0  # between two looks at zero replicas; 0: never at zero
    cooldown_s: float = 0.0  # without a request before the last replica goes


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one replica asks for."""

    cpu_cores: float
    memory_bytes: float
    shm_bytes: float  # memory volume at /dev/shm, included in memory_bytes
    accelerators: Mapping[str, int] = dataclasses.field(default_factory=dict)  # {"nvidia.com/mig-1g.10gb": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one replica does at `rate_rps`, computed or simulated. Latencies are what the client sees."""

    rate_rps: float
    throughput_rps: float
    p50_s: float
    p95_s: float
    p99_s: float
    mean_batch: float  # of the last stage
    mean_concurrency: float
    exact: bool = False  # computed from the law of the batch queue; otherwise simulated


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourPlan:
    """How a further model is served in the same replica."""

    model: str
    slo: Slo
    stages: tuple[StagePlan, ...]
    capacity_rps: float  # most of its requests that one replica takes while its neighbours are busy
    prediction: Prediction  # at its busy rate spread over the replicas planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything `render` needs, with a reason for every number."""

    service: str
    namespace: str
    model: str
    hardware: str
    protocol: Protocol
    slo: Slo
    stages: tuple[StagePlan, ...]
    concurrency_limit: int  # hard, containerConcurrency
    scaling: Scaling
    timeout_s: float
    resources: Resources
    capacity_rps: float  # most one replica takes with p99 within the SLO less the margin
    margin: float  # share of the SLO kept free
    prediction: Prediction  # at the busy rate spread over the replicas planned for it
    replicas_at_high_rate: int
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...] = ()
    neighbours: tuple[NeighbourPlan, ...] = ()
    horizontal: HorizontalScaling | None = None  # of `scaling` only the bounds count then
    placeholders: int | None = None  # pods of low priority that keep room for as many replicas; None: not asked for

    @property
    def all_stages(self) -> tuple[StagePlan, ...]:
        """Every model that the replica's server runs: those of `model`, then those of its neighbours."""
        return (*self.stages, *(stage for neighbour in self.neighbours for stage in neighbour.stages))

    @property
    def models(self) -> tuple[str, ...]:
        """The models whose configs the replica's server needs: each stage, and the ensembles over them."""
        named = (self.model, *(neighbour.model for neighbour in self.neighbours))
        return tuple(dict.fromkeys((*(stage.model for stage in self.all_stages), *named)))


# ------------------------------------------------------------------------------------------------ what was observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a load run saw. Latencies count from the moment a request was due, not from when it was sent."""

    rate_rps: float  # offered
    duration_s: float
    sent: int
    succeeded: int
    failed: int
    throughput_rps: float
    p50_s: float
    p95_s: float
    p99_s: float
    mean_batch: float  # from the server's own counters; 0 where the endpoint does not tell
    late_send_p99_s: float  # how far the generator itself fell behind its schedule
    generator_cpu_share: float  # CPU seconds of the generator per second of the run
    errors: Mapping[str, int] = dataclasses.field(default_factory=dict)
