from __future__ import annotations

import pytest

from kserve_ext.policy.accelerators import accelerators


@pytest.mark.parametrize(
    ("hardware", "resources"),
    [
        ("cpu", {}),
        ("gpu", {"nvidia.com/gpu": 1}),
        ("a100", {"nvidia.com/gpu": 1}),
        ("h100-80gb", {"nvidia.com/gpu": 1}),
        ("mig-1g.10gb", {"nvidia.com/mig-1g.10gb": 1}),
        ("a100-1g.5gb", {"nvidia.com/mig-1g.5gb": 1}),
        ("h100-3g.40gb", {"nvidia.com/mig-3g.40gb": 1}),
        ("mig-1g.10gb+me", {"nvidia.com/mig-1g.10gb.me": 1}),
        ("mig-1g.10gb.me", {"nvidia.com/mig-1g.10gb.me": 1}),
    ],
)
def test_a_hardware_kind_asks_for_a_slice_a_gpu_or_nothing(hardware: str, resources: dict[str, int]) -> None:
    assert accelerators(hardware) == resources
