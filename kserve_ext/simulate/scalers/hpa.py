"""The HorizontalPodAutoscaler (autoscaling/v2) as a scaler, on CPU or on what a query tells.

CPU utilisation is busy places over all places of the ready replicas: a serving replica uses what it requests, an idle
one nothing. Left out: how old the samples are, up to 15 s in a cluster, and that syncs drift.
"""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.scalers.bounds import DEFAULT_BOUNDS, Bounds
from kserve_ext.simulate.scalers.hpa_behavior import NO_HISTORY, Behavior, History, settle
from kserve_ext.simulate.scalers.hpa_replicas import TOLERANCE, Pods, for_average, for_utilization
from kserve_ext.simulate.scalers.query import Query, Seen, recent

SYNC_S = 15.0  # horizontal-pod-autoscaler-sync-period, and the window of a CPU sample
_CPU_INITIALIZATION_S = 300.0  # horizontal-pod-autoscaler-cpu-initialization-period


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuUtilization:
    """Target in percent of the CPU request."""

    target_percent: float
    initialization_s: float = _CPU_INITIALIZATION_S  # a replica's first sample after it became ready is not used


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaState:
    """What the controller remembers, and what its metrics need."""

    history: History = NO_HISTORY
    ready: int = 0  # after the last step
    born_s: tuple[float, ...] = ()  # when each starting replica was asked for, ascending
    seen: Seen = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaScaler:
    """One HorizontalPodAutoscaler with one metric."""

    metric: CpuUtilization | Query
    bounds: Bounds = DEFAULT_BOUNDS
    behavior: Behavior | None = None
    tolerance: float = TOLERANCE
    interval_s: float = SYNC_S

    def start(self, replicas: int) -> HpaState:
        return HpaState(ready=replicas)

    def step(self, state: HpaState, tick: Tick) -> tuple[HpaState, int]:
        current = tick.ready + tick.starting
        seen: Seen = ()
        if isinstance(self.metric, CpuUtilization):
            recommended = self._for_cpu(self.metric, state, tick)
        else:
            seen = recent(state.seen, tick.seconds, self.metric.window_s)
            total = self.metric.total(seen, tick.ready, tick.slots_per_replica)
            recommended = for_average(max(1, current), total, self.metric.target, self.tolerance)
        history, wanted = settle(self.behavior, state.history, tick.now_s, current, recommended, self.bounds)
        ready = min(tick.ready, wanted)  # those that start go first
        born_s = (*state.born_s[max(0, tick.ready - state.ready) :], *(tick.now_s,) * (wanted - current))
        return HpaState(history=history, ready=ready, born_s=born_s[: wanted - ready], seen=seen), wanted

    def _for_cpu(self, metric: CpuUtilization, state: HpaState, tick: Tick) -> int | None:
        """Replicas that became ready since the last sync count as unready while they are young."""
        joined = max(0, tick.ready - state.ready)
        fresh = sum(tick.now_s - born_s < metric.initialization_s for born_s in state.born_s[:joined])
        measured = tick.ready - fresh
        pods = Pods(current=tick.ready + tick.starting, measured=measured, unready=tick.starting + fresh)
        if not tick.seconds or not measured:
            return None
        busy = sum(second.busy for second in tick.seconds) / len(tick.seconds) / tick.slots_per_replica
        share = measured / (measured + fresh / 2)  # on average they were there for half of the time
        return for_utilization(pods, min(busy * share, measured), metric.target_percent, self.tolerance)
