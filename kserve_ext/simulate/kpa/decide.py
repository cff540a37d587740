"""One decision of Knative's autoscaler: the averages and the ready pods in, the desired pods out.

Follows `Scale` of pkg/autoscaler/scaling in Knative Serving 0.48 (the same in 1.21 to 1.23), quirks included: the
demand is rounded up before it is compared with the panic threshold, pods that are starting do not count, the delay comes
after the limit on the rate. Bounds, initial scale and the way to zero are the reconciler's. Pure: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.simulate.kpa.config import Config
from kserve_ext.simulate.kpa.delay import TICK_S, Slots, remember, slot_count
from kserve_ext.simulate.kpa.gofloat import ceil, clamp, floor, int32, nanoseconds, whole_second


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the autoscaler remembers from one decision to the next."""

    panic_since_s: float | None = None  # the last time demand was over the threshold
    max_panic_pods: int = 0
    delay_slots: int = 0  # fixed at the start: a later change of the delay has no effect
    delayed: Slots = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the autoscaler tells the reconciler."""

    desired: int  # pods; -1: nothing decided yet
    excess_burst_capacity: int  # below zero: the activator belongs in the path


def start(config: Config, ready: int, now_s: float) -> State:
    """State of a new autoscaler. With two or more ready pods it starts in panic, so a restart does not scale down."""
    return State(
        panic_since_s=now_s if ready > 1 else None,
        max_panic_pods=ready,
        delay_slots=slot_count(config.scale_down_delay_s),
    )


def decide(
    config: Config, state: State, now_s: float, ready: int, stable: float, panic: float
) -> tuple[State, Decision]:
    """The next state and the decision. Call it every 2 s, and not at all when there is no data."""
    pods = max(1, ready)
    wanted_stable = ceil(stable / config.target)
    wanted_panic = ceil(panic / config.target)
    over = wanted_panic / pods >= config.panic_threshold
    since_s, most = _panic(config, state, now_s, over)

    desired = _limited(config, pods, wanted_stable)
    if since_s is not None:  # never down in panic
        most = desired = max(most, desired, _limited(config, pods, wanted_panic))
    delayed = state.delayed
    if config.reachable and state.delay_slots:
        delayed = remember(delayed, state.delay_slots, whole_second(now_s) // TICK_S, desired)
        desired = delayed[0][1]

    if since_s != state.panic_since_s or most != state.max_panic_pods or delayed is not state.delayed:
        state = State(panic_since_s=since_s, max_panic_pods=most, delay_slots=state.delay_slots, delayed=delayed)
    return state, Decision(desired=desired, excess_burst_capacity=_excess_burst_capacity(config, ready, panic))


def _panic(config: Config, state: State, now_s: float, over: bool) -> tuple[float | None, int]:
    """Since when there is panic, and the most pods wanted in it. It ends a stable window after the last excess."""
    if over:
        return now_s, state.max_panic_pods
    since_s = state.panic_since_s
    if since_s is None or nanoseconds(since_s) + nanoseconds(config.stable_window_s) >= nanoseconds(now_s):
        return since_s, state.max_panic_pods
    return None, 0


def _limited(config: Config, pods: int, wanted: float) -> int:
    """Demand within the rate limits, both against ready pods, then raised to the activation scale unless zero."""
    up = ceil(config.max_scale_up_rate * pods)
    down = floor(pods / config.max_scale_down_rate) if config.reachable else 0
    desired = int32(clamp(wanted, down, up))
    if config.activation_scale > 1 and wanted > 0:
        return max(desired, config.activation_scale)
    return desired


def _excess_burst_capacity(config: Config, ready: int, panic: float) -> int:
    """Room in the ready pods beyond the load and the burst asked for."""
    burst = config.target_burst_capacity
    if burst > 0:
        return int32(floor(float(ready) * config.total - burst - panic))
    return 0 if burst == 0 else -1


def first_decision(config: Config, initial_scale: int) -> Decision:
    """What stands before any decision: desired -1, and the burst capacity that the initial scale would have."""
    burst = config.target_burst_capacity
    excess = int32(burst if burst in (-1, 0) else initial_scale * config.total - burst)
    return Decision(desired=-1, excess_burst_capacity=excess)


def is_news(old: Decision, new: Decision) -> bool:
    """Whether the reconciler is told: another scale, or burst capacity of another sign (0 counts as positive)."""
    return old.desired != new.desired or (old.excess_burst_capacity < 0) != (new.excess_burst_capacity < 0)


def is_poked(last: Decision, concurrency: float) -> bool:
    """Whether a report from an activator triggers a decision at once. After -1 it does not: the tick decides."""
    return last.desired == 0 and concurrency != 0
