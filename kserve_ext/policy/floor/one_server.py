"""One replica that serves one request at a time: the share late, exact for Poisson arrivals (Pollaczek and Khinchine).

The formula for many replicas is rough for one: it says 2.5 % late where 1.8 % are, at a load of 0.55, and one replica
or two is the largest step there is.
"""

from __future__ import annotations

import numpy as np

from kserve_ext.policy.floor.sizing import Values

_CELLS = 240  # of the SLO


def attained_by_one(rate_rps: float, service_s: Values, slo_s: float) -> float:
    """Share of requests within the SLO at a steady rate; `service_s` are equally likely service times."""
    load = rate_rps * float(service_s.mean())
    if load >= 1.0:
        return 0.0
    cell_s = slo_s / _CELLS
    edges = np.arange(_CELLS + 1) * cell_s
    ordered = np.sort(service_s)
    summed = np.concatenate(([0.0], np.cumsum(ordered)))
    below = np.searchsorted(ordered, edges)
    shorter = (summed[below] + edges * (len(ordered) - below)) / len(ordered)  # mean of the lesser of service and edge
    residual = np.diff(shorter) / float(service_s.mean())  # what is left of a service under way, by cell
    middle = np.concatenate(([0.0], residual))  # a residual counts at the upper edge of its cell
    waits = np.zeros(_CELLS + 1)
    waits[0] = 1.0 - load
    for place in range(1, _CELLS + 1):
        waits[place] = load * float(middle[1 : place + 1] @ waits[place - 1 :: -1])
    within = np.cumsum(waits)
    room = (slo_s - ordered) / cell_s
    return float(np.where(room >= 0, np.interp(room, np.arange(_CELLS + 1), within), 0.0).mean())
