"""A HorizontalPodAutoscaler, our own or KEDA's, from what one replica shows at its capacity; a reason for each number.

The target is tried on a rise of the load before it is written, as Knative's settings are: the highest that holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kserve_ext.domain import HorizontalScaling, Reason, Scaler
from kserve_ext.policy import explanations
from kserve_ext.policy.horizontal_reasons import rule_reasons, signal_reasons
from kserve_ext.policy.load import Values
from kserve_ext.policy.rehearsal import LATE_ALLOWED, Carried, rehearse, settled
from kserve_ext.policy.signals import Signal
from kserve_ext.simulate.scaler import Scaler as Simulated
from kserve_ext.simulate.scalers import (
    Behavior,
    Bounds,
    BusyShare,
    CpuUtilization,
    HpaScaler,
    KedaScaler,
    Policy,
    PolicyType,
    QueueTime,
    RequestRate,
    Rules,
)
from kserve_ext.simulate.scalers.hpa import SYNC_S
from kserve_ext.simulate.scalers.hpa_replicas import TOLERANCE

_SHARES = (1.0, 0.9, 0.8, 0.7)  # of the signal at capacity; 70 % is what people leave free by hand
_QUERY_S = 60.0  # four scrapes of 15 s: fewer make a rate jump
_KUBERNETES_DOWN_S = 300.0  # horizontal-pod-autoscaler-downscale-stabilization
_KUBERNETES_UP = 4  # scaleUpLimitMinimum
_LONGEST_S = 3600.0  # of a stabilization window, autoscaling/v2
_POLLING_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many replicas there may be, and how many the busy rate needs."""

    min_replicas: int
    max_replicas: int
    needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """The rates that a target is tried on, second by second, and what they are in words."""

    rates_rps: Values
    words: str


def horizontal(
    signal: Signal, room: Room, carried: Carried, rise: Rise, *, pinned: float | None, seed: int
) -> tuple[HorizontalScaling, tuple[Reason, ...]]:
    """The settings and the reason for each. A target that the user pinned is kept."""
    settings = _by_rule(signal, room, carried.start_s)
    if pinned is not None:
        settings, target = replace(settings, target=pinned), explanations.set_by_user("horizontal.target", pinned)
    else:
        settings, target = _tried(settings, signal, room, carried, rise, seed)
    return settings, (*signal_reasons(signal), target, *rule_reasons(settings, room.needed, carried.start_s))


def simulated(settings: HorizontalScaling, busy_share: float, bounds: Bounds) -> Simulated[Any]:
    """The autoscaler with these settings, as the simulator has it.

    `busy_share` is what a replica at its capacity has of all it can take: CPU and GPU are taken to rise with it.
    """
    behavior = _behavior(settings)
    share = busy_share * settings.target / settings.at_capacity
    if settings.scaler.on_cpu:
        least = Bounds(min_replicas=max(1, bounds.min_replicas), max_replicas=bounds.max_replicas)
        return HpaScaler(metric=CpuUtilization(target_percent=100 * share), bounds=least, behavior=behavior)
    window_s = round(settings.window_s)
    metric: RequestRate | BusyShare | QueueTime
    match settings.scaler:
        case Scaler.KEDA_RPS:
            metric = RequestRate(target_rps=settings.target, window_s=window_s)
        case Scaler.KEDA_QUEUE:
            metric = QueueTime(target_s=settings.target / 1e3, served_s=settings.served_s, window_s=window_s)
        case _:
            metric = BusyShare(target_share=share, window_s=window_s)
    return KedaScaler(
        metric=metric, bounds=bounds, behavior=behavior, polling_s=settings.polling_s or SYNC_S,
        cooldown_s=settings.cooldown_s,
    )  # fmt: skip


