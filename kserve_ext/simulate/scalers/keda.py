"""KEDA on a query: 0 to 1 and back by its own poll, everything above 1 by the HPA it makes.

Follows pkg/scaling/executor of KEDA. Polls drift by milliseconds, so the poll at exactly the end of the cooldown is past
it. Left out: fallback, idle replicas, pauses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.scalers.bounds import Bounds
from kserve_ext.simulate.scalers.hpa import SYNC_S
from kserve_ext.simulate.scalers.hpa_behavior import NO_HISTORY, Behavior, History, settle
from kserve_ext.simulate.scalers.hpa_replicas import TOLERANCE, for_average
from kserve_ext.simulate.scalers.query import Query, Seen, recent

_BOUNDS = Bounds(min_replicas=0, max_replicas=100)  # KEDA's defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class KedaState:
    """What KEDA and its HPA remember."""

    history: History = NO_HISTORY
    seen: Seen = ()
    active_s: float | None = None  # the last poll that found it active


@dataclass(frozen=True, slots=True, kw_only=True)
class KedaScaler:
    """One ScaledObject with one trigger. Active above `activation`, strictly."""

    metric: Query
    bounds: Bounds = _BOUNDS
    activation: float = 0.0
    polling_s: float = 30.0
    cooldown_s: float = 300.0
    behavior: Behavior | None = None
    tolerance: float = TOLERANCE

    @property
    def interval_s(self) -> float:
        return float(math.gcd(int(self.polling_s), int(SYNC_S)))

    def start(self, replicas: int) -> KedaState:
        del replicas
        return KedaState()

    def step(self, state: KedaState, tick: Tick) -> tuple[KedaState, int]:
        seen = recent(state.seen, tick.seconds, self.metric.window_s)
        total = self.metric.total(seen, tick.ready, tick.slots_per_replica)
        history, active_s, wanted = state.history, state.active_s, tick.ready + tick.starting
        if tick.now_s % SYNC_S == 0.0:
            history, wanted = self._sync(history, tick.now_s, wanted, total)
        if tick.now_s % self.polling_s == 0.0:
            active_s, wanted = self._poll(active_s, tick.now_s, wanted, total)
        return KedaState(history=history, seen=seen, active_s=active_s), wanted

    def _sync(self, history: History, now_s: float, current: int, total: float) -> tuple[History, int]:
        """The HPA, which has at least one replica."""
        recommended = for_average(max(1, current), total, self.metric.target, self.tolerance)
        bounds = Bounds(min_replicas=max(1, self.bounds.min_replicas), max_replicas=self.bounds.max_replicas)
        return settle(self.behavior, history, now_s, current, recommended, bounds)

    def _poll(self, active_s: float | None, now_s: float, current: int, total: float) -> tuple[float | None, int]:
        least = self.bounds.min_replicas
        if total > self.activation:
            return now_s, current or max(1, least)
        cooled = active_s is None or now_s - active_s >= self.cooldown_s
        return active_s, 0 if least == 0 and cooled else max(current, least)
