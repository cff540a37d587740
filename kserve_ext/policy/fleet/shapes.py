"""A GPU as a packer sees it: slots that may be taken, each a set of bits, and what the free bits are still worth.

Two slots can be used together exactly when their bits do not meet: a bit for each memory slice, and one for the media
engines. A GPU with a fixed layout has only that layout's slots, a whole GPU one slot, a time-sliced one a bit a share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kserve_ext.policy.gpu.mig import MEDIA, GpuModel

WHOLE = "gpu"
SHARED = "shared"
CPU = "cpu"
_MEDIA_BIT = 8  # above the memory slices


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One place on a GPU for one replica. `kind` is GPU/part: a100-80gb/1g.10gb, l4/gpu, l4/shared."""

    kind: str
    start: int
    mask: int


@dataclass(frozen=True, slots=True)
class Shape:
    """All slots a GPU may be cut into; any that do not overlap can be there at once."""

    slots: tuple[Slot, ...]

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(slot.kind for slot in self.slots)

    @property
    def full(self) -> int:
        """The bits of an empty GPU."""
        mask = 0
        for slot in self.slots:
            mask |= slot.mask
        return mask

    def at(self, kind: str, start: int) -> Slot | None:
        """The slot of this kind at this place, if the shape has one."""
        return next((slot for slot in self.slots if slot.kind == kind and slot.start == start), None)


def mig_slots(model: GpuModel, names: Iterable[str]) -> tuple[Slot, ...]:
    """Every place of the named profiles on a GPU; a `+me` twin takes the media engines too."""
    slots = []
    for name in sorted(set(names)):
        profile = model.profile(name)
        if profile is None:
            raise ValueError(f"{model.key} has no profile {name}")
        media = 1 << _MEDIA_BIT if name.endswith(MEDIA) else 0
        bits = (1 << profile.memory) - 1
        slots += [Slot(f"{model.key}/{name}", start, bits << start | media) for start in profile.starts]
    return tuple(slots)


def mig_shape(model: GpuModel, names: Iterable[str] | None = None, *, whole: bool = False) -> Shape:
    """A GPU that may be cut into the named profiles, all of them by default, or be used whole."""
    slots = mig_slots(model, model.by_name if names is None else names)
    return Shape(slots + ((whole_slot(model),) if whole else ()))


def whole_slot(model: GpuModel) -> Slot:
    """The slot of a GPU that is not cut."""
    return Slot(f"{model.key}/{WHOLE}", 0, (1 << max(model.memory_slices, _MEDIA_BIT + 1)) - 1)


def shared_shape(model: GpuModel, shares: int) -> Shape:
    """A GPU whose `shares` users take turns or run side by side without isolation."""
    return Shape(tuple(Slot(f"{model.key}/{SHARED}", index, 1 << index) for index in range(shares)))


def arrange(shape: Shape, kinds: Iterable[str]) -> tuple[Slot, ...] | None:
    """Places for slices of these kinds on one GPU, widest first; None where they cannot all be there at once."""
    widths = {slot.kind: slot.mask.bit_count() for slot in shape.slots}
    wanted = sorted(kinds, key=lambda kind: (-widths.get(kind, 0), kind))
    return _arrange(shape, tuple(wanted), 0)


def _arrange(shape: Shape, wanted: tuple[str, ...], used: int) -> tuple[Slot, ...] | None:
    if not wanted:
        return ()
    for slot in shape.slots:
        if slot.kind == wanted[0] and not slot.mask & used:
            rest = _arrange(shape, wanted[1:], used | slot.mask)
            if rest is not None:
                return (slot, *rest)
    return None


@lru_cache(maxsize=256)
def patterns(shape: Shape, kinds: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """How many slices of each of `kinds` a GPU can hold at once: every combination to which none can be added."""
    slots = [(kinds.index(slot.kind), slot.mask) for slot in shape.slots if slot.kind in kinds]
    found: set[tuple[int, ...]] = set()
    seen: set[tuple[int, tuple[int, ...]]] = set()
    stack = [(shape.full, (0,) * len(kinds))]
    while stack:
        free, counts = stack.pop()
        if (free, counts) in seen:
            continue
        seen.add((free, counts))
        if not free:
            found.add(counts)
            continue
        first = free & -free  # its lowest bit: left free, or taken by one of the slots that have it
        stack.append((free & ~first, counts))
        for index, mask in slots:
            if mask & first and mask & free == mask:
                stack.append((free & ~mask, (*counts[:index], counts[index] + 1, *counts[index + 1 :])))
    return tuple(
        sorted(a for a in found if not any(a != b and all(x <= y for x, y in zip(a, b, strict=True)) for b in found))
    )


class Worth:
    """What free bits of a shape are worth: the most that slots in them can sum to at the given prices."""

    def __init__(self, shape: Shape, prices: Mapping[str, float]) -> None:
        priced = [(slot.mask, prices.get(slot.kind, 0.0)) for slot in shape.slots]
        self._priced = [(mask, price) for mask, price in priced if price > 0]
        self._known: dict[int, float] = {0: 0.0}

    def __call__(self, free: int) -> float:
        known = self._known.get(free)
        if known is None:
            first = free & -free  # as above: few masks are looked at, even where there are 48 shares
            taken = (price + self(free & ~mask) for mask, price in self._priced if mask & first and mask & free == mask)
            known = max(self(free & ~first), *taken, 0.0)
            self._known[free] = known
        return known
