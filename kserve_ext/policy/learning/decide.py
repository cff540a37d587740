"""Whether to re-plan now: what would change, what the owner allows, and what is going on, in; a verdict out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

EVERY_S = 3600.0  # between two re-plans: each is a new Revision, with as many replicas again while it rolls out


class Verdict(StrEnum):
    """What to do."""

    KEEP = "keep"
    PROPOSE = "propose"
    APPLY = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a verdict hangs on beside the plans."""

    now_s: float
    auto: bool  # the owner lets re-plans be applied
    applied_s: float | None = None  # the last one
    incident: str = ""  # what is going on, in words; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A verdict, and what it waits for where it is no more than a proposal."""

    verdict: Verdict
    waits_for: str = ""


def decide(changes: Sequence[str], found: Circumstances) -> Step:
    """What to do about these changes of the plan."""
    if not changes:
        return Step(verdict=Verdict.KEEP)
    if not found.auto:
        return Step(verdict=Verdict.PROPOSE, waits_for='kserve-ext.dev/replan: "auto", or another apply')
    if found.incident:
        return Step(verdict=Verdict.PROPOSE, waits_for=f"the end of an incident: {found.incident}")
    if found.applied_s is not None and found.now_s - found.applied_s < EVERY_S:
        return Step(verdict=Verdict.PROPOSE, waits_for="an hour after the last re-plan")
    return Step(verdict=Verdict.APPLY)
