"""Where replicas go: the rungs from the work bound to a reactive policy, and the cause of each gap between two rungs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from kserve_ext.simulate.oracle.solve import Oracle, solve
from kserve_ext.simulate.oracle.table import LateTable
from kserve_ext.simulate.outcome import Outcome

# What each rung has over the one below it.
_RUNGS = ("work bound", "oracle", "perfect rate", "reactive")
_CAUSES = ("integrality and noise", "stochastic headroom", "forecast error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One policy, from the cleverest to the plainest."""

    name: str
    attainment: float
    billed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What one rung pays more than the one below it, and why."""

    cause: str
    replicas: float
    share: float  # of all that the reactive policy pays above the work bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Four rungs and three gaps. Gaps say what they should only if every rung attains what was asked for."""

    rungs: tuple[Rung, ...]
    gaps: tuple[Gap, ...]
    comparable: bool  # all rungs attain it
    bound: float  # the oracle lies between this and its rung


def ladder(oracle: Oracle, perfect_rate: Outcome, reactive: Outcome) -> Ladder:
    """The ladder of one service. `perfect_rate` knows the rate but not the requests, `reactive` knows the past."""
    attained = (oracle.attainment, oracle.attainment, perfect_rate.attainment, reactive.attainment)
    billed = (oracle.work, oracle.billed, perfect_rate.billed, reactive.billed)
    above_work = reactive.billed - oracle.work
    steps = [above - below for below, above in itertools.pairwise(billed)]
    rungs = [Rung(name=n, attainment=a, billed=b) for n, a, b in zip(_RUNGS, attained, billed, strict=True)]
    gaps = [
        Gap(cause=cause, replicas=step, share=step / above_work if above_work else 0.0)
        for cause, step in zip(_CAUSES, steps, strict=True)
    ]
    return Ladder(
        rungs=tuple(rungs), gaps=tuple(gaps),
        comparable=min(attained) >= oracle.attainment, bound=oracle.bound,
    )  # fmt: skip


def curve(table: LateTable, *, start_up_s: float) -> Callable[[float], float]:
    """What the oracle is billed at any attainment."""

    def billed_at(attainment: float) -> float:
        return solve(table, attainment=attainment, start_up_s=start_up_s).billed

    return billed_at


def regret(billed: float, attained: float, billed_at: Callable[[float], float]) -> float:
    """What a policy pays over what the oracle pays at the level the policy attains: 1 is perfect.

    Without an oracle to pay (no traffic, or nothing attained) it is 1 for a policy that pays nothing, else infinite.
    """
    least = billed_at(attained)
    if least > 0.0:
        return billed / least
    return math.inf if billed > 0.0 else 1.0
