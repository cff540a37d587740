"""From a run's results to the content of its report: the curves behind the plan, simulated where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from kserve_ext.domain import Measurement, Plan, Profile, Quantiles, Service, StagePlan
from kserve_ext.policy import Settings
from kserve_ext.policy.batching import MOST_LOAD, bisect_share
from kserve_ext.policy.replica import Replica, build_replica, predict
from kserve_ext.profile.fit import fit
from kserve_ext.report.content import Candidate, Command, LatencyRow, LoadRow, RunReport
from kserve_ext.simulate.law import spread

_LOAD_SHARES = (0.05, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 1.0, 1.03)  # of the saturated rate


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
    main = _binding(replica, plan.stages)
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
        load_curve=load_rows(replica, plan.stages, settings),
        untuned_load_curve=load_rows(replica, bare, settings),
        untuned_capacity_rps=_capacity_rps(replica, bare, plan, settings),
        candidates=candidates(replica, plan, main, settings),
        main_stage=main,
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


def load_rows(replica: Replica, stages: Sequence[StagePlan], settings: Settings) -> tuple[LoadRow, ...]:
    """Predicted latency of one replica by load, up to a little beyond where it saturates; infinite from there on."""
    saturated_rps = replica.saturated_rps(stages)
    return tuple(_load_row(replica, stages, share * saturated_rps, settings) for share in _LOAD_SHARES)


def _load_row(replica: Replica, stages: Sequence[StagePlan], rate_rps: float, settings: Settings) -> LoadRow:
    if rate_rps >= replica.saturated_rps(stages):
        return LoadRow(rate_rps, math.inf, math.inf, float(max(1, stages[-1].max_batch_size)))
    seen = predict(replica, stages, rate_rps, settings=settings, requests=settings.simulated_requests)
    return LoadRow(rate_rps, seen.p50_s, seen.p99_s, seen.mean_batch)


def candidates(replica: Replica, plan: Plan, main: int, settings: Settings) -> tuple[Candidate, ...]:
    """The plan with every other batch size and number of instances of stage `main`: what one replica then carries.

    All of them are simulated, also those that the plan's own search may skip because they cannot be better.
    """
    law, planned = replica.laws[main], plan.stages[main]
    sizes = [size for size in law.batches if size <= replica.max_batches[main]] or [0]
    found = []
    for instances in range(1, law.instances + 1):
        for size in sizes:
            stage = replace(planned, max_batch_size=size, instances=instances)
            stages = (*plan.stages[:main], stage, *plan.stages[main + 1 :])
            p99_s = _load_row(replica, stages, plan.prediction.rate_rps, settings).p99_s
            capacity_rps = _capacity_rps(replica, stages, plan, settings)
            found.append(Candidate(size, stage.max_queue_delay_s, instances, capacity_rps, p99_s))
    return tuple(found)


def _capacity_rps(replica: Replica, stages: Sequence[StagePlan], plan: Plan, settings: Settings) -> float:
    """What one replica takes, by the same reckoning as the plan's own capacity."""
    most_rps, limit_s = MOST_LOAD * replica.saturated_rps(stages), plan.slo.p99_s * (1 - plan.margin)

    def holds(share: float) -> bool:
        return _load_row(replica, stages, share * most_rps, settings).p99_s <= limit_s

    return most_rps * bisect_share(holds, settings.capacity_steps)


def _binding(replica: Replica, stages: Sequence[StagePlan]) -> int:
    """Index of the stage that saturates first."""
    pairs = zip(replica.laws, stages, strict=True)
    rates = [law.saturated_rps(max(1, stage.max_batch_size), stage.instances) for law, stage in pairs]
    return rates.index(min(rates))
