"""How long requests take in a batch queue in its steady state: the whole law to p99 and a little beyond.

A request that arrives u after a batch began finds those that were left over and Poisson(rate u) more before it. It
waits for the rest of that batch, for the full batches before its own, then runs with those that came behind it in
the meantime. One that finds the instance idle runs alone, slower the longer it was idle. Times are kept on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kserve_ext.queueing.batch_queue import Steady, Values, cells, poisson, service_cells

_COARSE, _FINE = 32, 128  # cells: to find p99 at all, and to know it to 0.05 %
_BEYOND = 1.15  # the fine grid ends that much beyond the coarse p99
_P99 = 0.99
_NEGLIGIBLE = 1e-12  # probability


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sojourn:
    """`within[i]` of all requests are answered within i x `step_s`; what comes beyond the grid is not known."""

    step_s: float
    within: Values

    def quantile_s(self, share: float) -> float:
        """The time within which that share is answered. Raises ValueError beyond the grid."""
        if share > self.within[-1]:
            raise ValueError(f"the law is known up to {self.within[-1]:.4f}, not to {share:g}")
        return float(np.interp(share, self.within, self.step_s * np.arange(len(self.within))))

    def share_within(self, time_s: float) -> float:
        """Share of the requests answered within a time on the grid."""
        return float(np.interp(time_s, self.step_s * np.arange(len(self.within)), self.within))


def sojourn(steady: Steady) -> Sojourn:
    """The law at the steady state, on a grid that ends a little beyond its p99."""
    queue = steady.queue
    horizon_s = 2.0 * (queue.longest_s + float(queue.overhead_s.max()))
    while (coarse := on_grid(steady, horizon_s, _COARSE)).within[-1] < _P99:
        horizon_s *= 2.0
    horizon_s = _BEYOND * coarse.quantile_s(_P99)
    while (fine := on_grid(steady, horizon_s, _FINE)).within[-1] < _P99:
        horizon_s *= _BEYOND
    return fine


def on_grid(steady: Steady, horizon_s: float, count: int) -> Sojourn:
    """The law up to `horizon_s` in `count` cells; what a cell holds counts as spread evenly over it."""
    step_s = horizon_s / count
    services = service_cells(steady.queue, steady.cold, steady.cold_share, step_s)
    sized = _by_batch(_waits(steady, services, step_s, count), steady.rate_rps * step_s)
    served = _convolved(sized, _to(services[1:], count)).sum(axis=0)
    law = _convolved(served, _grid(steady.queue.overhead_s, step_s, count)) + _met_idle(steady, step_s, count)
    within = np.concatenate(([0.0], np.cumsum(law))) / steady.mean_batch  # requests of a cycle
    return Sojourn(step_s=step_s, within=within)


def _waits(steady: Steady, services: Values, step_s: float, count: int) -> Values:
    """Requests of a cycle by (place in their batch, cell of the time until it begins), those that met it idle left out."""
    batch, waiting = steady.queue.max_batch, steady.waiting
    first = waiting[: batch + 1] @ services  # service law of the cycles that begin with nobody left over
    first = first[: np.flatnonzero(first > _NEGLIGIBLE)[-1] + 1]
    full_cycles = waiting[batch + 1 :].sum() > _NEGLIGIBLE
    spans = np.arange(services.shape[1] if full_cycles else len(first)) + 0.5
    behind = steady.rate_rps * step_s * poisson(steady.rate_rps * step_s * spans, len(waiting))
    places = _rest(first, count) @ behind[: len(first)]
    if full_cycles:
        left = _lower(np.concatenate(([0.0], waiting[batch + 1 :])), len(waiting))  # r left over with q = r + B waiting
        places = places + _rest(services[-1], count) @ behind @ left.T
    turns = np.zeros((-(-places.shape[1] // batch), batch, count))  # full batches before the own one, place in that
    turns.reshape(-1, count)[: places.shape[1]] = places.T
    full = _lower(services[-1], count)
    waits: Values = turns[-1]
    for turn in turns[-2::-1]:
        waits = turn + waits @ full.T
    return waits


def _by_batch(waits: Values, arrivals_per_cell: float) -> Values:
    """The same requests by (size of the batch they run in, less one; time until it begins): those behind join it."""
    batch, count = waits.shape
    behind = poisson(arrivals_per_cell * (np.arange(count) + 0.5), batch).T
    sized = np.zeros_like(waits)
    for more in range(batch - 1):
        sized[more : batch - 1] += waits[: batch - 1 - more] * behind[more]
    sized[-1] = waits.sum(axis=0) - sized.sum(axis=0)
    return sized


def _met_idle(steady: Steady, step_s: float, count: int) -> Values:
    """Requests of a cycle that find the instance idle, by the cell of their whole time."""
    queue = steady.queue
    extra_s = steady.cold * (queue.service_cold_extra_s + queue.overhead_cold_extra_s)
    times_s = queue.service_s[0] + extra_s[:, None]
    alone = _grid(times_s, step_s, count + 1, np.broadcast_to(steady.cold_share[:, None], times_s.shape))
    points = _convolved(alone, _grid(queue.overhead_s, step_s, count + 1))
    spread = points[:-1] + points[1:]  # a point of the grid is the edge of two cells
    spread[0] += points[0]
    law: Values = steady.waiting[0] * spread / 2
    return law


def _grid(times_s: Values, step_s: float, count: int, weights: Values | None = None) -> Values:
    """A distribution on the first `count` points of the grid."""
    width = max(count, int(times_s.max() / step_s) + 2)
    flat = None if weights is None else weights.reshape(1, -1)
    return cells(times_s.reshape(1, -1), step_s, width, weights=flat)[0, :count]


def _rest(service: Values, count: int) -> Values:
    """Row i, column d: the service time that leaves i + 1/2 cells after d + 1/2 cells."""
    padded = np.concatenate((service[1:], np.zeros(count + len(service))))
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, len(service))[:count])


def _lower(law: Values, count: int) -> Values:
    """The matrix that convolves with a law: row i, column j holds law[i - j]."""
    padded = np.concatenate((_to(law, count)[::-1], np.zeros(count - 1)))
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, count)[::-1])


def _convolved(one: Values, other: Values) -> Values:
    """Convolution along the last axis, cut to its length."""
    count = one.shape[-1]
    size = 2 * count
    both: Values = np.fft.irfft(np.fft.rfft(one, size) * np.fft.rfft(other, size), size)[..., :count]
    return both


def _to(law: Values, count: int) -> Values:
    """The law cut or filled up with zeros to `count` cells."""
    cut = law[..., :count]
    return np.concatenate((cut, np.zeros((*cut.shape[:-1], count - cut.shape[-1]))), axis=-1)
