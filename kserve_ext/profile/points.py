"""The arithmetic of a service point: from the times of a closed loop to the time an execution takes an instance.

Numbers in, numbers out; the measuring is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kserve_ext.domain import Quantiles, ServicePoint
from kserve_ext.profile.fit import isotonic

PROBABILITIES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
ALWAYS_KNOWN = 0.9  # quantiles up to here are told however few the values
LEAST_ABOVE = 2  # values above a higher quantile: one stall of the host in 50 executions is not the model's p99
STALL = 3.0  # times the median: slower executions tell of the host, and are left out where a typical one is sought
FULL_SHARE = 0.95  # of executions: fewer full batches, and the throughput is that of other batch sizes too
NEAR = 1.5  # factor between batch sizes that tell of each other
ENOUGH_EXECUTIONS = 10
PARTS = 5  # of a run, each with its own rate: a stall of the host spoils one of them


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """Powers of two up to `max_batch`, and that itself; 1 for a model that cannot be batched (0)."""
    sizes = [1]
    while sizes[-1] * 2 <= max_batch:
        sizes.append(sizes[-1] * 2)
    return (*sizes, max_batch) if max_batch > sizes[-1] else tuple(sizes)


def steady_rate(done_s: Sequence[float], together: int) -> float:
    """Answers per second in a steady state, where up to `together` come at about the same time.

    Counting between two moments would be off by up to `together` answers, so an edge is the mean time of that many.
    The run is cut into up to five parts of at least three rounds each, and the median of their rates is told.
    Raises ValueError for less than two rounds.
    """
    times = np.sort(np.asarray(done_s, np.float64))
    last = times.size - together
    if last < together:
        raise ValueError(f"{times.size} answers are less than two rounds of {together}")
    parts = max(1, min(PARTS, last // (3 * together)))
    edges = np.linspace(0, last, parts + 1).round().astype(int)
    edge_s = np.array([times[edge : edge + together].mean() for edge in edges])
    if np.any(np.diff(edge_s) <= 0):
        raise ValueError("answers of several rounds came at the same time")
    return float(np.median(np.diff(edges) / np.diff(edge_s)))


def occupancy_s(instances: int, executions_per_s: float) -> float:
    """Time one execution takes an instance, when `instances` that are never idle do so many executions a second."""
    return instances / executions_per_s


def quantiles_of(values_s: Sequence[float] | NDArray[np.float64]) -> Quantiles:
    """The usual quantiles of measured times, by linear interpolation, as far up as so many values can tell."""
    values = np.asarray(values_s, np.float64)
    known = tuple(p for p in PROBABILITIES if p <= ALWAYS_KNOWN or round(values.size * (1 - p), 9) >= LEAST_ABOVE)
    return Quantiles(probabilities=known, values=tuple(np.quantile(values, known).tolist()))


def typical_mean_s(values_s: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean of the values without stalls."""
    values = np.asarray(values_s, np.float64)
    return float(values[values <= STALL * np.median(values)].mean())


def shifted(quantiles: Quantiles, by_s: float) -> Quantiles:
    """The distribution moved by `by_s`, nothing below zero."""
    return Quantiles(
        probabilities=quantiles.probabilities, values=tuple(max(value + by_s, 0.0) for value in quantiles.values)
    )


def overhead(latency: Quantiles, services: Sequence[Quantiles], drift_s: float = 0.0) -> Quantiles:
    """What a request takes beyond its services: quantile less quantiles, made ascending, never below zero.

    Subtracting quantile by quantile leaves a constant where the services alone explain the spread; subtracting their
    means would count that spread twice in a simulation that draws both. `drift_s` is how much slower the services
    were in the run of `latency` than in their own.
    """
    spent = sum(np.interp(latency.probabilities, each.probabilities, each.values) for each in services)
    rest = (np.asarray(latency.values) - spent - drift_s).tolist()
    ascending = isotonic(rest, [1.0] * len(rest))
    return Quantiles(probabilities=latency.probabilities, values=tuple(max(value, 0.0) for value in ascending))


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


def in_service_ratios(
    closed_loop_s: Mapping[int, float], in_service_s: Mapping[int, float], executions: Mapping[int, int]
) -> dict[int, float]:
    """For each batch size of `closed_loop_s`: time in service over that of the closed loop, 1 where nothing tells.

    Sizes that formed in service lie between those measured: each is compared with the closed loop's times interpolated,
    and a size takes the mean of its neighbours within NEAR, weighted by how often they ran. Sizes beyond those that
    formed take the nearest one's.
    """
    sizes, times_s = list(closed_loop_s), list(closed_loop_s.values())
    told: dict[int, float] = {}
    for size in sizes:
        near = [n for n in in_service_s if size / NEAR <= n <= size * NEAR and n <= sizes[-1]]
        weight = sum(executions[n] for n in near)
        if weight >= ENOUGH_EXECUTIONS:
            ratios = (executions[n] * in_service_s[n] / float(np.interp(n, sizes, times_s)) for n in near)
            told[size] = sum(ratios) / weight
    if not told:
        return dict.fromkeys(sizes, 1.0)
    return {size: float(np.interp(size, list(told), list(told.values()))) for size in sizes}


def levelled(point: ServicePoint, factor: float) -> ServicePoint:
    """The point with an execution taking an instance `factor` times as long."""
    return replace(point, mean_s=factor * point.mean_s, quantiles_s=scaled(point.quantiles_s, factor))


def corrected(point: ServicePoint, ratio: float) -> ServicePoint:
    """The point with the server's own time of an execution `ratio` times as long, the rest of it as it was."""
    mean_s = max(point.mean_s + (ratio - 1.0) * point.server_compute_s, 0.0)
    return replace(
        point,
        mean_s=mean_s,
        quantiles_s=scaled(point.quantiles_s, mean_s / point.mean_s),
        server_compute_s=ratio * point.server_compute_s,
    )
