"""What the autoscaler knows of the load: samples in, the averages of the stable and the panic window out.

A sample is the sum over all pods of one second. Scrapes are samples themselves: only some pods are asked, and their mean
stands for all. Pure: which pods are asked is the caller's draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.simulate.kpa.config import Aggregation, Config, Metric
from kserve_ext.simulate.kpa.window import LinearWindow, WeightedWindow

_SAMPLE_BASE = 1.96 * 1.96 * 100 / (5 * 5)  # Knative: 95 % confidence, variance 100, margin of error 5
_ALWAYS_ALL = 3  # up to this many pods, all are scraped


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """One report of a queue-proxy or an activator, over 1 s. `requests` are arrivals, not answers."""

    concurrency: float = 0.0
    proxied_concurrency: float = 0.0  # came through an activator, which has counted it already
    requests: float = 0.0
    proxied_requests: float = 0.0

    def value(self, metric: Metric) -> float:
        """What is recorded of it: what no activator has counted."""
        if metric is Metric.RPS:
            return self.requests - self.proxied_requests
        return self.concurrency - self.proxied_concurrency


class Collector:
    """The two windows of one metric."""

    __slots__ = ("_panic", "_scraped", "_stable")

    def __init__(self, config: Config) -> None:
        kind = WeightedWindow if config.aggregation is Aggregation.WEIGHTED_EXPONENTIAL else LinearWindow
        self._stable: LinearWindow = kind(config.stable_window_s)
        self._panic: LinearWindow = kind(config.panic_window_s)
        self._scraped = config.scraped

    def record(self, second: int, value: float) -> None:
        """Add a value; values of the same second add up (activator and scrape are meant to)."""
        self._stable.record(second, value)
        self._panic.record(second, value)

    def averages(self, second: int) -> tuple[float, float] | None:
        """Stable and panic average; None when pods are scraped and a whole stable window brought nothing."""
        if self._scraped and self._stable.is_empty(second):
            return None
        return self._stable.average(second), self._panic.average(second)

    def resize(self, stable_window_s: float, panic_window_s: float, second: int) -> None:
        """Take over changed windows; the history that fits stays."""
        self._stable.resize(stable_window_s, second)
        self._panic.resize(panic_window_s, second)


def sample_size(pods: int) -> int:
    """How many pods are scraped: all up to 3, then n*X / (n + X - 1) rounded up: 5 -> 4, 10 -> 7, 1000 -> 16."""
    if pods <= _ALWAYS_ALL:
        return max(pods, 0)
    return math.ceil(pods * _SAMPLE_BASE / (pods + _SAMPLE_BASE - 1))


def extrapolate(sampled: Sequence[float], pods: int) -> float:
    """The value recorded for all ready pods, from those that were scraped."""
    total = 0.0
    for value in sampled:
        total += value
    return total / len(sampled) * pods
