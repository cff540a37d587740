"""Burstiness: the index of dispersion of the counts by time scale."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from kserve_ext.traffic.measures import DAY_S, Counts, coarse
from kserve_ext.traffic.types import Dispersion

SCALES_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21_600, 43_200, DAY_S)
_LEAST_STEPS = 10  # for a variance


def dispersion(counts: Counts, step_s: int) -> tuple[Dispersion, ...]:
    """By time scale, from the trace's step up, as far as there are ten steps and any request."""
    found = []
    for scale_s in sorted({step_s, *SCALES_S}):
        if scale_s < step_s or scale_s % step_s or not counts.any():
            continue
        values = coarse(counts, step_s, scale_s)
        if len(values) < _LEAST_STEPS or not values.any():
            continue
        mean = float(values.mean())
        low, high = _poisson_band(len(values) - 1)
        local = float(np.mean(np.diff(values, 2) ** 2)) / 6 / mean  # 1, -2, 1 squared: six variances
        found.append(Dispersion(
            scale_s=scale_s, steps=len(values), index=float(np.var(values, ddof=1)) / mean, local=local,
            jumps=math.sqrt(max(0.0, local - 1) / mean), poisson_low=low, poisson_high=high,
        ))  # fmt: skip
    return tuple(found)


def _poisson_band(freedom: int) -> tuple[float, float]:
    """95 % of chi-square over its freedom, by Wilson and Hilferty: within 1 % from nine on."""
    part = 2 / (9 * freedom)
    z = NormalDist().inv_cdf(0.975)
    return (1 - part - z * math.sqrt(part)) ** 3, (1 - part + z * math.sqrt(part)) ** 3
