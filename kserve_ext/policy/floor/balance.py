"""What the guides expect to be late with so many replicas: shares of the forecast, the calendar, and half of each.

Forecast, calendar, ripple and sizing in; late requests a second by guide and replicas out. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kserve_ext.policy.floor.ripple import Ripple
from kserve_ext.policy.floor.sizing import Sizing, Values
from kserve_ext.policy.floor.trials import GUIDES, SHRUNK
from kserve_ext.policy.forecast import LEVELS, Forecast

_LEVELS = np.array((0.0, *LEVELS, 1.0))
_WEIGHTS = np.diff(_LEVELS)
_SWINGS, _SWING_WEIGHTS = np.array([-1.5, -0.5, 0.5, 1.5]), np.array([0.13, 0.37, 0.37, 0.13])
_CALM = 0.02  # deviation of the rate within a bin below which it is not looked at


def expected_late(
    found: Forecast, last: Values, calendar: Values, ripple: Ripple, sizing: Sizing
) -> tuple[Values, Values]:
    """Late requests a second by guide and replicas from 0, and requests a second by guide: as GUIDES.

    `last` and `calendar` are rates, each as likely as the others; without a calendar the forecast stands in.
    """
    edges = np.array((found.quantiles[0], *found.quantiles, found.quantiles[-1])) / found.bin_s
    likely = (edges[1:] + edges[:-1]) / 2
    guides = [*(share * likely for share in SHRUNK), last, *([calendar] if len(calendar) else [])]
    late, rate = _late(
        guides, [_WEIGHTS] * len(SHRUNK) + [_even(each) for each in guides[len(SHRUNK) :]], ripple, sizing
    )
    then = -1 if len(calendar) else 0
    return (
        np.vstack((late[: len(SHRUNK) + 1], late[then], (late[0] + late[then]) / 2)),
        np.array((*rate[: len(SHRUNK) + 1], rate[then], (rate[0] + rate[then]) / 2)),
    )


def only(last: Values, ripple: Ripple, sizing: Sizing) -> tuple[Values, Values]:
    """The same where nothing is foreseen: every guide is the last bins."""
    late, rate = _late([last], [_even(last)], ripple, sizing)
    return np.repeat(late, len(GUIDES), axis=0), np.repeat(rate, len(GUIDES))


def _even(rates: Values) -> Values:
    return np.full(len(rates), 1.0 / len(rates))


def _late(guides: Sequence[Values], weights: Sequence[Values], ripple: Ripple, sizing: Sizing) -> tuple[Values, Values]:
    """Late requests and requests a second, for each guide's rates and how likely they are."""
    swings, parts = (_SWINGS, _SWING_WEIGHTS) if ripple.deviation >= _CALM else (np.zeros(1), np.ones(1))
    factors = np.maximum(1.0 + ripple.deviation * swings, 0.0)
    rates = np.outer(np.concatenate(guides), factors).ravel()
    weighed = rates * np.outer(np.concatenate(weights), parts).ravel()
    first = len(factors) * np.cumsum([0, *(len(each) for each in guides[:-1])])
    late: Values = np.add.reduceat(sizing.late_share(rates) * weighed, first, axis=1).T
    return late, np.add.reduceat(weighed, first)


def late_shares(rate_rps: float, ripple: Ripple, sizing: Sizing) -> Values:
    """Share late at that mean rate, by replicas from 0."""
    late, rate = _late([np.array([max(rate_rps, 1e-9)])], [np.ones(1)], ripple, sizing)
    shares: Values = np.clip(late[0] / rate[0], 0.0, 1.0)
    return shares
