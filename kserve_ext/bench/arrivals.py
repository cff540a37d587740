"""When requests are due, in seconds from the start of a run. The same seed gives the same times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


def poisson(rate_rps: float, duration_s: float, seed: int = 0) -> Times:
    """Independent arrivals at `rate_rps` on average, all before `duration_s`.

    Their number is drawn first and the times are then uniform: the same law as exponential gaps, in one pass.
    """
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0.0, duration_s, rng.poisson(rate_rps * duration_s)))


def constant(rate_rps: float, duration_s: float) -> Times:
    """Arrivals 1 / rate_rps apart, the first at 0, all before `duration_s`."""
    return np.arange(int(np.ceil(rate_rps * duration_s - 1e-9)), dtype=np.float64) / rate_rps
