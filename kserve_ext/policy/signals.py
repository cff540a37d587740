"""What an autoscaler looks at, of one replica at its capacity: CPU, requests, time in the queue, busy GPU.

A model as it is served in, the number and where it comes from out. Raises InfeasibleError for a signal that says nothing
of the load on this hardware.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kserve_ext.domain import Intent, Resources, Scaler
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy.gpu.kinds import Part, parse_kind
from kserve_ext.policy.served import Served
from kserve_ext.units import format_duration

MOST_PERCENT = 88.0  # a share ends at 100: a target near it is never passed by more than the HPA tolerates
_LEAST_QUEUE_S = 1e-4  # below it a queue cannot be told from the noise of two counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """The number of one replica at its capacity, in the unit of the scaler's target."""

    scaler: Scaler
    at_capacity: float
    scaled_by: float  # the same, or less where the number cannot rise far enough above it
    busy_share: float  # of what the replica can take at all
    served_s: float  # of a request that does not wait
    what: str
    words: str
    code: str


def signal_of(scaler: Scaler, served: Served, resources: Resources) -> Signal:
    """The signal that a scaler goes by. Raises InfeasibleError."""
    chosen = served.choice.chosen
    at_capacity, what, words, code = _READ[scaler](served, resources)
    scaled_by = min(at_capacity, MOST_PERCENT) if scaler.on_cpu or scaler is Scaler.KEDA_GPU else at_capacity
    return Signal(
        scaler=scaler, at_capacity=at_capacity, scaled_by=scaled_by, what=what, served_s=served_s(served), words=words,
        busy_share=chosen.capacity_rps / chosen.saturated_rps, code=code,
    )  # fmt: skip


def requests_signal(rate_rps: float, saturated_rps: float, words: str) -> Signal:
    """Requests per second of all models of a replica together."""
    return Signal(
        scaler=Scaler.KEDA_RPS, at_capacity=rate_rps, scaled_by=rate_rps, busy_share=rate_rps / saturated_rps,
        served_s=0.0, what=_RPS, words=words, code="target-capacity-rps",
    )  # fmt: skip


def served_s(served: Served) -> float:
    """How long a request takes that waits for nothing but the batch it is in: server, client and configured delay."""
    choice, batch = served.choice, max(1, round(served.at_capacity.mean_batch))
    runs_s = (
        law.mean_s(max(1, min(batch, stage.max_batch_size)), stage.instances)
        for law, stage in zip(choice.replica.laws, choice.chosen.stages, strict=True)
    )
    levels_s = choice.replica.overhead_levels_s
    return math.fsum(runs_s) + math.fsum(levels_s) / len(levels_s) + _delay_s(served)


_RPS = "the requests that the server answers and what waits there, or the forecast where that is higher"
_Found = tuple[float, str, str, str]  # at capacity, what is looked at, where the number comes from, the reason's code


def _cpu(served: Served, resources: Resources) -> _Found:
    used = served.choice.chosen.capacity_rps * served.choice.profile.cpu_per_request_s
    percent = 100 * used / resources.cpu_cores
    if percent < 1:
        raise _says_nothing(
            served.intent, "CPU", f"a replica at its capacity uses {percent:.2g} % of the CPU it asks for"
        )
    words = (
        f"at its capacity of {served.choice.chosen.capacity_rps:.4g} rps a replica uses {used:.3g} of {resources.cpu_cores:g} "
        f"cores ({percent:.3g} %), measured at the largest batch"
    )
    return percent, "the CPU that the pods use, in percent of what they ask for", words, "target-cpu-at-capacity"


def _rps(served: Served, resources: Resources) -> _Found:
    del resources
    rate_rps = served.choice.chosen.capacity_rps
    return rate_rps, _RPS, f"a replica holds the SLO up to {rate_rps:.4g} rps", "target-capacity-rps"


def _queue(served: Served, resources: Resources) -> _Found:
    """Time in the system by Little's law, less what a request takes that does not wait."""
    del resources
    seen = served.at_capacity
    waits_s, delay_s = seen.mean_concurrency / seen.rate_rps - served_s(served), _delay_s(served)
    if waits_s < _LEAST_QUEUE_S:
        why = f"a request at capacity waits {format_duration(max(0.0, waits_s) or 1e-6)} beyond the configured delay"
        raise _says_nothing(served.intent, "the queue", why)
    words = f"at its capacity of {seen.rate_rps:.4g} rps a request waits {format_duration(waits_s)} on average"
    if delay_s:
        words += f" beyond the {format_duration(delay_s)} that the batcher is told to wait"
    return (
        1e3 * waits_s,
        "the mean time in the queue without the configured delay, in ms",
        words,
        "target-queue-at-capacity",
    )


def _gpu(served: Served, resources: Resources) -> _Found:
    """The share of the time in which any instance runs, as `nv_gpu_utilization` counts it."""
    del resources
    kind = parse_kind(served.choice.profile.hardware)
    if kind.part is not Part.WHOLE:
        why = {
            Part.CPU: "there is no GPU",
            Part.SLICE: "a MIG slice has no utilization of its own",
            Part.SHARE: "a shared GPU is busy with others as well",
        }[kind.part]
        raise _says_nothing(served.intent, "the GPU", f"on {kind.name} {why}")
    rate_rps, batch = served.at_capacity.rate_rps, max(1, round(served.at_capacity.mean_batch))
    idle = 1.0
    for law, stage in zip(served.choice.replica.laws, served.choice.chosen.stages, strict=True):
        rows = max(1, min(batch, stage.max_batch_size))
        busy = min(1.0, rate_rps * law.mean_s(rows, stage.instances) / (rows * stage.instances))
        idle *= (1.0 - busy) ** stage.instances
    words = f"at its capacity of {rate_rps:.4g} rps some instance runs {1 - idle:.1%} of the time"
    return 100 * (1.0 - idle), "how busy the GPUs are, in percent", words, "target-gpu-at-capacity"


_READ = {
    Scaler.KNATIVE_HPA: _cpu, Scaler.HPA: _cpu, Scaler.KEDA_RPS: _rps, Scaler.KEDA_QUEUE: _queue, Scaler.KEDA_GPU: _gpu,
}  # fmt: skip


def _delay_s(served: Served) -> float:
    return math.fsum(stage.max_queue_delay_s for stage in served.choice.chosen.stages)


def _says_nothing(intent: Intent, what: str, why: str) -> InfeasibleError:
    return InfeasibleError(
        f"{intent.name}: {intent.scaler} cannot scale it by {what}: {why}", binding="scaler",
        nearest=f"kserve-ext.dev/scaler: {Scaler.KEDA_RPS}",
    )  # fmt: skip
