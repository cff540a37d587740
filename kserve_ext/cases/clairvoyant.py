"""What a clairvoyant would do on a case: the oracle, its path when it is taken, and the ladder from the work bound up.

Batching replicas are bounded by one pool that is always at its cheapest batch: what the oracle pays there is a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kserve_ext.cases.build import Case
from kserve_ext.simulate.arrivals import per_second
from kserve_ext.simulate.batch_pool import BatchService
from kserve_ext.simulate.engine import Workload, simulate_fleet
from kserve_ext.simulate.oracle import (
    LateTable,
    Oracle,
    OracleScaler,
    achieve,
    cheapest_request_s,
    count_compiled,
    count_reference,
    late_table,
    replay,
)
from kserve_ext.simulate.oracle.lateness import Count
from kserve_ext.simulate.outcome import MINUTE_S, VIOLATED, Minute, Outcome
from kserve_ext.simulate.service_time import Constant
from kserve_ext.simulate.slots import Serve, serve_reference

_EPOCH_S = MINUTE_S  # the oracle's epochs are the outcome's minutes
_REACTIVE = "ours-reactive"  # the last rung: ours without a forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the ladder, and what it has over the one below it."""

    name: str
    billed: float
    attainment: float
    cause: str = ""


def late_requests(case: Case, serve: Serve) -> LateTable:
    """What the oracle knows of the case."""
    pooled = _pooled(case.workload)
    return late_table(
        pooled or case.workload, seed=case.seed, epoch_s=_EPOCH_S, pooled=pooled is not None, count=_count(serve)
    )  # fmt: skip


def taken(case: Case, table: LateTable, oracle: Oracle, serve: Serve) -> Outcome:
    """The oracle's path when it is taken: every request that would be late is dropped and counted as late.

    The engine's queue cannot know which will be late, so only the latencies come from a run of the path in it.
    """
    walked = achieve(_pooled(case.workload) or case.workload, table, oracle, seed=case.seed, count=_count(serve))
    counts = per_second(case.workload.arrivals, case.seed)
    arrived = np.add.reduceat(counts, range(0, len(counts), _EPOCH_S))
    minutes = tuple(
        Minute(t_s=index * _EPOCH_S, requests=int(came), in_time=int(came - late), replicas=float(up), billed=float(up))
        for index, (came, late, up) in enumerate(zip(arrived, walked.late, walked.path, strict=True))
    )
    shares = [minute.in_time / minute.requests for minute in minutes if minute.requests]
    return replace(
        _seen(case, walked.path, serve), attainment=walked.attainment, billed=walked.billed,
        active=float(np.mean(walked.path)), dropped=int(walked.late.sum()), worst_minute=min(shares, default=1.0),
        violation_share=float(np.mean([share < VIOLATED for share in shares])) if shares else 0.0, minutes=minutes,
    )  # fmt: skip


def _seen(case: Case, path: tuple[int, ...], serve: Serve) -> Outcome:
    """The path in the engine."""
    if not isinstance(case.workload.service, BatchService):
        return replay(case.workload, path, epoch_s=_EPOCH_S, seed=case.seed, serve=serve)
    scaler = OracleScaler(path=path, epoch_s=_EPOCH_S, start_up_s=case.workload.cold_start.on_node_s)
    return simulate_fleet([replace(case.workload, initial_replicas=path[0])], [scaler], seed=case.seed, serve=serve)[0]


def _count(serve: Serve) -> Count:
    return count_reference if serve is serve_reference else count_compiled()


def _pooled(workload: Workload) -> Workload | None:
    if not isinstance(workload.service, BatchService):
        return None
    cost_s = max(cheapest_request_s(stage.law, workload.slo_s) for stage in workload.service.stages)
    return replace(workload, service=Constant(time_s=cost_s))


def ladder(oracle: Oracle, ran: Mapping[str, Outcome]) -> tuple[Step, ...]:
    """From the work bound up to what only knows the past; policies that were not run are left out."""
    asked = oracle.attainment
    steps = [
        Step(name="work bound", billed=oracle.work, attainment=asked),
        Step(name="oracle, bound", billed=oracle.bound, attainment=asked, cause="integrality and noise"),
        Step(name="oracle, path", billed=oracle.billed, attainment=asked, cause="between bound and path"),
    ]
    for policy, name, cause in (
        ("perfect-rate", "perfect rate", "stochastic headroom"), (_REACTIVE, "reactive", "forecast error"),
    ):  # fmt: skip
        if policy in ran:
            outcome = ran[policy]
            steps.append(Step(name=name, billed=outcome.billed, attainment=outcome.attainment, cause=cause))
    return tuple(steps)
