"""How fast the HorizontalPodAutoscaler follows its recommendations: stabilization windows and scaling policies.

Follows horizontal.go of Kubernetes. Without `behavior` the older rules hold: the highest recommendation of 300 s, at
most max(2 x current, 4). Recommendation and history in, replicas and history out. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from kserve_ext.simulate.scalers.bounds import Bounds

_DOWN_STABILIZATION_S = 300.0  # horizontal-pod-autoscaler-downscale-stabilization
_UP_FACTOR, _UP_LEAST = 2, 4  # scaleUpLimitFactor, scaleUpLimitMinimum

_Stamps = tuple[tuple[float, int], ...]  # (time, number)


class PolicyType(StrEnum):
    """What a policy's value counts."""

    PODS = "Pods"
    PERCENT = "Percent"


class Select(StrEnum):
    """Which of several policies holds."""

    MAX = "Max"  # the one that changes most
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """At most `value` pods or percent of change per `period_s`."""

    type: PolicyType
    value: int
    period_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One direction of `behavior`."""

    stabilization_s: float
    policies: tuple[Policy, ...]
    select: Select = Select.MAX


_UP = Rules(
    stabilization_s=0.0,
    policies=(Policy(type=PolicyType.PODS, value=4), Policy(type=PolicyType.PERCENT, value=100)),
)
_DOWN = Rules(stabilization_s=_DOWN_STABILIZATION_S, policies=(Policy(type=PolicyType.PERCENT, value=100),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """`behavior` of autoscaling/v2; what is left out has Kubernetes' defaults."""

    up: Rules = _UP
    down: Rules = _DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was recommended, and what was changed."""

    recommendations: _Stamps = ()
    added: _Stamps = ()
    removed: _Stamps = ()


NO_HISTORY = History()


def settle(
    behavior: Behavior | None, history: History, now_s: float, current: int, recommended: int | None, bounds: Bounds
) -> tuple[History, int]:
    """The replicas asked for, and the history with this step in it. None recommended: no metric, no change."""
    if not history.recommendations:  # the scale that is found first counts as one, whatever comes of it
        history = replace(history, recommendations=((now_s, current),))
    if current == 0:  # disabled until somebody else scales it up
        return history, 0
    if (bounded := bounds.within(current)) != current:
        return _changed(behavior, history, now_s, current, bounded), bounded
    if recommended is None:
        return history, current
    if behavior is None:
        wanted = _by_default_rules(history, now_s, current, recommended)
        kept_s = _DOWN_STABILIZATION_S
    else:
        wanted = _by_behavior(behavior, history, now_s, current, recommended)
        kept_s = max(behavior.up.stabilization_s, behavior.down.stabilization_s)
    wanted = bounds.within(wanted)
    recommendations = (*_since(history.recommendations, now_s - kept_s), (now_s, recommended))
    return _changed(behavior, replace(history, recommendations=recommendations), now_s, current, wanted), wanted


def _by_default_rules(history: History, now_s: float, current: int, recommended: int) -> int:
    recent = _since(history.recommendations, now_s - _DOWN_STABILIZATION_S)
    highest = max((recommended, *(number for _, number in recent)))
    return min(highest, max(_UP_FACTOR * current, _UP_LEAST))


def _by_behavior(behavior: Behavior, history: History, now_s: float, current: int, recommended: int) -> int:
    low = min((recommended, *_after(history.recommendations, now_s - behavior.up.stabilization_s)))
    high = max((recommended, *_after(history.recommendations, now_s - behavior.down.stabilization_s)))
    wanted = min(max(current, low), high)
    if wanted > current:
        return min(wanted, _limit(behavior.up, history, now_s, current, up=True))
    if wanted < current:
        return max(wanted, _limit(behavior.down, history, now_s, current, up=False))
    return current


def _limit(rules: Rules, history: History, now_s: float, current: int, *, up: bool) -> int:
    """How far the policies let the scale go."""
    if rules.select is Select.DISABLED:
        return current
    proposed = [
        _proposed(policy, _at_start(history, now_s - policy.period_s, current), up) for policy in rules.policies
    ]
    if up:
        return max(current, max(proposed) if rules.select is Select.MAX else min(proposed))
    return min(current, min(proposed) if rules.select is Select.MAX else max(proposed))


def _proposed(policy: Policy, base: int, up: bool) -> int:
    change = policy.value if up else -policy.value
    if policy.type is PolicyType.PODS:
        return base + change
    exact = base * (1 + change / 100)
    return math.ceil(exact) if up else int(exact)


def _at_start(history: History, since_s: float, current: int) -> int:
    """Replicas when the period began."""
    return current - sum(_after(history.added, since_s)) + sum(_after(history.removed, since_s))


def _changed(behavior: Behavior | None, history: History, now_s: float, current: int, wanted: int) -> History:
    """With the change in it; only `behavior` asks for changes, and only for those of its longest period."""
    if behavior is None or wanted == current:
        return history
    periods = [policy.period_s for rules in (behavior.up, behavior.down) for policy in rules.policies]
    since_s = now_s - max(periods, default=0.0)
    added, removed = _since(history.added, since_s), _since(history.removed, since_s)
    if wanted > current:
        added = (*added, (now_s, wanted - current))
    else:
        removed = (*removed, (now_s, current - wanted))
    return replace(history, added=added, removed=removed)


def _since(stamps: _Stamps, since_s: float) -> _Stamps:
    return tuple(stamp for stamp in stamps if stamp[0] >= since_s)


def _after(stamps: _Stamps, since_s: float) -> Iterable[int]:
    return (number for at_s, number in stamps if at_s > since_s)
