"""Hardware kinds as users write them (`cpu`, `gpu`, `a100`, `a100-1g.10gb`, `mig-1g.10gb`, `l4-shared`) and what they mean.

A kind names a part (the whole GPU, a MIG slice, a share) and, if it wants to, the GPU it was measured on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from kserve_ext.policy.gpu.mig import GpuModel

_SLICE = re.compile(r"(?:(?P<gpu>.+)-)?(?P<part>\d+g\.\d+gb)(?P<media>[+.]me)?")
_ANY_GPU = ("", "gpu", "mig", "nvidia.com/gpu", "nvidia.com/mig")
_SHARED = ("-shared", ".shared")


class Part(StrEnum):
    """What of a machine one replica gets."""

    CPU = "cpu"
    WHOLE = "gpu"
    SLICE = "slice"  # isolated: own memory, own share of bandwidth and SMs
    SHARE = "shared"  # time-slicing or MPS: not isolated


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareKind:
    """A kind taken apart. `gpu` is a model or a family of models; empty: any."""

    name: str
    part: Part
    gpu: str = ""
    profile: str = ""  # 1g.10gb, with +me where the media engines come along

    def is_on(self, model: GpuModel) -> bool:
        """Whether this GPU is one the kind speaks of and, for a slice, can be cut that way."""
        named = self.gpu in ("", model.key, model.family)
        return named and (self.part is not Part.SLICE or model.profile(self.profile) is not None)


def parse_kind(name: str) -> HardwareKind:
    """The parts of a kind's name; any name that is nothing else stands for a whole GPU of that name."""
    if name == "cpu":
        return HardwareKind(name=name, part=Part.CPU)
    for suffix in _SHARED:
        if name.endswith(suffix):
            return HardwareKind(name=name, part=Part.SHARE, gpu=_gpu(name.removesuffix(suffix)))
    found = _SLICE.fullmatch(name)
    if found is not None:
        profile = found["part"] + ("+me" if found["media"] else "")
        return HardwareKind(name=name, part=Part.SLICE, gpu=_gpu(found["gpu"] or ""), profile=profile)
    return HardwareKind(name=name, part=Part.WHOLE, gpu=_gpu(name))


def _gpu(name: str) -> str:
    return "" if name in _ANY_GPU else name
