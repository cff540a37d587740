"""How long one execution takes: a distribution for every batch size and number of busy instances.

The law is kept as equally likely values, so that a draw is one list look-up. Values between two measured batch
sizes are interpolated quantile by quantile. No clock and no randomness: the simulator brings the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVELS = 200  # equally likely values per law: p99 of the service time itself is resolved to half a percent


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLaw:
    """Service times of one stage. `values_s[k - 1][i]` are LEVELS ascending times at `batches[i]` with k busy."""

    batches: tuple[int, ...]
    values_s: tuple[tuple[tuple[float, ...], ...], ...]
    after_idle_extra_s: tuple[float, ...] = ()  # at `batches[i]`, after IDLE_S without work; empty: none

    @property
    def instances(self) -> int:
        """Most instances that were measured side by side."""
        return len(self.values_s)

    def levels_s(self, batch: int, busy: int) -> list[float]:
        """LEVELS ascending service times of a batch of `batch` rows with `busy` instances busy.

        Raises ValueError beyond what was measured: the law never extrapolates.
        """
        if not (1 <= batch <= self.batches[-1] and 1 <= busy <= self.instances):
            raise ValueError(
                f"batch {batch} with {busy} busy instances was not measured: "
                f"batches go to {self.batches[-1]}, instances to {self.instances}"
            )
        rows = self.values_s[busy - 1]
        upper = next(i for i, known in enumerate(self.batches) if known >= batch)
        if self.batches[upper] == batch or upper == 0:
            return list(rows[upper])
        low, high = self.batches[upper - 1], self.batches[upper]
        weight = (batch - low) / (high - low)
        return [a + (b - a) * weight for a, b in zip(rows[upper - 1], rows[upper], strict=True)]

    def idle_extra_s(self, batch: int) -> float:
        """How much longer a batch of `batch` rows takes on an instance that has been idle for IDLE_S."""
        return float(np.interp(batch, self.batches, self.after_idle_extra_s)) if self.after_idle_extra_s else 0.0

    def mean_s(self, batch: int, busy: int) -> float:
        """Mean service time in seconds of a batch of `batch` rows with `busy` instances busy."""
        return float(np.mean(self.levels_s(batch, busy)))

    def saturated_rps(self, batch: int, instances: int) -> float:
        """Rows per second with every instance always running full batches."""
        return instances * batch / self.mean_s(batch, instances)

    def slowed(self, factors: Sequence[float]) -> ServiceLaw:
        """The law with the times at `batches[i]` `factors[i]` times as long."""
        return replace(
            self,
            values_s=tuple(
                tuple(
                    tuple(factor * value for value in levels) for factor, levels in zip(factors, of_count, strict=True)
                )
                for of_count in self.values_s
            ),
        )


def constant_law(times_s: Sequence[float]) -> ServiceLaw:
    """A law without spread for batches 1..len(times_s), one instance: for tests and worked examples."""
    rows = tuple((float(time_s),) * LEVELS for time_s in times_s)
    return ServiceLaw(batches=tuple(range(1, len(rows) + 1)), values_s=(rows,))


def spread(probabilities: Sequence[float], values: Sequence[float], mean: float | None = None) -> tuple[float, ...]:
    """LEVELS equally likely values of a distribution given by quantiles, rescaled to `mean` if one is given.

    Beyond the outermost quantiles the outermost value is used; the result is ascending.
    """
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    drawn: NDArray[np.float64] = np.maximum.accumulate(np.interp(levels, probabilities, values))
    if mean is not None and drawn.mean() > 0:
        drawn = drawn * (mean / drawn.mean())
    return tuple(drawn.tolist())
