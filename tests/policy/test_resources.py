from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL, profile, stage_profile

from kserve_ext.domain import Pins, Profile, Reason, Resources, StagePlan
from kserve_ext.policy.resources import Load, instance_cores, size

MIB = 2**20


def sized(
    measured: Profile, *instances: int, capacity_rps: float = 100.0, threads: int = 1, pins: Pins | None = None
) -> tuple[Resources, dict[str, Reason]]:
    stages = tuple(
        StagePlan(model=stage.model, max_batch_size=8, max_queue_delay_s=0.0, instances=count, threads=threads)
        for stage, count in zip(measured.stages, instances, strict=True)
    )
    load = Load(profile=measured, stages=stages, capacity_rps=capacity_rps)
    resources, reasons = size((load,), pins or Pins(), SMALL)
    return resources, {reason.field.removeprefix("resources."): reason for reason in reasons}


@pytest.mark.parametrize(
    ("hardware", "instances", "threads", "capacity_rps", "cores"),
    [
        ("cpu", 1, 1, 100.0, 1.3),  # one for the instance, a quarter for the front end, rounded up to a tenth
        ("cpu", 3, 1, 100.0, 3.3),
        ("cpu", 2, 2, 100.0, 4.3),
        ("cpu", 1, 1, 3000.0, 1.8),  # 3000 rps x 0.6 ms = 1.8 cores used, 0.8 of them beside the instance
        ("gpu", 3, 1, 100.0, 0.3),  # instances on an accelerator take no core
        ("gpu", 1, 1, 3000.0, 1.8),
    ],
)
def test_cores_are_those_of_the_instances_and_of_the_front_end(
    hardware: str, instances: int, threads: int, capacity_rps: float, cores: float
) -> None:
    measured = profile(stage_profile(instances=3), hardware=hardware)
    resources, reasons = sized(measured, instances, threads=threads, capacity_rps=capacity_rps)
    assert resources.cpu_cores == cores
    assert f"{capacity_rps:.4g} rps" in reasons["cpu_cores"].text


def test_memory_is_the_server_and_every_instance_at_its_peak_with_headroom_and_the_shared_memory() -> None:
    resources, _ = sized(profile(stage_profile("a"), stage_profile("b")), 2, 3)
    assert resources.shm_bytes == 5 * 16 * MIB
    assert resources.memory_bytes == (200e6 + 5 * 80e6) * 1.25 + resources.shm_bytes


@pytest.mark.parametrize(("instances", "shm_mib"), [(1, 64), (4, 64), (5, 80)])
def test_shared_memory_grows_with_the_instances_from_what_a_container_has_anyway(instances: int, shm_mib: int) -> None:
    assert sized(profile(), instances)[0].shm_bytes == shm_mib * MIB


@pytest.mark.parametrize(
    ("hardware", "pinned", "resources"),
    [
        ("cpu", {}, {}),
        ("mig-1g.10gb", {}, {"nvidia.com/mig-1g.10gb": 1}),
        ("gpu", {"nvidia.com/gpu": 2}, {"nvidia.com/gpu": 2}),
    ],
)
def test_accelerators_follow_the_hardware_unless_a_person_set_them(
    hardware: str, pinned: dict[str, int], resources: dict[str, int]
) -> None:
    decided, reasons = sized(replace(profile(), hardware=hardware), 1, pins=Pins(accelerators=pinned))
    assert decided.accelerators == resources
    assert ("accelerators" in reasons) == bool(resources)


def test_cores_and_memory_set_by_hand_are_kept_and_said() -> None:
    resources, reasons = sized(profile(), 1, pins=Pins(cpu_cores=2.5, memory_bytes=3 * 2**30))
    assert (resources.cpu_cores, resources.memory_bytes) == (2.5, 3 * 2**30)
    assert reasons["cpu_cores"].text == "2500m set in the manifest"
    assert reasons["memory_bytes"].text == "3072Mi set in the manifest"


def test_the_cores_of_an_ensemble_are_those_of_all_its_steps() -> None:
    steps = [
        StagePlan(model="m", max_batch_size=1, max_queue_delay_s=0.0, instances=2, threads=threads)
        for threads in (1, 3)
    ]
    assert instance_cores(steps) == 8
