"""Staffing for a service time of the simulator."""

from __future__ import annotations

import numpy as np

from kserve_ext.queueing.staffing import Staffing
from kserve_ext.simulate.service_time import ServiceTime

_LEVELS = 4096
_DRAWS_PER_LEVEL = 64


def staffing_for(service: ServiceTime, slo_s: float, attainment: float) -> Staffing:
    """Replicas for a rate. The law is taken as 4096 equally likely values, from draws of a fixed seed.

    Raises InfeasibleError when the service times alone miss the SLO too often.
    """
    draws = np.sort(service.draw_s(np.random.default_rng(0), _LEVELS * _DRAWS_PER_LEVEL))
    levels_s = draws.reshape(_LEVELS, _DRAWS_PER_LEVEL).mean(axis=1)
    return Staffing(service_s=levels_s, slo_s=slo_s, attainment=attainment)
