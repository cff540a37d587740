"""The policies of a comparison where replicas batch: sized by what one replica of a plan carries, not by a formula.

A name, a context and a plan in, a scaler out. Ours is Knative's autoscaler with the plan's own settings under the floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kserve_ext.domain import Plan
from kserve_ext.policy.batching import replicas_for
from kserve_ext.policy.contenders import contender
from kserve_ext.policy.floor import FloorSettings, sizing_from_capacity
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.simulate.arrivals import Counts, per_second
from kserve_ext.simulate.scaler import Scaler
from kserve_ext.simulate.scalers import Bounds, Context, KedaScaler, PerfectRateScaler, StaticScaler, from_plan

_BUSY_S = 60  # a fixed count is for the busiest minute that was seen
_SPAN_S = 5  # a perfect rate is that of the busiest so many seconds around each, as `perfect_rate` has it
_KEDA_UTILIZATION = 0.7  # of what one replica can answer at all, as the registry has it
_LATE_AT_CAPACITY = 0.01  # the plan's capacity is where p99 reaches the SLO
_ROOM = 8  # replicas that the floor knows of beyond twice the busiest second's


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """What one replica of a plan carries."""

    plan: Plan
    saturated_rps: float  # that it can answer at all

    def replicas(self, rate_rps: float) -> int:
        return replicas_for(rate_rps, self.plan.capacity_rps) if rate_rps > 0 else 0


def planned_contender(name: str, context: Context, sized: Sized) -> Scaler[Any]:
    """The policy of that name for replicas that batch. Raises InputError for an unknown one."""
    build = _PLANNED.get(name)
    return build(context, sized) if build else contender(name, context)


def _ours(context: Context, sized: Sized, *, foresee: bool = True) -> Scaler[Any]:
    history = context.history if isinstance(context.history, Counts) else Counts(counts=())
    arrived = per_second(context.workload.arrivals, context.seed)
    busiest_rps = max(int(arrived.max(initial=0)), max(history.counts, default=0) / history.step_s)
    floor = FloorSettings(
        sizing=sizing_from_capacity(
            sized.plan.capacity_rps, sized.saturated_rps, _LATE_AT_CAPACITY,
            _ROOM + 2 * math.ceil(busiest_rps / sized.plan.capacity_rps),
        ),
        start_up_s=max(1.0, context.workload.cold_start.on_node_s), attainment=context.attainment,
        bin_s=10 if history.counts and history.step_s < 10 else 60, least=context.bounds.min_replicas, foresee=foresee,
    )  # fmt: skip
    return FlooredScaler(
        reactive=from_plan(within(context.bounds, sized.plan).scaling, sized.plan.concurrency_limit), floor=floor,
        late_above=context.workload.slo_s * sized.saturated_rps,
        history=history.counts, history_step_s=history.step_s if history.counts else 60,
    )  # fmt: skip


def within(bounds: Bounds, plan: Plan) -> Plan:
    """The plan with other bounds for its replicas."""
    scaling = replace(plan.scaling, min_replicas=bounds.min_replicas, max_replicas=bounds.max_replicas or 0)
    return replace(plan, scaling=scaling)


def _static_peak(context: Context, sized: Sized) -> Scaler[Any]:
    counts = per_second(context.history or context.workload.arrivals, context.seed)
    return StaticScaler(replicas=context.bounds.within(sized.replicas(_busiest(counts, _BUSY_S) / _BUSY_S)))


def _keda_rps(context: Context, sized: Sized) -> Scaler[Any]:
    return KedaScaler(target_rps=_KEDA_UTILIZATION * sized.saturated_rps, bounds=context.bounds)


def _perfect_rate(context: Context, sized: Sized) -> Scaler[Any]:
    counts, span_s = per_second(context.workload.arrivals, context.seed), _SPAN_S
    sums = np.convolve(counts, np.ones(span_s), mode="full")[span_s - 1 :]  # of the span that begins with each second
    around = np.max([np.concatenate((np.zeros(back), sums[: len(sums) - back])) for back in range(span_s)], axis=0)
    cold = context.workload.cold_start
    return PerfectRateScaler(
        needed=tuple(context.bounds.within(sized.replicas(float(count) / span_s)) for count in around),
        ahead_s=cold.on_node_s + cold.node_s,
    )  # fmt: skip


def _busiest(counts: NDArray[np.int64], span_s: int) -> int:
    """Most requests in any `span_s` seconds in a row."""
    summed = np.concatenate(([0], np.cumsum(counts)))
    span_s = min(span_s, len(counts))
    return int((summed[span_s:] - summed[:-span_s]).max()) if span_s else 0


_PLANNED: Mapping[str, Callable[[Context, Sized], Scaler[Any]]] = {
    "ours": _ours,
    "ours-reactive": lambda context, sized: _ours(context, sized, foresee=False),
    "static-peak": _static_peak,
    "keda-rps": _keda_rps,
    "perfect-rate": _perfect_rate,
}
