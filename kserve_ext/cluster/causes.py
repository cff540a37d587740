"""Why an InferenceService is not ready: one sentence and a remedy for what the cluster says. Pure.

The rules are in `cause_rules`, in the order of what is nearest to the cause: a pod that finds no node also makes
a Revision, a Knative Service and an InferenceService say that they are not ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kserve_ext.cluster.cause_rules import RULES, Rule
from kserve_ext.cluster.signals import Signal, signals
from kserve_ext.cluster.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason. `code` is stable; `said` is what the cluster wrote itself."""

    code: str
    sentence: str
    remedy: str
    said: str = ""
    final: bool = False  # stays so until someone changes something

    def __str__(self) -> str:
        return self.sentence


# What says no more than "not ready"; a rule of a pod or event says why.
_HOLLOW = ("RevisionFailed", "PredictorConfigurationReady not ready", "PredictorNotReady", "NotReady")


def causes(found: Snapshot) -> tuple[Cause, ...]:
    """Why it is not ready, what is nearest to the cause first; empty when nothing speaks against it."""
    ranked: dict[str, tuple[int, Cause]] = {}
    rest: list[Cause] = []
    for signal in signals(found):
        rank, cause = _translate(signal, found.name)
        if rank < len(RULES):
            ranked.setdefault(cause.code, (rank, cause))
        elif signal.reason not in _HOLLOW:
            rest.append(cause)
    best = [cause for _, cause in sorted(ranked.values(), key=lambda pair: pair[0])]
    return tuple(best or rest[:1])


def _translate(signal: Signal, name: str) -> tuple[int, Cause]:
    for rank, rule in enumerate(RULES):
        match = _matches(rule, signal)
        if match:
            words = ["", *((group or "").strip() for group in match.groups())]
            sentence = rule.sentence.format(*words, where=_where(signal), reason=signal.reason).rstrip(": ")
            return rank, Cause(
                code=rule.code,
                sentence=_short(sentence),
                remedy=rule.remedy.replace("NAME", name),
                said=signal.message,
                final=rule.final,
            )
    said = f"{signal.reason}: {signal.message}".strip(": ")
    return len(RULES), Cause(
        code="other",
        sentence=_short(f"{_where(signal)}: {said}"),
        remedy=f"kubectl describe isvc {name}",
        said=signal.message,
    )


def _matches(rule: Rule, signal: Signal) -> re.Match[str] | None:
    if "@" in rule.reason:  # the place counts too
        reason, _, place = rule.reason.partition("@")
        if not re.fullmatch(reason, signal.reason) or not re.search(place, signal.where + " " + signal.message):
            return None
    elif not any(re.fullmatch(each, signal.reason) for each in _alternatives(rule.reason)):
        return None
    return re.search(rule.message, signal.message)


def _alternatives(pattern: str) -> Iterable[str]:
    """The reasons of a rule; one that ends in | is a rule for every reason, told by its message."""
    return (".*",) if pattern.endswith("|") else (pattern,)


def _where(signal: Signal) -> str:
    return f"pod {signal.where}" if signal.by == "pod" else signal.where[:1].lower() + signal.where[1:]


def _short(text: str, width: int = 400) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
