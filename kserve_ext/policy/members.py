"""The models of one replica: what is asked of each, and how each is batched with its neighbours busy all the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kserve_ext.domain import Intent, Profile, Slo
from kserve_ext.errors import InfeasibleError, InputError, Problem
from kserve_ext.policy import batching, infeasible
from kserve_ext.policy.accelerators import accelerators
from kserve_ext.policy.crowd import crowded
from kserve_ext.policy.replica import Replica, build_replica
from kserve_ext.policy.request import PlanRequest, Settings
from kserve_ext.policy.served import Choice, limit_s
from kserve_ext.policy.shape import instance_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the models: what is asked of it alone, and what one replica of it is."""

    intent: Intent
    profile: Profile
    replica: Replica
    instances: int

    @property
    def busy(self) -> int:
        """Instances that it may have busy at once."""
        return self.instances * len(self.replica.laws)


def check_apart(profiles: Sequence[Profile]) -> None:
    """A server runs each model once, with one config."""
    stages = [stage.model for profile in profiles for stage in profile.stages]
    twice = sorted({model for model in stages if stages.count(model) > 1})
    if twice:
        raise InputError(
            Problem(field="kserve-ext.dev/neighbours", what="models that are steps of two in one replica",
                    found=", ".join(twice), allowed="models without a step in common")
        )  # fmt: skip


def members_of(intent: Intent, profiles: Sequence[Profile]) -> tuple[Member, ...]:
    """Each model with an intent of its own. On an accelerator one instance each: the models overlap each other already."""
    availability = intent.slo.availability
    asked = [(intent.model, intent.slo.p99_s, intent.rate)]
    asked += [(each.model, each.p99_s, each.rate) for each in intent.neighbours]
    accelerated = bool(accelerators(profiles[0].hardware))
    members = []
    for (model, p99_s, rate), profile in zip(asked, profiles, strict=True):
        replica = build_replica(profile)
        count = 1 if accelerated else instance_counts(replica, accelerated=False)[0][0]
        own = replace(
            intent, model=model, slo=Slo(p99_s=p99_s, availability=availability), rate=rate, neighbours=(),
            max_replicas=None,
        )  # fmt: skip
        members.append(Member(intent=own, profile=profile, replica=replica, instances=count))
    return tuple(members)


def choices_for(members: Sequence[Member], intent: Intent, settings: Settings) -> tuple[Choice, ...]:
    """For each model the batching with the shortest delay that carries its busy rate on the replicas that all need."""
    shared = bool(accelerators(members[0].profile.hardware))
    held, crowds = [], []
    for index, member in enumerate(members):
        others = sum(other.busy for place, other in enumerate(members) if place != index)
        crowd = crowded(member.replica, member.instances, others, shared=shared)
        allowed_s = limit_s(member.intent, settings)
        tried = batching.search(crowd, instances=member.instances, limit_s=allowed_s, settings=settings)
        found = tuple(candidate for candidate in tried if candidate.capacity_rps > 0)
        if not found:
            raise _too_slow(member, crowd, tried, members, settings)
        held.append(found)
        crowds.append(crowd)
    rates = [member.intent.rate.high_rps for member in members]
    needed = max(batching.replicas_for(rate, found[0].capacity_rps) for rate, found in zip(rates, held, strict=True))
    return tuple(
        Choice(profile=member.profile, replica=crowd, candidates=found, needed=needed,
               chosen=min((each for each in found if batching.replicas_for(rate, each.capacity_rps) <= needed),
                          key=lambda each: (each.longest_delay_s, -each.capacity_rps)))
        for member, crowd, found, rate in zip(members, crowds, held, rates, strict=True)
    )  # fmt: skip


def _too_slow(
    member: Member, crowd: Replica, tried: Sequence[batching.Candidate], members: Sequence[Member], settings: Settings
) -> InfeasibleError:
    """A model misses its SLO even at rest, with its neighbours busy."""
    beside = ", ".join(other.intent.model for other in members if other is not member)
    own = PlanRequest(intent=member.intent, profiles={}, settings=settings)
    found = infeasible.on(member.profile, crowd, tried, own)
    nearest = found.nearest.replace("kserve-ext.dev/slo-p99: ", f"a p99 for {member.intent.model} of ")
    return InfeasibleError(
        f"{member.intent.model} beside {beside}: {found.message}", binding=f"{found.binding} of {member.intent.model}",
        nearest=f"{nearest}; or serve {member.intent.model} by itself",
    )  # fmt: skip
