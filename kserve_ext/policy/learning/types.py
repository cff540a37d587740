"""What a profile is multiplied by where reality differs from it, and how far that may go. Frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LEAST, MOST = (
    0.5,
    2.0,
)  # times as long as profiled: beyond it is another model, or another machine, and to be profiled anew
LEAST_START_UP, MOST_START_UP = 0.25, 8.0  # start-ups hang on images, nodes and disks
NOTICED = 0.15  # a smaller difference is noise: five runs of one profile differ by up to a tenth
STEP = 0.05  # corrections are whole multiples of it, so that they rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Times as long as profiled: executions of each model, and the start-up of a replica. On one kind of hardware."""

    hardware: str = ""
    levels: tuple[tuple[str, float], ...] = ()  # (model, level), by name; a model that is left out is as profiled
    start_up: float = 1.0

    def level_of(self, model: str) -> float:
        """The level of one model."""
        return dict(self.levels).get(model, 1.0)

    @classmethod
    def of(cls, hardware: str, levels: Mapping[str, float], start_up: float) -> Correction:
        """A correction; the same one however its levels are ordered, and none at all where everything is as profiled."""
        kept = tuple(sorted((model, level) for model, level in levels.items() if level != 1.0))
        return cls(hardware=hardware, levels=kept, start_up=start_up) if kept or start_up != 1.0 else AS_PROFILED


AS_PROFILED = Correction()
