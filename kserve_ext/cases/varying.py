"""One knob turned through several values: what a policy attains and costs at each, and for want of what it fails.

A question, a policy and a knob in, one outcome for each value out; a value with which nothing can be promised is kept
as such, with the reason. Nothing is printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kserve_ext.cases.build import Case, Question, build_case
from kserve_ext.cases.comparing import Progress, context_of, run, scaler
from kserve_ext.domain import Profile
from kserve_ext.errors import InfeasibleError, InputError, Problem
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.simulate.outcome import Minute, Outcome
from kserve_ext.simulate.scaler import Scaler
from kserve_ext.simulate.scalers import KpaScaler
from kserve_ext.simulate.scalers.bounds import Bounds
from kserve_ext.traffic import Trace
from kserve_ext.units import parse_duration_s

CAPPED = "at the most replicas"
STARTING = "while replicas were starting"
TOO_FEW = "with too few replicas asked for"
_STARTING = 0.05  # replicas paid for and not ready, on the mean of a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """What is turned, and its values as they were written."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One value of the knob."""

    value: str
    number: float  # of the value, for an axis
    attainment_asked: float
    outcome: Outcome | None  # None: infeasible
    why: str = ""  # it is infeasible
    late: Mapping[str, int]  # requests that were late, by what was wanting
    first_missed: Minute | None = None  # the first minute below what is asked for

    @property
    def holds(self) -> bool:
        return self.outcome is not None and self.outcome.attainment >= self.attainment_asked

    @property
    def cause(self) -> str:
        """What most of the late requests were late for."""
        if self.outcome is None:
            return self.why
        return max(self.late, key=lambda name: self.late[name]) if any(self.late.values()) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """All values of one knob."""

    question: Question
    policy: str
    knob: Knob
    tries: tuple[Try, ...]

    @property
    def lost(self) -> Try | None:
        """The first value, in the order given, with which the SLO does not hold."""
        return next((each for each in self.tries if not each.holds), None)


def parse_knob(text: str) -> Knob:
    """`rate=0.5,1,2`. Raises InputError naming the knobs there are, or the values that cannot be read."""
    name, equals, rest = text.partition("=")
    name, values = name.strip(), tuple(value.strip() for value in rest.split(",") if value.strip())
    if name not in _KNOBS or not equals or not values:
        what = "unknown knob" if name not in _KNOBS else "no values"
        raise InputError(
            Problem(
                field="--vary", what=what, found=text, allowed=f"KNOB=VALUE,VALUE,… with one of {', '.join(_KNOBS)}"
            )
        )
    problems = []
    for value in values:
        try:
            _KNOBS[name].parse(value)
        except ValueError as error:
            problems.append(Problem(field=f"--vary {name}", what="cannot be read", found=value, allowed=str(error)))
    if problems:
        raise InputError(*problems)
    return Knob(name=name, values=values)


def vary(question: Question, policy: str, knob: Knob, *, progress: Progress = lambda *_: None) -> Variation:
    """Run the policy with each value. Raises InputError for a value that makes no case, or a knob the policy lacks."""
    tries = []
    for done, value in enumerate(knob.values):
        progress(done, len(knob.values), f"{question.trace.service}: {knob.name} {value}")
        tries.append(_try(question, policy, knob.name, value))
    progress(len(knob.values), len(knob.values), question.trace.service)
    return Variation(question=question, policy=policy, knob=knob, tries=tuple(tries))


def _try(question: Question, policy: str, name: str, value: str) -> Try:
    knob = _KNOBS[name]
    number = knob.parse(value)
    turned = knob.turn(question, number) if knob.turn else question
    try:
        case = build_case(turned)
        context = context_of(case, (policy,))
        built = scaler(policy, case, context)
        outcome = run(case, knob.adjust(built, number) if knob.adjust else built, context.serve)
    except InfeasibleError as error:
        return Try(
            value=value, number=number, attainment_asked=turned.attainment, outcome=None, why=error.message, late={}
        )
    missed = (m for m in outcome.minutes if m.requests and m.in_time < case.attainment * m.requests)
    return Try(
        value=value, number=number, attainment_asked=case.attainment, outcome=outcome, late=_late(case, outcome),
        first_missed=next(missed, None),
    )  # fmt: skip


