"""Scalers by name, for comparing policies on one workload. A name and a context in, a scaler out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from kserve_ext.errors import InputError, Problem
from kserve_ext.simulate.arrivals import Arrivals, per_second
from kserve_ext.simulate.engine import Workload
from kserve_ext.simulate.scaler import Scaler
from kserve_ext.simulate.scalers.bounds import DEFAULT_BOUNDS, Bounds
from kserve_ext.simulate.scalers.fixed import static_peak
from kserve_ext.simulate.scalers.hpa import CpuUtilization, HpaScaler
from kserve_ext.simulate.scalers.keda import KedaScaler
from kserve_ext.simulate.scalers.kpa import kpa_cc1, kpa_default
from kserve_ext.simulate.scalers.perfect import perfect_rate
from kserve_ext.simulate.scalers.query import RequestRate
from kserve_ext.simulate.scalers.sizing import staffing_for
from kserve_ext.simulate.slots import Serve, serve_reference

_KEDA_UTILIZATION = 0.7  # of what one busy replica serves: as Knative's own default, and what people set by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a policy may know when it is set up."""

    workload: Workload
    history: Arrivals | None = None  # earlier traffic, to learn from; without it, the workload's own
    attainment: float = 0.99
    bounds: Bounds = DEFAULT_BOUNDS
    seed: int = 0  # the one its arrivals are drawn with
    serve: Serve = serve_reference


def scaler_named(name: str, context: Context) -> Scaler[Any]:
    """The policy of that name. Raises InputError for an unknown one."""
    if name not in _SCALERS:
        nearest = get_close_matches(name, _SCALERS, n=1)
        raise InputError(
            Problem(what="unknown policy", found=repr(name), allowed=", ".join(_SCALERS)),
            remedy=f"did you mean {nearest[0]}?" if nearest else "",
        )
    return _SCALERS[name](context)


def _static_peak(context: Context) -> Scaler[Any]:
    history = context.history or context.workload.arrivals
    return static_peak(
        context.workload, history, attainment=context.attainment, bounds=context.bounds, seed=context.seed,
        serve=context.serve,
    )  # fmt: skip


def _keda_rps(context: Context) -> Scaler[Any]:
    target_rps = _KEDA_UTILIZATION / context.workload.service_time.mean_s
    return KedaScaler(metric=RequestRate(target_rps=target_rps), bounds=context.bounds)


def _perfect_rate(context: Context) -> Scaler[Any]:
    workload = context.workload
    return perfect_rate(
        per_second(workload.arrivals, context.seed).tolist(),
        staffing_for(workload.service_time, workload.slo_s, context.attainment),
        ahead_s=workload.cold_start.on_node_s + workload.cold_start.node_s,
        bounds=context.bounds,
    )


_SCALERS: Mapping[str, Callable[[Context], Scaler[Any]]] = {
    "static-peak": _static_peak,
    "kpa-default": lambda context: kpa_default(context.bounds),
    "kpa-cc1": lambda context: kpa_cc1(context.bounds),
    "hpa-cpu-60": lambda context: HpaScaler(metric=CpuUtilization(target_percent=60), bounds=context.bounds),
    "hpa-cpu-80": lambda context: HpaScaler(metric=CpuUtilization(target_percent=80), bounds=context.bounds),
    "keda-rps": _keda_rps,
    "perfect-rate": _perfect_rate,
}
SCALER_NAMES = tuple(_SCALERS)
