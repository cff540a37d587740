"""The arithmetic of a service point: from the times of a closed loop to the time an execution takes an instance.

Numbers in, numbers out; the measuring is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kserve_ext.domain import Quantiles

PROBABILITIES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
FULL_SHARE = 0.95  # of executions: fewer full batches, and the throughput is that of other batch sizes too


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """Powers of two up to `max_batch`, and that itself; 1 for a model that cannot be batched (0)."""
    sizes = [1]
    while sizes[-1] * 2 <= max_batch:
        sizes.append(sizes[-1] * 2)
    return (*sizes, max_batch) if max_batch > sizes[-1] else tuple(sizes)


def steady_rate(done_s: Sequence[float], together: int) -> float:
    """Answers per second in a steady state, where up to `together` come at about the same time.

    From the mean time of the first `together` answers to that of the last: (n - together) answers later. Counting
    between two fixed moments would be off by up to `together` answers. Raises ValueError for less than two rounds.
    """
    times = np.sort(np.asarray(done_s, np.float64))
    if times.size < 2 * together:
        raise ValueError(f"{times.size} answers are less than two rounds of {together}")
    span_s = float(times[-together:].mean() - times[:together].mean())
    if span_s <= 0:
        raise ValueError("all answers came at the same time")
    return (times.size - together) / span_s


def occupancy_s(instances: int, executions_per_s: float) -> float:
    """Time one execution takes an instance, when `instances` that are never idle do so many executions a second."""
    return instances / executions_per_s


def quantiles_of(values_s: Sequence[float]) -> Quantiles:
    """The usual quantiles of measured times, by linear interpolation."""
    values = np.quantile(np.asarray(values_s, np.float64), PROBABILITIES)
    return Quantiles(probabilities=PROBABILITIES, values=tuple(values.tolist()))


def shifted(quantiles: Quantiles, by_s: float) -> Quantiles:
    """The distribution moved by `by_s`, nothing below zero."""
    return Quantiles(
        probabilities=quantiles.probabilities, values=tuple(max(value + by_s, 0.0) for value in quantiles.values)
    )


def scaled(quantiles: Quantiles, factor: float) -> Quantiles:
    """The distribution stretched by `factor`."""
    return Quantiles(probabilities=quantiles.probabilities, values=tuple(value * factor for value in quantiles.values))


def full_share(executions: Mapping[int, int], batch: int) -> float:
    """Share of executions that had exactly `batch` rows; `executions` counts them by size."""
    total = sum(executions.values())
    return executions.get(batch, 0) / total if total else 0.0


def merged_mean_s(
    measured_s: float, *, share: float, compute_s: float, client_s: float, client_compute_s: float
) -> float:
    """Occupancy of a merged batch: as measured, or, when too few batches were full, put together from server times.

    Then it is the server's own time for the full ones, plus what an execution of that size takes beyond it.
    """
    if share >= FULL_SHARE:
        return measured_s
    return compute_s + max(client_s - client_compute_s, 0.0)
