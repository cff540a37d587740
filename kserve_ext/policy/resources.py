"""CPU, memory, shared memory and accelerators of one replica."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.domain import Pins, Profile, Reason, Resources, StagePlan
from kserve_ext.policy.accelerators import accelerators
from kserve_ext.policy.request import Settings
from kserve_ext.units import format_cpu, format_mebibytes

_FRONT_END_CORES = 0.25  # least for Triton's own threads beside the instances
_SHM_PER_INSTANCE_BYTES = 16 * 2**20  # python backend: 1 MiB per instance, growing by 1 MiB with the tensors in flight
_SHM_LEAST_BYTES = 64 * 2**20  # what a container has without a volume; less is never worth it


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One model in a replica: its profile, how it is served, and the most that it gets."""

    profile: Profile
    stages: tuple[StagePlan, ...]
    capacity_rps: float


def size(loads: Sequence[Load], pins: Pins, settings: Settings) -> tuple[Resources, tuple[Reason, ...]]:
    """Resources of one replica with every model at its capacity, a reason for each. What the user pinned is kept."""
    stages = [stage for load in loads for stage in load.stages]
    hardware = loads[0].profile.hardware
    extended = dict(pins.accelerators) or dict(accelerators(hardware))
    shm_bytes = float(max(_SHM_LEAST_BYTES, _SHM_PER_INSTANCE_BYTES * sum(stage.instances for stage in stages)))
    cpu_cores, cpu_reason = _cpu(loads, stages, bool(extended), pins)
    memory_bytes, memory_reason = _memory(loads, shm_bytes, pins, settings)
    reasons = [cpu_reason, memory_reason, _shm(shm_bytes, stages)]
    if extended:
        reasons.append(_accelerator(hardware, extended, bool(pins.accelerators)))
    resources = Resources(cpu_cores=cpu_cores, memory_bytes=memory_bytes, shm_bytes=shm_bytes, accelerators=extended)
    return resources, tuple(reasons)


def instance_cores(stages: Sequence[StagePlan]) -> int:
    """Cores the instances of all stages can use at once when they run on CPU."""
    return sum(stage.instances * stage.threads for stage in stages)


def _cpu(loads: Sequence[Load], stages: Sequence[StagePlan], accelerated: bool, pins: Pins) -> tuple[float, Reason]:
    if pins.cpu_cores is not None:
        return pins.cpu_cores, Reason(
            field="resources.cpu_cores",
            code="cpu-set-by-user",
            text=f"{format_cpu(pins.cpu_cores)} set in the manifest",
        )
    used = math.fsum(load.capacity_rps * load.profile.cpu_per_request_s for load in loads)
    instances = 0 if accelerated else instance_cores(stages)
    front_end = max(_FRONT_END_CORES, used - instances)
    cores = math.ceil((instances + front_end) * 10) / 10
    text = (
        f"{instances} for the instances + {front_end:.2g} for the server's front end "
        f"({used:.2g} cores used at {_rates(loads)})"
    )
    numbers = {"instances": float(instances), "front_end": front_end, "used": used}
    return cores, Reason(field="resources.cpu_cores", code="cpu-instances-and-front-end", text=text, numbers=numbers)


def _rates(loads: Sequence[Load]) -> str:
    if len(loads) == 1:
        return f"{loads[0].capacity_rps:.4g} rps"
    return " + ".join(f"{load.capacity_rps:.4g} rps of {load.profile.model}" for load in loads)


def _memory(loads: Sequence[Load], shm_bytes: float, pins: Pins, settings: Settings) -> tuple[float, Reason]:
    if pins.memory_bytes is not None:
        return pins.memory_bytes, Reason(
            field="resources.memory_bytes",
            code="memory-set-by-user",
            text=f"{format_mebibytes(pins.memory_bytes)} set in the manifest",
        )
    peak = max(load.profile.memory_server_bytes for load in loads) + math.fsum(
        stage.instances * measured.memory_peak_bytes
        for load in loads
        for stage, measured in zip(load.stages, load.profile.stages, strict=True)
    )
    total = peak * settings.memory_headroom + shm_bytes
    text = (
        f"{format_mebibytes(peak)} at the largest batch x {settings.memory_headroom:g} headroom "
        f"+ {format_mebibytes(shm_bytes)} shared memory"
    )
    numbers = {"peak_bytes": peak, "headroom": settings.memory_headroom, "shm_bytes": shm_bytes}
    return total, Reason(field="resources.memory_bytes", code="memory-peak-with-headroom", text=text, numbers=numbers)


def _shm(shm_bytes: float, stages: Sequence[StagePlan]) -> Reason:
    instances = sum(stage.instances for stage in stages)
    return Reason(
        field="resources.shm_bytes",
        code="shm-per-instance",
        text=f"memory volume at /dev/shm for {instances} instances; a container's own 64 MiB run out with python backends",
        numbers={"instances": float(instances), "shm_bytes": shm_bytes},
    )


def _accelerator(hardware: str, extended: dict[str, int], pinned: bool) -> Reason:
    wanted = ", ".join(f"{count} x {name}" for name, count in extended.items())
    origin = "set in the manifest" if pinned else f"what hardware kind {hardware} was measured on"
    return Reason(field="resources.accelerators", code="accelerator-by-hardware", text=f"{wanted}: {origin}")
