"""The scale-down delay: the largest decision of the last slots of 2 s, one slot per tick.

Pure: a tuple of (slot, pods) in, a new one out, values falling from old to new; the first is the largest.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from kserve_ext.simulate.kpa.gofloat import to_nanosecond

TICK_S = 2  # Knative's tickInterval: how often it decides, and the length of a slot

Slots: TypeAlias = tuple[tuple[int, int], ...]


def slot_count(delay_s: float) -> int:
    """How many slots a delay spans: 5 s -> 3; none without a delay."""
    return math.ceil(to_nanosecond(delay_s) / TICK_S)


def remember(slots: Slots, size: int, slot: int, pods: int) -> Slots:
    """Add a decision. Smaller older ones no longer matter, those `size` slots back are forgotten."""
    kept = list(slots)
    while kept and kept[-1][1] <= pods:
        kept.pop()
    expired = 0
    while expired < len(kept) and slot - kept[expired][0] >= size:
        expired += 1
    del kept[:expired]
    if kept and kept[-1][0] == slot:  # two decisions in one slot: the larger one stands
        pods = kept.pop()[1]
    kept.append((slot, pods))
    return tuple(kept)
