"""The queue in front of one instance that takes up to `max_batch` waiting requests at a time, solved exactly.

Poisson arrivals and service times by batch size in, the law of the queue at the start of each batch out: the Markov
chain embedded where a batch ends, q' = max(q - B, 0) + requests that arrived meanwhile. An idle instance takes the
next request alone, and is slower by a measured extra. Exact for Triton's dynamic batcher with one instance and no
delay; several instances, delays and limits below two batches are the simulator's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_TAIL = 1e-8  # probability of longer queues that is left out
_CELLS = 384  # of the service-time grid of the chain: p99 moves by less than 1e-4 with twice as many
_COLD_STEPS = 16  # to which the part of the extra time after a short idleness is rounded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchQueue:
    """One instance. `service_s[b - 1]` are equally likely service times of a batch of b rows, for 1, ..., max_batch."""

    service_s: Values
    overhead_s: Values = field(default_factory=lambda: np.zeros(1))  # equally likely, added to every request
    service_cold_extra_s: float = 0.0  # more service time for one row that comes `cold_after_s` after the last answer
    overhead_cold_extra_s: float = 0.0  # more overhead for that request; less of both after a shorter idleness
    cold_after_s: float = 0.010

    @property
    def max_batch(self) -> int:
        return len(self.service_s)

    @property
    def longest_s(self) -> float:
        """The longest service time."""
        return float(self.service_s.max()) + self.service_cold_extra_s

    @property
    def saturated_rps(self) -> float:
        """Requests per second with every batch full."""
        return self.max_batch / float(self.service_s[-1].mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steady:
    """The queue at a steady rate. `waiting[q]` is the probability that q requests wait when a batch ends."""

    queue: BatchQueue
    rate_rps: float
    waiting: Values
    cold: Values  # how cold an instance that was idle is (0 to 1), and
    cold_share: Values  # how likely each of these is

    @property
    def mean_batch(self) -> float:
        return float(self.waiting @ _batches(len(self.waiting), self.queue.max_batch))

    @property
    def mean_concurrency(self) -> float:
        """Requests sent and not answered, on average: inside the server by the areas of the cycles, outside by Little."""
        queue, rate = self.queue, self.rate_rps
        batch = _batches(len(self.waiting), queue.max_batch)
        left = np.maximum(np.arange(len(batch)) - queue.max_batch, 0)
        mean_s, square_s = queue.service_s.mean(axis=1)[batch - 1], (queue.service_s**2).mean(axis=1)[batch - 1]
        extra_s = self.cold * queue.service_cold_extra_s
        square_s[0] += 2 * mean_s[0] * (self.cold_share @ extra_s) + self.cold_share @ extra_s**2
        mean_s[0] += self.cold_share @ extra_s
        area = self.waiting @ ((batch + left) * mean_s + rate * square_s / 2)
        length = self.waiting @ mean_s + self.waiting[0] / rate
        met_idle = self.waiting[0] / self.mean_batch  # share of the requests that find the instance idle
        outside_s = queue.overhead_s.mean() + met_idle * (self.cold_share @ self.cold) * queue.overhead_cold_extra_s
        return float(area / length + rate * outside_s)


def solve(queue: BatchQueue, rate_rps: float) -> Steady:
    """The steady state at `rate_rps`. Raises ValueError at or above saturation, where there is none."""
    count = states(queue, rate_rps)
    cold, cold_share = _coldness(rate_rps * queue.cold_after_s)
    step_s = queue.longest_s / _CELLS
    laws = service_cells(queue, cold, cold_share, step_s)
    arrivals = laws @ poisson(rate_rps * step_s * np.arange(laws.shape[1]), count)
    return Steady(queue=queue, rate_rps=rate_rps, waiting=_stationary(arrivals), cold=cold, cold_share=cold_share)


def states(queue: BatchQueue, rate_rps: float) -> int:
    """How many queue lengths are kept: they fall off as z^-q with z > 1 the root of z^B = E[exp(rate S (z - 1))]."""
    if not 0 < rate_rps < queue.saturated_rps:
        raise ValueError(f"no steady state at {rate_rps:g} rps: one instance saturates at {queue.saturated_rps:g} rps")
    full_s, batch = queue.service_s[-1], queue.max_batch

    def excess(log_z: float) -> float:
        exponents = rate_rps * full_s * math.expm1(log_z)
        highest = float(exponents.max())
        return highest + math.log(np.exp(exponents - highest).mean()) - batch * log_z

    low, high = 0.0, 1.0
    while excess(high) < 0:
        high *= 2
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return 2 * batch + math.ceil(-math.log(_TAIL) / high)


def service_cells(queue: BatchQueue, cold: Values, cold_share: Values, step_s: float) -> Values:
    """Service times on a grid of `step_s`: row 0 of the request that finds the instance idle, row b of a batch of b."""
    after_idle_s = queue.service_s[0] + queue.service_cold_extra_s * cold[:, None]
    weights = np.broadcast_to(cold_share[:, None], after_idle_s.shape)
    width = math.ceil(queue.longest_s / step_s) + 2
    first = cells(after_idle_s.reshape(1, -1), step_s, width, weights=weights.reshape(1, -1))
    return np.vstack([first, cells(queue.service_s, step_s, width)])


def cells(times_s: Values, step_s: float, width: int, *, weights: Values | None = None) -> Values:
    """Distributions, one a row, on the grid 0, step, 2 step, ...: each value split over its neighbours, so means stay."""
    place = times_s / step_s
    low = place.astype(np.int64)
    share = np.ones_like(place) if weights is None else weights
    share = share / share.sum(axis=1, keepdims=True)
    upper = share * (place - low)
    at = (low + width * np.arange(len(times_s))[:, None]).ravel()
    size = width * len(times_s) + 1
    lower_cells = np.bincount(at, (share - upper).ravel(), size)
    law: Values = (lower_cells + np.bincount(at + 1, upper.ravel(), size)).astype(np.float64)
    return law[:-1].reshape(len(times_s), width)


def poisson(means: Values, count: int) -> Values:
    """P(Poisson(mean) = j): a row for each mean, a column for each j below `count`."""
    orders = np.arange(count)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(means)[:, None] * orders - means[:, None] - [math.lgamma(order + 1) for order in orders]
    logs[:, 0] = -means  # 0 x log(0) otherwise
    law: Values = np.exp(logs)
    return law


def _coldness(filled: float) -> tuple[Values, Values]:
    """How cold the instance is when a request ends its idleness: idle for an exponential time, cold in full from 1 on."""
    edges = np.arange(_COLD_STEPS + 1) / _COLD_STEPS
    below = -np.diff(np.exp(-filled * edges))
    return np.append(edges[:-1] + 0.5 / _COLD_STEPS, 1.0), np.append(below, math.exp(-filled))


def _batches(count: int, max_batch: int) -> NDArray[np.int64]:
    """The batch that follows for each number of waiting requests; with none the next request to come is alone."""
    return np.clip(np.arange(count), 1, max_batch)


def _stationary(arrivals: Values) -> Values:
    """Stationary law of the chain; `arrivals[b]` is the law of arrivals during a batch of b, of an idle cycle for b = 0."""
    count, max_batch = arrivals.shape[1], len(arrivals) - 1
    step = np.zeros((count, count))
    step[: max_batch + 1] = arrivals
    for waiting in range(max_batch + 1, count):
        left = waiting - max_batch
        step[waiting, left:] = arrivals[-1][: count - left]
    step[:, -1] += 1.0 - step.sum(axis=1)  # what would be longer counts as the longest
    balance = step.T - np.eye(count)
    balance[-1] = 1.0
    solved = np.maximum(np.linalg.solve(balance, np.eye(count)[-1]), 0.0)
    law: Values = solved / solved.sum()
    return law
