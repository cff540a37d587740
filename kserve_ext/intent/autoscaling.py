"""Knative's autoscaling annotations that a person has set by hand, checked as Knative's webhook would.

Nodes in, text by annotation name out, ready for `float` or `parse_duration_s`. Names that are not checked here pass.
Wrong values are noted in `problems`, and reading goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from kserve_ext.errors import Problem
from kserve_ext.intent.document import Node
from kserve_ext.units import parse_duration_s

PREFIX = "autoscaling.knative.dev/"
SCALE_METRICS = ("cpu", "memory", "concurrency", "rps")
NOT_TEXT = "annotations are text, in quotes where YAML reads something else"

_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_ZERO_DURATION = re.compile(r"0+(us|µs|ms|s|m|h)")
_DROPPED = {"min-scale": "spec.predictor.minReplicas", "max-scale": "spec.predictor.maxReplicas"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    accepts: Callable[[str], bool]
    allowed: str


def read_autoscaling(service: Node, problems: list[Problem]) -> dict[str, str]:
    """The annotations with the prefix cut and in dashed spelling. The predictor's win over the service's, as in KServe."""
    pinned: dict[str, str] = {}
    for written in (service.get("metadata", "annotations"), service.get("spec", "predictor", "annotations")):
        for key, node in written.items():
            if key.startswith(PREFIX):
                name = _dashed(key.removeprefix(PREFIX))
                problem = _problem(name, node)
                if problem is None:
                    # A delay of no time is a plain 0: parse_duration_s takes no zero.
                    pinned[name] = "0" if _ZERO_DURATION.fullmatch(str(node.value)) else str(node.value)
                else:
                    problems.append(problem)
    return pinned


def _problem(name: str, node: Node) -> Problem | None:
    if name in _DROPPED:
        return node.problem("KServe drops this annotation", allowed=_DROPPED[name])
    if not isinstance(node.value, str):
        return node.problem(NOT_TEXT, found=node.found())
    rule = _RULES.get(name)
    if rule is None or rule.accepts(node.value):
        return None
    return node.problem("not what Knative takes", allowed=rule.allowed)


def _number(low: float, high: float = math.inf, *, also: float | None = None, whole: bool = False) -> _Rule:
    def accepts(text: str) -> bool:
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        return (low <= value <= high or value == also) and not (whole and value % 1)

    allowed = f"a {'whole number' if whole else 'number'} from {low:g}" + (
        f" to {high:g}" if high < math.inf else " up"
    )
    return _Rule(accepts=accepts, allowed=allowed + (f", or {also:g}" if also is not None else ""))


def _seconds(low_s: int, high_s: int, allowed: str) -> _Rule:
    def accepts(text: str) -> bool:
        try:
            value_s = 0.0 if _ZERO_DURATION.fullmatch(text) else parse_duration_s(text)
        except ValueError:
            return False
        return low_s <= value_s <= high_s and value_s % 1 == 0

    return _Rule(accepts=accepts, allowed=allowed)


_RULES = {
    "metric": _Rule(accepts=SCALE_METRICS.__contains__, allowed=", ".join(SCALE_METRICS)),
    "target": _number(0.01),
    "target-utilization-percentage": _number(1, 100),
    "target-burst-capacity": _number(0, also=-1),
    "panic-window-percentage": _number(1, 100),
    "panic-threshold-percentage": _number(110, 1000),
    "initial-scale": _number(0, whole=True),
    "activation-scale": _number(2, whole=True),
    "window": _seconds(6, 3600, "whole seconds from 6s to 1h"),
    "scale-down-delay": _seconds(0, 3600, "whole seconds from 0s to 1h"),
    "scale-to-zero-pod-retention-period": _seconds(0, 3600, "whole seconds from 0s to 1h"),
}


def _dashed(name: str) -> str:
    """Knative's own spelling of the old one: initialScale -> initial-scale."""
    return re.sub(r"[A-Z]", lambda letter: "-" + letter[0].lower(), name)
