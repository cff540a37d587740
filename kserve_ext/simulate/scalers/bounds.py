"""The replicas a service may have, whoever scales it."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.errors import InputError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """From `min_replicas` to `max_replicas`; None: no upper bound. KServe's own default for minReplicas is 1."""

    min_replicas: int = 1
    max_replicas: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.min_replicas < 0:
            problems.append(Problem(what="below zero", field="min_replicas", found=str(self.min_replicas)))
        if self.max_replicas is not None and self.max_replicas < max(1, self.min_replicas):
            allowed = f">= {max(1, self.min_replicas)}"
            problems.append(
                Problem(what="too few", field="max_replicas", found=str(self.max_replicas), allowed=allowed)
            )
        if problems:
            raise InputError(*problems, remedy="give bounds with 0 <= min <= max and max >= 1")

    def within(self, replicas: int) -> int:
        """The nearest count that is allowed."""
        most = replicas if self.max_replicas is None else min(replicas, self.max_replicas)
        return max(most, self.min_replicas)


DEFAULT_BOUNDS = Bounds()
