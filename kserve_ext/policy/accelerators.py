"""Hardware kinds and the Kubernetes resource each asks for.

`cpu` asks for none, a name with a MIG profile in it (`mig-1g.10gb`, `a100-1g.10gb`) for that slice, any other name
(`gpu`, `a100`, `h100`) for a whole GPU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MIG_PROFILE = re.compile(r"(\d+g\.\d+gb)(\+me|\.me)?$")  # NVIDIA MIG guide: compute slices, memory
WHOLE_GPU = "nvidia.com/gpu"


def accelerators(hardware: str) -> Mapping[str, int]:
    """Extended resources one replica needs on this kind of hardware; empty on CPU."""
    if hardware == "cpu":
        return {}
    slice_profile = _MIG_PROFILE.search(hardware)
    if slice_profile is None:
        return {WHOLE_GPU: 1}
    media = ".me" if slice_profile[2] else ""
    return {f"nvidia.com/mig-{slice_profile[1]}{media}": 1}