def _behavior(settings: HorizontalScaling) -> Behavior | None:
    """What the HorizontalPodAutoscaler is told; the one that Knative makes is told nothing."""
    if settings.scaler is Scaler.KNATIVE_HPA:
        return None
    add = Policy(type=PolicyType.PODS, value=settings.up_replicas, period_s=settings.up_period_s)
    return Behavior(
        up=Rules(stabilization_s=0.0, policies=(add,)),
        down=Rules(stabilization_s=settings.down_stabilization_s, policies=Behavior().down.policies),
    )


def _by_rule(signal: Signal, room: Room, start_s: float) -> HorizontalScaling:
    """All but the target."""
    scaler = signal.scaler
    of_knative = scaler is Scaler.KNATIVE_HPA
    kept_s = min(_LONGEST_S, float(math.ceil(_QUERY_S + start_s)))
    to_zero = scaler.by_keda and room.min_replicas == 0
    return HorizontalScaling(
        scaler=scaler, target=signal.at_capacity, at_capacity=signal.at_capacity, served_s=signal.served_s,
        window_s=_QUERY_S if scaler.by_keda else 0.0,
        up_replicas=_KUBERNETES_UP if of_knative else max(1, room.max_replicas - max(1, room.min_replicas)),
        up_period_s=SYNC_S, down_stabilization_s=_KUBERNETES_DOWN_S if of_knative else kept_s,
        fallback_replicas=max(1, min(room.needed, room.max_replicas)) if scaler.by_keda else 0,
        polling_s=_POLLING_S if to_zero else 0.0, cooldown_s=kept_s if to_zero else 0.0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """What came of one share of the signal."""

    share: float
    late: float
    billed: float


def _tried(
    settings: HorizontalScaling, signal: Signal, room: Room, carried: Carried, rise: Rise, seed: int
) -> tuple[HorizontalScaling, Reason]:
    """The highest share of the signal at capacity with which the rise is held, else the one with the fewest late."""
    counts = settled(rise.rates_rps, np.random.default_rng((seed, 4 << 20)))
    bounds = Bounds(min_replicas=room.min_replicas, max_replicas=room.max_replicas)
    found: list[_Trial] = []
    for share in _SHARES:
        scaler = simulated(replace(settings, target=_target(signal, share)), signal.busy_share, bounds)
        late, billed = rehearse(scaler, bounds, carried, rise.rates_rps, counts)
        found.append(_Trial(share=share, late=late, billed=billed))
        if late <= LATE_ALLOWED:
            break
    best = min(found, key=lambda trial: (trial.late, -trial.share))
    numbers = {"share": best.share, "late": best.late, "billed": best.billed}
    text = _told(signal, best, rise.words) + _others(found, best)
    target = Reason(field="horizontal.target", code=signal.code, text=text, numbers=numbers)
    return replace(settings, target=_target(signal, best.share)), target


def _told(signal: Signal, best: _Trial, words: str) -> str:
    text = (
        f"{best.share:.0%} of {signal.scaled_by:.4g} / {1 + TOLERANCE:g}, as a tenth above the target changes nothing"
    )
    if signal.scaled_by < signal.at_capacity:
        text += f", and what ends at 100 must be able to pass that: no more than {signal.scaled_by:g} is taken"
    return text + f"; in {words} {best.late:.2%} of the requests are late with {best.billed:.3g} replicas on average"


def _others(found: Sequence[_Trial], best: _Trial) -> str:
    tried = [f"{trial.late:.2%} with {trial.share:.0%}" for trial in found if trial is not best]
    if not tried:
        return ""
    helped = "" if best.late <= LATE_ALLOWED else ": none holds the SLO there, a forecast or more replicas have to help"
    return f" ({', '.join(tried)})" + helped


def _target(signal: Signal, share: float) -> float:
    """Rounded down to what the API keeps: thousandths, and whole percents of CPU."""
    exact = signal.scaled_by * share / (1 + TOLERANCE)
    return float(max(1, math.floor(exact))) if signal.scaler.on_cpu else max(0.001, math.floor(exact * 1000) / 1000)
