"""What the traffic was at this time of earlier days: rates to be ready for, whatever it is doing now.

For traffic that jumps within minutes the last minutes say little, and a start-up later still less: then the same time
of earlier days is the better guide. Counts so far in, rates in. Pure.
"""

from __future__ import annotations

import numpy as np

from kserve_ext.policy.floor.sizing import Values
from kserve_ext.policy.forecast import History

_DAYS = 7
_NEAR_S = 1200  # either side
_MOST = 64  # rates that stand for all, evenly through their order


def same_time(history: History, ahead_bins: int) -> Values:
    """Rates of the bins around the same time as `ahead_bins` from now on earlier days; none without a whole day."""
    near, day = _NEAR_S // history.bin_s, 86_400 // history.bin_s
    middle = history.bins - 1 + ahead_bins - day * np.arange(1, _DAYS + 1)
    places = (middle[:, None] + np.arange(-near, near + 1))[middle >= near].ravel()
    if not len(places):
        return np.empty(0)
    rates = np.sort(history.totals[places + 1] - history.totals[places]) / history.bin_s
    count = min(_MOST, len(rates))
    steps: Values = rates[(np.arange(count) * 2 + 1) * len(rates) // (2 * count)]
    return steps