def _late(case: Case, outcome: Outcome) -> dict[str, int]:
    """Late requests by what was wanting in their minute."""
    most = case.bounds.max_replicas or math.inf
    late = dict.fromkeys((CAPPED, STARTING, TOO_FEW), 0)
    for minute in outcome.minutes:
        if minute.billed > most - _STARTING:
            cause = CAPPED
        else:
            cause = STARTING if minute.billed > minute.replicas + _STARTING else TOO_FEW
        late[cause] += minute.requests - minute.in_time
    return late


# ------------------------------------------------------------------------------------------------------------ knobs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    parse: Callable[[str], float]
    turn: Callable[[Question, float], Question] | None = None
    adjust: Callable[[Scaler[Any], float], Scaler[Any]] | None = None


def scaled(trace: Trace, factor: float) -> Trace:
    """The trace with `factor` times the requests; what rounding takes from one step it gives to the next."""
    total, given, counts = 0.0, 0, []
    for count in trace.counts:
        total += count * factor
        counts.append(round(total) - given)
        given = round(total)
    return replace(trace, counts=tuple(counts))


def _rate(question: Question, factor: float) -> Question:
    return replace(question, trace=scaled(question.trace, factor))


def _max_batch(question: Question, most: float) -> Question:
    """The profile as if it had been measured up to that batch, and a new plan for it."""
    law = question.law
    covered = max(stage.max_batch for stage in law.stages) if isinstance(law, Profile) else 1
    if not isinstance(law, Profile) or most > covered:
        raise InputError(
            Problem(
                field="--vary max-batch",
                what="the profile does not cover it",
                found=f"{most:.0f}",
                allowed=f"1 to {covered}",
            )
        )
    stages = tuple(
        replace(stage, max_batch=min(stage.max_batch, int(most)),
                points=tuple(point for point in stage.points if point.batch <= most))
        for stage in law.stages
    )  # fmt: skip
    return replace(question, law=replace(law, stages=stages), decided=None)


def _least(question: Question, replicas: float) -> Question:
    return replace(question, bounds=Bounds(min_replicas=int(replicas), max_replicas=question.bounds.max_replicas))


def _most(question: Question, replicas: float) -> Question:
    return replace(question, bounds=Bounds(min_replicas=question.bounds.min_replicas, max_replicas=int(replicas)))


def _window(built: Scaler[Any], window_s: float) -> Scaler[Any]:
    def change(kpa: KpaScaler) -> KpaScaler:
        panic_s = max(1.0, float(round(window_s * kpa.config.panic_window_s / kpa.config.stable_window_s)))
        return replace(kpa, config=replace(kpa.config, stable_window_s=window_s, panic_window_s=panic_s))

    return _with_kpa(built, change)


def _target(built: Scaler[Any], target: float) -> Scaler[Any]:
    return _with_kpa(built, lambda kpa: replace(kpa, config=replace(kpa.config, target=target)))


def _with_kpa(built: Scaler[Any], change: Callable[[KpaScaler], KpaScaler]) -> Scaler[Any]:
    """The policy with another Knative autoscaler in it. Raises InputError where there is none."""
    if isinstance(built, KpaScaler):
        return change(built)
    if isinstance(built, FlooredScaler) and isinstance(built.reactive, KpaScaler):
        return replace(built, reactive=change(built.reactive))
    raise InputError(
        Problem(field="--vary", what="this policy is not Knative's autoscaler: it has no window and no target",
                allowed="ours, ours-reactive, kpa-default, kpa-cc1")
    )  # fmt: skip


def _share(text: str) -> float:
    value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < value < 1:
        raise ValueError("above 0 and below 100 %")
    return value


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("a number above zero")
    return value


def _count(least: int) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"a whole number from {least} up")
        return float(text)

    return parse


_KNOBS: Mapping[str, _Turn] = {
    "rate": _Turn(parse=_above_zero, turn=_rate),
    "slo": _Turn(parse=parse_duration_s, turn=lambda question, slo_s: replace(question, slo_s=slo_s)),
    "attainment": _Turn(parse=_share, turn=lambda question, share: replace(question, attainment=share)),
    "cold-start": _Turn(parse=parse_duration_s, turn=lambda question, start_s: replace(question, cold_start_s=start_s)),
    "min-replicas": _Turn(parse=_count(0), turn=_least),
    "max-replicas": _Turn(parse=_count(1), turn=_most),
    "max-batch": _Turn(parse=_count(1), turn=_max_batch),
    "window": _Turn(parse=parse_duration_s, adjust=_window),
    "target": _Turn(parse=_above_zero, adjust=_target),
}
KNOBS: Sequence[str] = tuple(_KNOBS)
