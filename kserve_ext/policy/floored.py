"""A reactive scaler and the predictive floor together: the larger of the two, as min-scale and KPA are on a cluster.

Each keeps its own state and sees the same seconds. The floor is the very function that the operator calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kserve_ext.policy.floor import FloorSettings, Observation, ScalerState, learn, start, step
from kserve_ext.simulate.scaler import Scaler, Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class FlooredState:
    """Both states, and what was seen since the floor was last asked."""

    reactive: Any
    floor: ScalerState
    replicas: int  # the floor in force
    arrivals: tuple[int, ...] = ()
    late: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlooredScaler:
    """`history` are counts of `history_step_s` each from before second 0, oldest first."""

    reactive: Scaler[Any]
    floor: FloorSettings
    late_above: float  # requests in the system per ready replica from which on a new one is late
    history: tuple[int, ...] = ()
    history_step_s: int = 60
    floor_interval_s: int = 10
    learned: ScalerState | None = None  # what `learn` gave before, where it is at hand

    @property
    def interval_s(self) -> float:
        return self.reactive.interval_s

    def start(self, replicas: int) -> FlooredState:
        state, decision = step(
            self.learn(), Observation(start_s=0.0, now_s=0.0, arrivals=(), ready=replicas), self.floor
        )
        return FlooredState(reactive=self.reactive.start(replicas), floor=state, replicas=decision.replicas)

    def learn(self) -> ScalerState:
        """The floor's state after the history; it does not depend on the attainment asked for."""
        if self.learned is not None:
            return self.learned
        begin_s = -len(self.history) * self.history_step_s
        return learn(start(self.floor), begin_s, self.history, self.history_step_s, self.floor)

    def step(self, state: FlooredState, tick: Tick) -> tuple[FlooredState, int]:
        reactive, wanted = self.reactive.step(state.reactive, tick)
        arrivals = (*state.arrivals, *(second.arrivals for second in tick.seconds))
        room = self.late_above * tick.ready
        late = state.late + sum(second.arrivals for second in tick.seconds if second.concurrency > room)
        if len(arrivals) < self.floor_interval_s:
            held = FlooredState(
                reactive=reactive, floor=state.floor, replicas=state.replicas, arrivals=arrivals, late=late
            )
            return held, max(wanted, state.replicas)
        last = tick.seconds[-1]
        seen = Observation(
            start_s=tick.now_s - len(arrivals), now_s=tick.now_s, arrivals=arrivals, ready=tick.ready,
            starting=tick.starting, late=late, waiting=max(0.0, last.concurrency - last.busy),
        )  # fmt: skip
        floor, decision = step(state.floor, seen, self.floor)
        after = FlooredState(reactive=reactive, floor=floor, replicas=decision.replicas)
        return after, max(wanted, decision.replicas)
