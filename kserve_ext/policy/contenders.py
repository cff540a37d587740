"""Every policy of a comparison by name, ours beside those that people use. A name and a context in, a scaler out.

Ours are what a plan sets, Knative's autoscaler or another that was asked for, under the predictive floor;
`ours-reactive` has the floor react only.
Where replicas batch, a plan comes along, and everything is sized by what one replica of it carries, not by a formula.
The oracle is solved for the very requests of the workload. Nothing here is chosen by trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from kserve_ext.domain import Plan, Scaling
from kserve_ext.errors import InputError, Problem
from kserve_ext.policy.batching import replicas_for
from kserve_ext.policy.floor import FloorSettings, Sizing, attained_by_one, sizing_from, sizing_from_capacity
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.policy.horizontal import simulated
from kserve_ext.simulate.arrivals import Arrivals, Counts, per_second
from kserve_ext.simulate.oracle import OracleScaler, count_compiled, count_reference, late_table, solve
from kserve_ext.simulate.scaler import Scaler
from kserve_ext.simulate.scalers import KedaScaler, RequestRate, StaticScaler, perfect_rate
from kserve_ext.simulate.scalers.kpa import from_plan
from kserve_ext.simulate.scalers.registry import SCALER_NAMES, Context, scaler_named
from kserve_ext.simulate.scalers.sizing import staffing_for
from kserve_ext.simulate.slots import serve_reference

_BIN_S, _SHORT_BIN_S = 60, 10  # of the forecast: short where seconds are known
_SECONDS = 5
_KEDA_UTILIZATION = 0.7  # of what one replica can answer at all, as the registry has it
_LATE_AT_CAPACITY = 0.01  # the plan's capacity is where p99 reaches the SLO
_ROOM = 8  # replicas that the floor knows of beyond twice the busiest second's
_LEAST_USE = 0.6  # a replica is meant to be busy for so much of its time at least

CONTENDERS: tuple[str, ...] = (
    "ours", "ours-reactive", "static-peak", "kpa-default", "kpa-cc1", "hpa-cpu-60", "hpa-cpu-80", "keda-rps",
    "perfect-rate", "oracle",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """What one replica of a plan carries."""

    plan: Plan
    saturated_rps: float  # that it can answer at all

    def replicas(self, rate_rps: float) -> int:
        return replicas_for(rate_rps, self.plan.capacity_rps) if rate_rps > 0 else 0


def contender(name: str, context: Context, sized: Sized | None = None) -> Scaler[Any]:
    """The policy of that name, set up for the workload. Raises InputError for an unknown one."""
    if sized is not None and name in _PLANNED:
        return _PLANNED[name](context, sized)
    if name in SCALER_NAMES:
        return scaler_named(name, context)
    if name not in _OWN:
        nearest = get_close_matches(name, CONTENDERS, n=1)
        raise InputError(
            Problem(what="unknown policy", found=repr(name), allowed=", ".join(CONTENDERS)),
            remedy=f"did you mean {nearest[0]}?" if nearest else "",
        )
    return _OWN[name](context)


def _ours(context: Context, *, foresee: bool = True) -> Scaler[Any]:
    sizing = _sizing(context)
    return _floored(context, from_plan(_scaling(context, sizing), concurrency_limit=0), sizing, foresee)


def _floored(context: Context, reactive: Scaler[Any], sizing: Sizing, foresee: bool) -> FlooredScaler:
    """The reactive part under the predictive floor."""
    workload = context.workload
    counts, step_s = _counts(context.history, context.seed) if context.history else ((), _BIN_S)
    floor = FloorSettings(
        sizing=sizing, start_up_s=max(1.0, workload.cold_start.on_node_s), attainment=context.attainment,
        bin_s=_SHORT_BIN_S if step_s < _SHORT_BIN_S else _BIN_S, least=context.bounds.min_replicas,
        foresee=foresee,
    )  # fmt: skip
    return FlooredScaler(
        reactive=reactive, floor=floor, late_above=workload.slo_s * sizing.saturated_rps, history=counts,
        history_step_s=step_s,
    )  # fmt: skip


def _scaling(context: Context, sizing: Sizing) -> Scaling:
    """Knative's settings, good for themselves: at the busiest minute known a replica takes what holds the SLO there."""
    busiest_rps = max(1e-3, float(_busiest(context, _BIN_S)) / _BIN_S)
    target_rps = busiest_rps / max(1, sizing.needed(busiest_rps, 1.0 - context.attainment))
    return Scaling(
        min_replicas=context.bounds.min_replicas, max_replicas=context.bounds.max_replicas or 0, metric="rps",
        target=max(target_rps, _LEAST_USE * sizing.saturated_rps), target_utilization_percent=100.0,
        panic_threshold_percent=210.0, panic_window_percent=10.0, target_burst_capacity=-1, window_s=60.0,
        scale_down_delay_s=0.0, initial_scale=1,
    )  # fmt: skip


