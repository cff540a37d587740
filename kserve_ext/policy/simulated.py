"""What the engine serves with, from what was measured and what was planned: the planner's own service-time laws.

A profile and the stages of a plan in, a BatchService out; a law of one request at a time in, a ServiceTime out.
Beyond what was measured nothing is guessed: a batch or an instance count without points is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kserve_ext.domain import Plan, Profile, Quantiles, StagePlan
from kserve_ext.errors import Problem, ProfileError
from kserve_ext.policy.concurrency import KNATIVE_MAX_CONCURRENCY
from kserve_ext.policy.replica import Replica, build_replica
from kserve_ext.profile.service_law import Lognormal as NamedLognormal
from kserve_ext.profile.service_law import OneAtATime, mean_of
from kserve_ext.simulate.batch_pool import BatchService
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.service_time import Constant, Lognormal, Measured, ServiceTime


def batch_service(profile: Profile, stages: Sequence[StagePlan], concurrency_limit: int) -> BatchService:
    """What a replica runs with these stages; a limit of 0 is none, as in containerConcurrency.

    Raises ProfileError when the profile does not cover a batch size or an instance count.
    """
    replica = build_replica(profile)
    problems = list(_uncovered(replica, stages))
    if problems:
        raise ProfileError(
            *problems, remedy="measure larger batches with `kserve-ext profile`, or ask for smaller ones"
        )
    return BatchService(
        stages=tuple(
            Stage(
                law=law, max_batch_size=stage.max_batch_size, instances=stage.instances,
                max_queue_delay_s=stage.max_queue_delay_s if stage.max_batch_size > 1 else None,
            )
            for law, stage in zip(replica.laws, stages, strict=True)
        ),
        concurrency_limit=concurrency_limit or KNATIVE_MAX_CONCURRENCY,
        overhead_levels_s=replica.overhead_levels_s,
    )  # fmt: skip


def planned_service(profile: Profile, plan: Plan) -> BatchService:
    """What a replica of the plan runs. Raises ProfileError when the profile does not cover the plan."""
    return batch_service(profile, plan.stages, plan.concurrency_limit)


def service_time(law: OneAtATime) -> ServiceTime:
    """How long one request takes where a replica serves one at a time."""
    time = law.time
    if isinstance(time, NamedLognormal):
        return Lognormal(loc_s=time.loc, scale_s=time.scale, shape=time.shape)
    if time.quantiles_s is None:
        return Constant(time_s=mean_of(time))
    drawn = Measured(quantiles_s=time.quantiles_s)
    if time.mean_s is None:
        return drawn
    factor = time.mean_s / drawn.mean_s
    values = tuple(value * factor for value in time.quantiles_s.values)
    return Measured(quantiles_s=Quantiles(probabilities=time.quantiles_s.probabilities, values=values))


def _uncovered(replica: Replica, stages: Sequence[StagePlan]) -> Iterator[Problem]:
    if [stage.model for stage in stages] != list(replica.models):
        yield Problem(
            field="stages", what="the profile is of other models", found=", ".join(stage.model for stage in stages),
            allowed=", ".join(replica.models),
        )  # fmt: skip
        return
    for index, (law, stage) in enumerate(zip(replica.laws, stages, strict=True)):
        for name, asked, most in (
            ("max_batch_size", stage.max_batch_size, law.batches[-1]), ("instances", stage.instances, law.instances),
        ):  # fmt: skip
            if asked > most:
                yield Problem(field=f"stages[{index}].{name}", what=f"the profile of {stage.model} does not cover it",
                              found=str(asked), allowed=f"1 to {most}")  # fmt: skip
