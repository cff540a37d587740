"""Whether instances fit the memory of a slice, proven from what was measured and with a margin kept free.

A profile in, how many instances fit out. What was not measured is not proven: such a model gets one instance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kserve_ext.domain import Profile, Reason
from kserve_ext.units import format_mebibytes

CONTEXT_BYTES = 512 * 2**20  # of the driver and libraries for the server's process: reports of up to 500 MB a GPU
MARGIN = 0.10  # of the slice: allocators round up and fragment


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFit:
    """How many instances of every stage fit side by side, and why."""

    instances: int
    proven: bool
    reason: Reason


def fit_memory(profile: Profile, usable_bytes: float | None, *, kind: str) -> MemoryFit:
    """The most instances of each stage for which context + instances x peak stays within the slice less the margin."""
    peak_bytes = sum(stage.memory_peak_bytes for stage in profile.stages)
    measured = max(point.instances for stage in profile.stages for point in stage.points)
    field = "resources.accelerators"
    if usable_bytes is None or peak_bytes <= 0:
        what = "the usable memory of this part is not published" if usable_bytes is None else "memory was not measured"
        text = f"{what}, so one instance is all that is risked on {kind}"
        return MemoryFit(instances=1, proven=False, reason=Reason(field=field, code="gpu-memory-not-proven", text=text))
    allowed_bytes = usable_bytes * (1 - MARGIN) - CONTEXT_BYTES
    fitting = max(0, math.floor(allowed_bytes / peak_bytes))
    text = (
        f"{format_mebibytes(usable_bytes)} of {kind} less {MARGIN:.0%} and {format_mebibytes(CONTEXT_BYTES)} for the "
        f"context hold {fitting} instances of {format_mebibytes(peak_bytes)} at the largest batch"
        + (f"; {measured} were measured" if measured < fitting else "")
    )
    numbers = {"usable_bytes": usable_bytes, "peak_bytes": peak_bytes, "fitting": float(fitting)}
    return MemoryFit(
        instances=min(fitting, measured),
        proven=True,
        reason=Reason(field=field, code="gpu-memory-with-margin", text=text, numbers=numbers),
    )


def with_instances(profile: Profile, most: int) -> Profile:
    """The profile as if no more than `most` instances had been measured: a planner then never takes more."""
    stages = tuple(
        replace(stage, points=tuple(point for point in stage.points if point.instances <= most))
        for stage in profile.stages
    )
    return replace(profile, stages=stages)
