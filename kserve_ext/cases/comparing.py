"""Policies side by side on one service's traffic: each one simulated over the same requests, and the oracle beside them.

A case in, outcomes and the ladder out; nothing is printed. The same case gives the same figures, run times apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from multiprocessing import get_context
from typing import Any

from kserve_ext.cases.build import Case, arrivals
from kserve_ext.cases.clairvoyant import Step, ladder, late_requests, taken
from kserve_ext.errors import InputError, MissingExtraError, Problem
from kserve_ext.policy.contenders import CONTENDERS, contender
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.simulate.engine import simulate_fleet
from kserve_ext.simulate.oracle import curve, regret, solve
from kserve_ext.simulate.outcome import Outcome
from kserve_ext.simulate.scaler import Scaler
from kserve_ext.simulate.scalers import Context, StaticScaler
from kserve_ext.simulate.slots import Serve, serve_reference

Progress = Callable[[int, int, str], None]

CLAIRVOYANT = ("perfect-rate", "oracle")  # they know what no one can: there for comparison
_SEARCH_RUNS = 6  # of the search for a fixed count
_COMPILE_FROM = 20_000_000  # requests over all policies from which compiling the request loop pays


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One policy on the case."""

    policy: str
    outcome: Outcome
    regret: float  # billed over what the oracle is billed at the level attained
    run_s: float

    @property
    def clairvoyant(self) -> bool:
        return self.policy in CLAIRVOYANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All policies on one case."""

    case: Case
    results: tuple[Result, ...]
    ladder: tuple[Step, ...]

    def holds(self, result: Result) -> bool:
        """Whether the policy attains what is asked for."""
        return result.outcome.attainment >= self.case.attainment

    @property
    def winner(self) -> Result | None:
        """The cheapest that holds, of those that know only the past."""
        able = [result for result in self.results if self.holds(result) and not result.clairvoyant]
        return min(able, key=lambda result: result.outcome.billed, default=None)


def compare(
    case: Case, policies: Sequence[str] = CONTENDERS, *, jobs: int = 1, progress: Progress = lambda *_: None
) -> Comparison:
    """Run every policy on the case, `jobs` at a time. Same figures whatever `jobs` is.

    Raises InputError for an unknown policy, InfeasibleError when no number of replicas is enough.
    """
    check_policies(policies)
    context = context_of(case, policies)
    steps = len(policies) + 1
    progress(0, steps, f"{case.workload.name}: what an oracle would do")
    with _started(case, policies, jobs) as outcome_of:
        table = late_requests(case, context.serve)
        oracle = solve(table, attainment=case.attainment, start_up_s=case.workload.cold_start.on_node_s)
        billed_at = curve(table, start_up_s=case.workload.cold_start.on_node_s)
        results = []
        for done, name in enumerate(policies, 1):
            progress(done, steps, f"{case.workload.name}: {name}")
            if name == "oracle":
                outcome, run_s = _timed(lambda: taken(case, table, oracle, context.serve))
            else:
                outcome, run_s = outcome_of(name)
            owed = regret(outcome.billed, outcome.attainment, billed_at)
            results.append(Result(policy=name, outcome=outcome, regret=owed, run_s=run_s))
    progress(steps, steps, case.workload.name)
    return Comparison(
        case=case, results=tuple(results), ladder=ladder(oracle, {result.policy: result.outcome for result in results})
    )


def check_policies(policies: Sequence[str]) -> None:
    """Raises InputError for names that no policy has, or that are given twice."""
    problems = [
        Problem(field="--policy", what="unknown policy", found=repr(name), allowed=", ".join(CONTENDERS))
        for name in policies if name not in CONTENDERS
    ]  # fmt: skip
    problems += [
        Problem(field="--policy", what="policy named twice", found=name)
        for index, name in enumerate(policies) if name in policies[:index]
    ]  # fmt: skip
    if problems or not policies:
        nearest = [
            near for problem in problems for near in get_close_matches(problem.found.strip("'"), CONTENDERS, n=1)
        ]
        missing = Problem(field="--policy", what="no policy", allowed=", ".join(CONTENDERS))
        raise InputError(*(problems or [missing]), remedy=f"did you mean {nearest[0]}?" if nearest else "")


@contextmanager
def _started(case: Case, policies: Sequence[str], jobs: int) -> Iterator[Callable[[str], tuple[Outcome, float]]]:
    """Runs by policy: in processes of their own, begun at once, or here when they are asked for."""
    others = [name for name in policies if name != "oracle"]
    if min(jobs, len(others)) < 2:
        yield lambda name: run_policy(case, name, policies)
        return
    with ProcessPoolExecutor(min(jobs, len(others)), mp_context=get_context("spawn")) as pool:
        begun = {name: pool.submit(run_policy, case, name, policies) for name in others}
        try:
            yield lambda name: begun[name].result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_policy(case: Case, name: str, policies: Sequence[str]) -> tuple[Outcome, float]:
    """One policy, and how long it took; `policies` are all that run, which decides whether compiling pays."""
    context = context_of(case, policies)
    return _timed(lambda: run(case, scaler(name, case, context), context.serve))


def _timed(work: Callable[[], Outcome]) -> tuple[Outcome, float]:
    began_s = time.perf_counter()
    return work(), time.perf_counter() - began_s


def context_of(case: Case, policies: Sequence[str]) -> Context:
    """What the case's policies may know. The request loop is compiled where there is enough to gain, and numba."""
    history = arrivals(case.history) if case.history else None
    searched = sum((case.history or case.trace).counts) * _SEARCH_RUNS if "static-peak" in policies else 0
    return Context(
        workload=case.workload, history=history, attainment=case.attainment, bounds=case.bounds, seed=case.seed,
        serve=_serve(sum(case.trace.counts) * len(policies) + searched),
    )  # fmt: skip


def scaler(name: str, case: Case, context: Context) -> Scaler[Any]:
    """The policy of that name, set up for the case."""
    built = contender(name, context, case.sized)
    return replace(built, floor_interval_s=case.floor_interval_s) if isinstance(built, FlooredScaler) else built


def run(case: Case, scaler: Scaler[Any], serve: Serve = serve_reference) -> Outcome:
    """One policy over the case's requests, from the case's first replicas on; a fixed count is there from the beginning."""
    workload = case.workload
    if isinstance(scaler, StaticScaler):
        workload = replace(workload, initial_replicas=scaler.replicas)
    (outcome,) = simulate_fleet([workload], [scaler], seed=case.seed, serve=serve)
    return outcome


def _serve(requests: int) -> Serve:
    if requests < _COMPILE_FROM:
        return serve_reference
    from kserve_ext.simulate.compiled import serve_compiled

    try:
        return serve_compiled()
    except MissingExtraError:
        return serve_reference
