"""How many replicas a forecast is worth: one more costs its time, one fewer the late requests it would have kept.

The newsvendor's rule over the whole forecast distribution, with the same price of a late request that the clairvoyant
oracle has. Forecast, ripple, sizing and price in, replicas out.
"""

from __future__ import annotations

import numpy as np

from kserve_ext.policy.floor.ripple import Ripple
from kserve_ext.policy.floor.sizing import Sizing, Values
from kserve_ext.policy.forecast import LEVELS, Forecast

_LEVELS = np.array((0.0, *LEVELS, 1.0))
_WEIGHTS = np.diff(_LEVELS)
_SWINGS, _SWING_WEIGHTS = np.array([-1.5, -0.5, 0.5, 1.5]), np.array([0.13, 0.37, 0.37, 0.13])


def replicas_worth(found: Forecast, ripple: Ripple, sizing: Sizing, price_s: float) -> int:
    """The count at which replicas + price x late requests a second is least; the fewest where several are equal."""
    rates, weights = spread_out(found, ripple)
    late_rps = sizing.late_share(rates) @ (weights * rates)
    costs = np.arange(len(late_rps)) + price_s * late_rps
    return int(np.argmin(costs))


def spread_out(found: Forecast, ripple: Ripple) -> tuple[Values, Values]:
    """Rates that the busiest bin may have, and how likely each is; the ripple within a bin included."""
    edges = np.array((found.quantiles[0], *found.quantiles, found.quantiles[-1])) / found.bin_s
    middles = (edges[1:] + edges[:-1]) / 2
    swings = np.maximum(1.0 + ripple.deviation * _SWINGS, 0.0)
    return np.outer(middles, swings).ravel(), np.outer(_WEIGHTS, _SWING_WEIGHTS).ravel()