def _sizing(context: Context) -> Sizing:
    """Late shares by Erlang and Kingman, exact for one replica, for up to twice the replicas of the busiest seconds."""
    workload = context.workload
    staffing = staffing_for(workload.service_time, workload.slo_s, 0.5)

    def attained(rate_rps: float, replicas: int) -> float:
        if replicas == 1:
            return attained_by_one(rate_rps, staffing.service_s, workload.slo_s)
        return staffing.attained(rate_rps, replicas)

    most = _ROOM + int(2 * _busiest(context, _SECONDS) / _SECONDS * staffing.mean_s)
    return sizing_from(attained, 1.0 / staffing.mean_s, most)


def _busiest(context: Context, span_s: int) -> int:
    """Most requests in a span of the traffic known before, or of the workload itself where there is none."""
    counts = per_second(context.history or context.workload.arrivals, context.seed)
    counts = counts[: len(counts) // span_s * span_s] if len(counts) >= span_s else counts
    return int(counts.reshape(-1, min(span_s, len(counts))).sum(axis=1).max(initial=0))


def _counts(history: Arrivals, seed: int) -> tuple[tuple[int, ...], int]:
    """A trace as it is; anything else by the second."""
    if isinstance(history, Counts):
        return history.counts, history.step_s
    return tuple(per_second(history, seed).tolist()), 1


def _oracle(context: Context) -> Scaler[Any]:
    workload = context.workload
    count = count_reference if context.serve is serve_reference else count_compiled()
    table = late_table(workload, seed=context.seed, count=count)
    start_up_s = workload.cold_start.on_node_s
    found = solve(table, attainment=context.attainment, start_up_s=start_up_s)
    return OracleScaler(path=found.path, epoch_s=table.epoch_s, start_up_s=start_up_s)


def _ours_planned(context: Context, sized: Sized, *, foresee: bool = True) -> Scaler[Any]:
    scaling = replace(
        sized.plan.scaling, min_replicas=context.bounds.min_replicas, max_replicas=context.bounds.max_replicas or 0
    )
    sizing = sizing_from_capacity(
        sized.plan.capacity_rps, sized.saturated_rps, _LATE_AT_CAPACITY,
        _ROOM + 2 * math.ceil(_busiest(context, 1) / sized.plan.capacity_rps),
    )  # fmt: skip
    reactive: Scaler[Any] = from_plan(scaling, sized.plan.concurrency_limit)
    if (settings := sized.plan.horizontal) is not None:
        reactive = simulated(settings, sized.plan.capacity_rps / sized.saturated_rps, context.bounds)
    return _floored(context, reactive, sizing, foresee)


def _static_peak(context: Context, sized: Sized) -> Scaler[Any]:
    return StaticScaler(replicas=context.bounds.within(sized.replicas(_busiest(context, _BIN_S) / _BIN_S)))


def _keda_rps(context: Context, sized: Sized) -> Scaler[Any]:
    metric = RequestRate(target_rps=_KEDA_UTILIZATION * sized.saturated_rps)
    return KedaScaler(metric=metric, bounds=context.bounds)


def _perfect_rate(context: Context, sized: Sized) -> Scaler[Any]:
    counts, cold = per_second(context.workload.arrivals, context.seed).tolist(), context.workload.cold_start
    return perfect_rate(counts, sized, ahead_s=cold.on_node_s + cold.node_s, bounds=context.bounds)


_PLANNED: Mapping[str, Callable[[Context, Sized], Scaler[Any]]] = {
    "ours": _ours_planned,
    "ours-reactive": lambda context, sized: _ours_planned(context, sized, foresee=False),
    "static-peak": _static_peak,
    "keda-rps": _keda_rps,
    "perfect-rate": _perfect_rate,
}
_OWN: Mapping[str, Callable[[Context], Scaler[Any]]] = {
    "ours": _ours,
    "ours-reactive": lambda context: _ours(context, foresee=False),
    "oracle": _oracle,
}
