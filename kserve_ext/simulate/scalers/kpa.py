"""Knative's pod autoscaler as a scaler: what it counts each second, its decision every 2 s, the reconciler's bounds.

Decision, averages and the two steps to zero are Knative's own, to the bit (see `simulate.kpa`). Two things differ: it
is asked every 2 s, so the immediate decision for the first request at zero replicas comes up to 2 s late, and every pod
is counted, where Knative scrapes a sample of more than three. All traffic counts once, wherever it waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kserve_ext.domain import Scaling
from kserve_ext.simulate import kpa
from kserve_ext.simulate.kpa.delay import TICK_S
from kserve_ext.simulate.kpa.reconcile import Activity, Limits, Status, reconcile
from kserve_ext.simulate.kpa.target import ClusterDefaults, panic_window_s, resolve_target
from kserve_ext.simulate.scaler import Second, Tick
from kserve_ext.simulate.scalers.bounds import DEFAULT_BOUNDS, Bounds
from kserve_ext.simulate.scalers.trail import Trail


@dataclass(frozen=True, slots=True, kw_only=True)
class KpaState:
    """What autoscaler and reconciler remember."""

    decider: kpa.State
    decision: kpa.Decision  # the last one; it stands while there is no data
    status: Status
    stable: Trail
    panic: Trail
    quiet: bool  # nothing in flight in the last second: the activator has forgotten the revision


@dataclass(frozen=True, slots=True, kw_only=True)
class KpaScaler:
    """One revision under Knative's autoscaler. `config` and the rest as annotations and config maps set them."""

    config: kpa.Config
    bounds: Bounds = DEFAULT_BOUNDS
    initial_scale: int = 1
    retention_s: float = 0.0  # scale-to-zero-pod-retention-period
    grace_s: float = 30.0  # scale-to-zero-grace-period
    _limits: Limits = field(init=False, repr=False)

    def __post_init__(self) -> None:
        limits = Limits(
            min_scale=self.bounds.min_replicas, max_scale=self.bounds.max_replicas or 0,
            initial_scale=self.initial_scale, reachable=self.config.reachable,
            stable_window_s=self.config.stable_window_s, retention_s=self.retention_s, grace_s=self.grace_s,
            total=self.config.total, target_burst_capacity=self.config.target_burst_capacity,
        )  # fmt: skip
        object.__setattr__(self, "_limits", limits)

    @property
    def interval_s(self) -> float:
        return float(TICK_S)

    def start(self, replicas: int) -> KpaState:
        """A new autoscaler over a running revision; below its initial scale it is a new revision, at 0 an idle one."""
        active = replicas > 0
        return KpaState(
            decider=kpa.start(self.config, replicas, 0.0),
            decision=kpa.first_decision(self.config, self.initial_scale),
            status=Status(
                activity=Activity.ACTIVE if active else Activity.INACTIVE,
                initialized=not active or replicas >= self.initial_scale, replicas=replicas,
            ),
            stable=Trail(int(self.config.stable_window_s)),
            panic=Trail(int(self.config.panic_window_s)),
            quiet=not active,
        )  # fmt: skip

    def step(self, state: KpaState, tick: Tick) -> tuple[KpaState, int]:
        stable, panic, quiet = self._record(state, tick)
        decider, decision, now = state.decider, state.decision, int(tick.now_s)
        if not (self.config.scraped and stable.is_empty(now)):
            averages = self._average(stable, now), self._average(panic, now)
            decider, decision = kpa.decide(self.config, decider, tick.now_s, tick.ready, *averages)
        status, _ = reconcile(self._limits, state.status, tick.now_s, decision, tick.ready)
        after = KpaState(
            decider=decider, decision=decision, status=status, stable=stable, panic=panic, quiet=quiet
        )  # fmt: skip
        return after, status.replicas

    def _record(self, state: KpaState, tick: Tick) -> tuple[Trail, Trail, bool]:
        """The trails with the new seconds, each known at its end.

        Ready pods that are scraped report zeros. The activator reports a revision until it has been idle for a second,
        then forgets it: without scrapes, gaps shorten the window instead of lowering the average.
        """
        stable, panic, quiet = state.stable, state.panic, state.quiet
        scraped = self.config.scraped and tick.ready > 0
        proxied = state.status.proxy or tick.ready == 0
        for second in tick.seconds:
            if scraped or second.concurrency > 0.0 or not quiet:
                value = self._value(second, first=quiet and proxied)
                stable, panic = stable.record(second.t_s + 1, value), panic.record(second.t_s + 1, value)
            quiet = second.concurrency == 0.0
        return stable, panic, quiet

    def _value(self, second: Second, *, first: bool) -> float:
        """What is recorded of a second. The activator announces the first request of an unknown revision as a whole one."""
        if self.config.metric is kpa.Metric.RPS:
            return float(second.arrivals)
        return max(1.0, second.concurrency) if first and second.concurrency > 0.0 else second.concurrency

    def _average(self, trail: Trail, now: int) -> float:
        return trail.mean(now) if self.config.aggregation is kpa.Aggregation.LINEAR else trail.weighted_mean(now)


def kpa_default(bounds: Bounds = DEFAULT_BOUNDS) -> KpaScaler:
    """Knative as installed, containerConcurrency 0: a target of 70 requests per pod.

    Made for pods that serve many requests at once. One that serves one at a time then has 70 waiting on average: at 0.16 s
    each that is 11 s, so this policy misses any SLO of a few service times. It is what a user gets who sets nothing.
    """
    return KpaScaler(config=kpa.Config(scraped=True), bounds=bounds)


def kpa_cc1(bounds: Bounds = DEFAULT_BOUNDS) -> KpaScaler:
    """containerConcurrency 1, the rest as installed: a target of 0.7 requests per pod, waiting ones included."""
    return KpaScaler(config=kpa.Config(target=0.7, total=1.0, scraped=True), bounds=bounds)


def from_plan(scaling: Scaling, concurrency_limit: int) -> KpaScaler:
    """Knative's autoscaler with the annotations a plan sets; the rest are Knative's defaults."""
    metric = kpa.Metric(scaling.metric)
    resolved = resolve_target(
        metric, concurrency_limit, annotation=scaling.target,
        utilization_percent=scaling.target_utilization_percent, defaults=ClusterDefaults(),
    )  # fmt: skip
    config = kpa.Config(
        target=resolved.target, total=resolved.total, target_burst_capacity=scaling.target_burst_capacity,
        panic_threshold=scaling.panic_threshold_percent / 100, metric=metric, stable_window_s=scaling.window_s,
        panic_window_s=panic_window_s(scaling.window_s, scaling.panic_window_percent),
        scale_down_delay_s=scaling.scale_down_delay_s, scraped=scaling.target_burst_capacity != -1,
        activation_scale=scaling.activation_scale,
    )  # fmt: skip
    bounds = Bounds(min_replicas=scaling.min_replicas, max_replicas=scaling.max_replicas or None)
    return KpaScaler(
        config=config, bounds=bounds, initial_scale=scaling.initial_scale, retention_s=scaling.scale_to_zero_retention_s
    )
