"""From a run's results to the content of its report: the curves behind the plan, simulated where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from kserve_ext.domain import Measurement, Plan, Profile, Quantiles, Service, StagePlan
from kserve_ext.policy import Settings
from kserve_ext.policy.batching import Candidate as Considered
from kserve_ext.policy.batching import search
from kserve_ext.policy.replica import Replica, build_replica, predict
from kserve_ext.profile.fit import fit
from kserve_ext.report.content import Candidate, Command, LatencyRow, LoadRow, RunReport
from kserve_ext.simulate.law import spread

_LOAD_SHARES = (0.05, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 1.0, 1.03)  # of where it saturates


def assemble(
    service: Service,
    profile: Profile,
    plan: Plan,
    *,
    measured: Mapping[str, Measurement],
    untuned: Measurement | None,
    held: bool,
    uncertain: bool = False,
    verdict: str,
    attainment: Mapping[str, float] | None = None,
    commands: tuple[Command, ...],
    generated_by: str,
    settings: Settings | None = None,
) -> RunReport:
    """The report of one run. `measured` is by protocol, `http` or `grpc`."""
    settings = settings or Settings()
    replica = build_replica(profile)
    bare = tuple(replace(stage, max_batch_size=min(1, stage.max_batch_size), instances=1) for stage in plan.stages)
    return RunReport(
        source=service.source,
        intent=service.intent,
        profile=profile,
        plan=plan,
        measured=measured,
        untuned=untuned,
        held=held,
        uncertain=uncertain,
        verdict=verdict,
        attainment=attainment or {},
        latency_curve=latency_rows(profile),
        load_curve=load_rows(replica, plan.stages, plan.capacity_rps, settings),
        untuned_load_curve=load_rows(replica, bare, replica.saturated_rps(bare), settings),
        candidates=_candidates(replica, plan, settings),
        commands=commands,
        generated_by=generated_by,
    )


def latency_rows(profile: Profile) -> tuple[LatencyRow, ...]:
    """The fitted service times of every stage, by busy instances and batch size."""
    return tuple(
        LatencyRow(batch, curve.instances, mean_s, _p99_s(shape, mean_s), index)
        for index, stage in enumerate(profile.stages)
        for curve in fit(stage)
        for batch, mean_s, shape in zip(curve.batches, curve.means_s, curve.shapes, strict=True)
    )


def _p99_s(shape: Quantiles, mean_s: float) -> float:
    """p99 of the law the simulator draws from: the measured shape around the fitted mean."""
    return float(np.quantile(spread(shape.probabilities, shape.values, mean_s), 0.99))


def load_rows(
    replica: Replica, stages: Sequence[StagePlan], capacity_rps: float, settings: Settings
) -> tuple[LoadRow, ...]:
    """Predicted latency of one replica by load, up to a little beyond `capacity_rps`; infinite where it saturates."""
    return tuple(_load_row(replica, stages, share * capacity_rps, settings) for share in _LOAD_SHARES)


def _load_row(replica: Replica, stages: Sequence[StagePlan], rate_rps: float, settings: Settings) -> LoadRow:
    if rate_rps >= replica.saturated_rps(stages):
        return LoadRow(rate_rps, math.inf, math.inf, float(max(1, stages[-1].max_batch_size)))
    seen = predict(replica, stages, rate_rps, settings=settings, requests=settings.simulated_requests)
    return LoadRow(rate_rps, seen.p50_s, seen.p99_s, seen.mean_batch)


def _candidates(replica: Replica, plan: Plan, settings: Settings) -> tuple[Candidate, ...]:
    instances = max(stage.instances for stage in plan.stages)
    limit_s = plan.slo.p99_s * (1 - plan.margin)
    found = search(replica, instances=instances, limit_s=limit_s, settings=settings)
    return tuple(_candidate(replica, considered, instances, plan, settings) for considered in found)


def _candidate(replica: Replica, considered: Considered, instances: int, plan: Plan, settings: Settings) -> Candidate:
    return Candidate(
        max(stage.max_batch_size for stage in considered.stages),
        considered.longest_delay_s,
        instances,
        considered.capacity_rps,
        _load_row(replica, considered.stages, plan.prediction.rate_rps, settings).p99_s,
    )
