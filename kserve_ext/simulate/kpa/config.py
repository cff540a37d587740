"""What one revision's autoscaler is set to, and how it is read from a mapping with Knative's own field names.

A mapping in, a Config out, or an InputError that lists every fault. Defaults are those of Knative's config-autoscaler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeGuard, TypeVar

from kserve_ext.errors import InputError, Problem


class Metric(StrEnum):
    """What the autoscaler counts."""

    CONCURRENCY = "concurrency"
    RPS = "rps"


class Aggregation(StrEnum):
    """How the seconds of a window are weighed."""

    LINEAR = "linear"
    WEIGHTED_EXPONENTIAL = "weighted-exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one autoscaler: DeciderSpec and MetricSpec of Knative together."""

    target: float = 70.0  # per pod, utilisation already applied: 70 % of 100
    total: float = 100.0  # what one pod can hold, the base of burst capacity
    target_burst_capacity: float = 211.0  # -1: the activator always stays in the path; 0: only while no pod is ready
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    panic_threshold: float = 2.0  # a factor: the annotation / 100
    reachable: bool = True  # a route names the revision
    activation_scale: int = 0  # smallest scale that is not zero; below 2 it does nothing
    metric: Metric = Metric.CONCURRENCY
    stable_window_s: float = 60
    panic_window_s: float = 6
    aggregation: Aggregation = Aggregation.LINEAR
    scale_down_delay_s: float = 0
    scraped: bool = False  # pods are scraped: a whole window without data is then no data, not zero load


_DEFAULT = Config()
_NANOSECOND_S = 1e-9


def read_config(raw: Mapping[str, object]) -> tuple[Config, int]:
    """Config, and the number of ready pods when the autoscaler starts (`initial_ready`).

    A missing key means Knative's default. A key that looks like a misspelt one is an error; others (ActivatorCapacity,
    notes) are of no use here. `ScrapeTarget`, empty unless given, names the service whose pods are scraped.
    """
    read = _Reader(raw)
    config = Config(
        target=read.number("TargetValue", _DEFAULT.target, above=0.0),
        total=read.number("TotalValue", _DEFAULT.total, least=0.0),
        target_burst_capacity=read.number("TargetBurstCapacity", _DEFAULT.target_burst_capacity, least=-1.0),
        max_scale_up_rate=read.number("MaxScaleUpRate", _DEFAULT.max_scale_up_rate, above=0.0),
        max_scale_down_rate=read.number("MaxScaleDownRate", _DEFAULT.max_scale_down_rate, above=0.0),
        panic_threshold=read.number("PanicThreshold", _DEFAULT.panic_threshold, least=0.0),
        reachable=read.choice("Reachable", (True, False), _DEFAULT.reachable),
        activation_scale=read.count("ActivationScale", _DEFAULT.activation_scale),
        metric=Metric(read.choice("ScalingMetric", tuple(Metric), _DEFAULT.metric)),
        stable_window_s=read.number("stable_window_s", _DEFAULT.stable_window_s, least=_NANOSECOND_S),
        panic_window_s=read.number("panic_window_s", _DEFAULT.panic_window_s, least=_NANOSECOND_S),
        aggregation=Aggregation(read.choice("aggregation", tuple(Aggregation), _DEFAULT.aggregation)),
        scale_down_delay_s=read.number("scale_down_delay_s", _DEFAULT.scale_down_delay_s, least=0.0),
        scraped=bool(raw.get("ScrapeTarget", "")),
    )
    initial_ready = read.count("initial_ready", 0)
    read.finish()
    return config, initial_ready


_Choice = TypeVar("_Choice")


class _Reader:
    """Takes values out of a mapping, each checked, and keeps the problems until all have been read."""

    def __init__(self, raw: Mapping[str, object]) -> None:
        self._raw = raw
        self._known = {"ScrapeTarget"}
        self._problems: list[Problem] = []

    def number(self, key: str, default: float, *, above: float = -math.inf, least: float = -math.inf) -> float:
        value = self._take(key, default)
        if _is_number(value) and value > above and value >= least:
            return value
        self._wrong(key, value, f"a number > {above:g}" if above > least else f"a number >= {least:g}")
        return default

    def count(self, key: str, default: int) -> int:
        value = self._take(key, default)
        if _is_number(value) and value >= 0 and value == int(value):
            return int(value)
        self._wrong(key, value, "a whole number >= 0")
        return default

    def choice(self, key: str, allowed: tuple[_Choice, ...], default: _Choice) -> _Choice:
        value = self._take(key, default)
        for one in allowed:
            if value == one:
                return one
        self._wrong(key, value, ", ".join(str(one) for one in allowed))
        return default

    def finish(self) -> None:
        """Raise what was found, misspelt keys included."""
        for key in self._raw:
            nearest = get_close_matches(key, self._known - {key}, n=1, cutoff=0.8) if key not in self._known else []
            if nearest:
                self._problems.append(Problem(what="unknown key", field=f"config.{key}", allowed=nearest[0]))
        if self._problems:
            raise InputError(*self._problems, remedy="give the fields of Knative's DeciderSpec, windows in seconds")

    def _take(self, key: str, default: object) -> object:
        self._known.add(key)
        return self._raw.get(key, default)

    def _wrong(self, key: str, value: object, allowed: str) -> None:
        self._problems.append(Problem(what="not usable", field=f"config.{key}", found=repr(value), allowed=allowed))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
