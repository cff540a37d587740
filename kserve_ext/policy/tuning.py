"""Metric, utilization and window of the autoscaler: chosen by trying them on a rise of the load, not by rule.

The settings by rule and what one replica does go in; the settings with which the rise is held at the lowest price come
out, with what the others would have done. What the user pinned is not varied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kserve_ext.domain import Intent, Reason, Scaling
from kserve_ext.policy.load import Load, Values, rise, steepest
from kserve_ext.policy.rehearsal import Carried, Rehearsal, rehearse_all
from kserve_ext.policy.request import Settings
from kserve_ext.policy.scaling import PLANNED_METRICS
from kserve_ext.units import format_duration

_UTILIZATIONS = (100.0, 90.0, 80.0, 70.0)  # of the target; 70 is Knative's default
_SHORT_WINDOW_S = 30.0  # half of Knative's default: reacts sooner, and flaps where the signal is rough


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings by rule with their reasons, and the soft target that each metric would have, with its reason."""

    scaling: Scaling
    reasons: tuple[Reason, ...]
    targets: Mapping[str, tuple[float, Reason]]


def has_choice(scaling: Scaling, intent: Intent, capacity_rps: float) -> bool:
    """Whether replicas have to be added on the way to the busy rate, by a metric that is known here."""
    fewest = max(1, scaling.min_replicas)
    scales = fewest < scaling.max_replicas and fewest * capacity_rps < intent.rate.high_rps
    return scales and scaling.metric in PLANNED_METRICS


def tune(
    rules: Rules, carried: Carried, intent: Intent, concurrency_limit: int, settings: Settings, load: Load | None
) -> tuple[Scaling, tuple[Reason, ...]]:
    """The settings of the best rehearsal, and the reasons with what it showed."""
    scaling, pinned = rules.scaling, intent.pins.autoscaling
    rates_rps, words = piece(intent, settings, load)
    fixed_metric = "metric" in pinned or intent.pins.scale_metric is not None
    fixed_target = "target" in pinned or intent.pins.scale_target is not None
    found = rehearse_all(
        [
            replace(scaling, metric=metric, target=target)
            for metric, (target, _) in rules.targets.items()
            if metric == scaling.metric or not (fixed_metric or fixed_target)
        ],
        concurrency_limit, carried, rates_rps, seed=settings.seed,
        utilizations=(scaling.target_utilization_percent,) if "target-utilization-percentage" in pinned else _UTILIZATIONS,
        windows_s=(scaling.window_s,) if "window" in pinned else _windows(scaling.window_s),
    )  # fmt: skip
    best = found[0]
    return best.scaling, tuple(_explained(reason, rules, carried, found, words) for reason in rules.reasons)


def _windows(by_rule_s: float) -> tuple[float, ...]:
    return (by_rule_s, _SHORT_WINDOW_S) if by_rule_s > _SHORT_WINDOW_S else (by_rule_s,)


def piece(intent: Intent, settings: Settings, load: Load | None) -> tuple[Values, str]:
    """The rates that an autoscaler is tried on, and what they are in words."""
    if load is not None:
        return steepest(load, settings.rise_s), f"the steepest {format_duration(settings.rise_s)} of {load.source}"
    span = f"a rise from {intent.rate.low_rps:.4g} to {intent.rate.high_rps:.4g} rps"
    return rise(intent.rate, settings.rise_s), f"{span} within {format_duration(settings.rise_s)}"


def _explained(reason: Reason, rules: Rules, carried: Carried, found: Sequence[Rehearsal], words: str) -> Reason:
    """The reason of a field that was varied, rewritten; any other as it is."""
    best, by_rule = found[0], rules.scaling
    told = f"in {words} {_told(best)}"
    match reason.field:
        case "scaling.metric" | "scaling.target" if (
            best.scaling.metric == by_rule.metric or reason.code == "set-by-user"
        ):
            return reason
        case "scaling.target":
            return rules.targets[best.scaling.metric][1]
        case "scaling.metric":
            other = _other(found, lambda each: each.metric == by_rule.metric)
            text = (
                f"{told}{other}: a replica at its capacity has {carried.in_flight(carried.capacity_rps):.3g} requests in "
                f"flight, two that share its load {2 * carried.in_flight(carried.capacity_rps / 2):.3g}, so by that number "
                f"the second is sent away as soon as it helps"
            )
            return _rehearsed(reason, f"metric-{best.scaling.metric}", text, best)
        case "scaling.window_s" if best.scaling.window_s != by_rule.window_s:
            other = _other(found, lambda each: each.window_s == by_rule.window_s and each.metric == best.scaling.metric)
            return _rehearsed(reason, "window-rehearsed", f"{told}{other}", best)
        case "scaling.target_utilization_percent" if reason.code != "set-by-user":
            if not best.holds:
                text = f"{told}: no setting holds the SLO there, this one comes nearest; a predictive floor has to help"
                return _rehearsed(reason, "utilization-nearest", text, best)
            other = _other(
                found, lambda each: each.target_utilization_percent > best.scaling.target_utilization_percent
            )
            return _rehearsed(reason, "utilization-rehearsed", f"{told}{other}; no more room than that is needed", best)
    return reason


def _rehearsed(reason: Reason, code: str, text: str, best: Rehearsal) -> Reason:
    name = reason.field.removeprefix("scaling.")
    value = getattr(best.scaling, name)
    numbers = {"late": best.late, "billed": best.billed} | ({} if isinstance(value, str) else {name: value})
    return replace(reason, code=code, text=text, numbers=numbers)


def _told(each: Rehearsal) -> str:
    return f"{each.late:.2%} of the requests are late with {each.billed:.3g} replicas on average"


def _other(found: Sequence[Rehearsal], is_other: Callable[[Scaling], bool]) -> str:
    """The best of the others, in words."""
    other = next((each for each in found if is_other(each.scaling)), None)
    if other is None:
        return ""
    scaling = other.scaling
    setting = f"{scaling.metric}, {scaling.target_utilization_percent:.0f} %, {format_duration(scaling.window_s)}"
    return f" (with {setting}: {other.late:.2%}, {other.billed:.3g})"
