"""The plan: intent and profiles in, every number of the service out, each with its reason.

Order: hardware kinds as the user prefers them → size of a replica → batching and queue delay → replicas → concurrency
limit and target → autoscaler, tried on a rise of the load → time-out → resources. Raises InfeasibleError with the
binding constraint and the nearest plan that works. Pure and deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kserve_ext.domain import Intent, Plan, Prediction, Profile, Reason, Resources
from kserve_ext.errors import InfeasibleError, Problem, ProfileError
from kserve_ext.policy import batching, concurrency, explanations, infeasible, replicas, resources
from kserve_ext.policy.accelerators import accelerators
from kserve_ext.policy.batching import Candidate
from kserve_ext.policy.contradictions import with_warnings
from kserve_ext.policy.horizontal import Room
from kserve_ext.policy.replica import Replica, build_replica
from kserve_ext.policy.request import PlanRequest
from kserve_ext.policy.scaled import Scaled, horizontal_scaler, horizontally, with_placeholders
from kserve_ext.policy.scaling import PLANNED_METRICS, scaling, scaling_metric
from kserve_ext.policy.served import Choice, Served, carried, limit_s, serve
from kserve_ext.policy.shape import instance_counts
from kserve_ext.policy.signals import signal_of
from kserve_ext.policy.timeouts import queue_drain_s, timeout
from kserve_ext.policy.together import plan_together
from kserve_ext.policy.tuning import Rules, has_choice, tune


def plan(request: PlanRequest) -> Plan:
    """The cheapest plan that holds the SLO of `request.intent`, and of its neighbours, with the margin kept free.

    Raises InfeasibleError when none does, ProfileError when no allowed hardware kind was profiled.
    """
    if request.intent.neighbours:
        return plan_together(request)
    return assemble(request, choose(request))


def choose(request: PlanRequest) -> Choice:
    """The first hardware kind, and on it the first replica size, that holds the SLO within the replicas allowed."""
    intent = request.intent
    usable = [kind for kind in intent.hardware if kind in request.profiles]
    if not usable:
        raise ProfileError(
            Problem(what=f"no profile of {intent.model} for the hardware asked for", found=", ".join(request.profiles),
                    allowed=", ".join(intent.hardware)),
            remedy=f"measure one with `kserve-ext profile {intent.model} --hardware {intent.hardware[0]}`",
        )  # fmt: skip
    refusals: dict[str, InfeasibleError] = {}
    for kind in usable:
        profile = request.profiles[kind]
        if profile.hardware != kind:
            raise ProfileError(
                Problem(field="hardware", what="a profile of other hardware", found=profile.hardware, allowed=kind)
            )
        try:
            found = _choose_on(request, profile)
        except InfeasibleError as error:
            refusals[kind] = error
        else:
            return replace(found, refused={other: error.binding for other, error in refusals.items()})
    raise infeasible.on_no_hardware(usable, tuple(refusals.values()))


def _choose_on(request: PlanRequest, profile: Profile) -> Choice:
    intent = request.intent
    replica = build_replica(profile)
    tried: list[Candidate] = []
    for candidates in _candidates(request, profile, replica):
        tried += candidates
        held = tuple(sorted((c for c in candidates if c.capacity_rps > 0), key=lambda c: -c.capacity_rps))
        if not held:
            continue
        needed = batching.replicas_for(intent.rate.high_rps, held[0].capacity_rps)
        if intent.max_replicas is None or needed <= intent.max_replicas:
            return Choice(
                profile=profile, replica=replica, candidates=held,
                chosen=batching.choose(held, intent.rate.high_rps), needed=needed,
            )  # fmt: skip
    raise infeasible.on(profile, replica, tried, request)


def _candidates(request: PlanRequest, profile: Profile, replica: Replica) -> Iterator[tuple[Candidate, ...]]:
    """The choices of batching by the size of a replica; only the one that is kept, where one is."""
    settings, allowed_s = request.settings, limit_s(request.intent, request.settings)
    if request.kept:
        yield (batching.evaluate(replica, request.kept, allowed_s, settings),)
        return
    for group in instance_counts(replica, accelerated=bool(accelerators(profile.hardware))):
        yield tuple(
            candidate
            for count in group
            for candidate in batching.search(replica, instances=count, limit_s=allowed_s, settings=settings)
        )


def assemble(request: PlanRequest, choice: Choice) -> Plan:
    """The plan for a choice: everything that follows from it, with reasons and warnings."""
    intent, settings, profile, chosen = request.intent, request.settings, choice.profile, choice.chosen
    served = serve(intent, choice, settings)
    start_s = replicas.cold_start_s((profile,), settings)
    min_replicas, min_reason = replicas.least(intent, chosen.capacity_rps, start_s)
    max_replicas, max_reason = replicas.most(intent, choice.needed, min_replicas)
    load = resources.Load(profile=profile, stages=chosen.stages, capacity_rps=chosen.capacity_rps)
    wanted, resource_reasons = resources.size((load,), intent.pins, settings)
    room = Room(min_replicas=min(min_replicas, max_replicas), max_replicas=max_replicas, needed=choice.needed)
    scaled = _scaled(request, served, room, start_s, wanted)
    drain_s = queue_drain_s(served)
    timeout_s, timeout_reason = timeout(intent, drain_s, intent.slo.p99_s, scaled.knative.min_replicas, start_s)
    decided = Plan(
        service=intent.name,
        namespace=intent.namespace,
        model=intent.model,
        hardware=profile.hardware,
        protocol=intent.protocol,
        slo=intent.slo,
        stages=chosen.stages,
        concurrency_limit=served.concurrency_limit,
        scaling=scaled.knative,
        horizontal=scaled.horizontal,
        placeholders=scaled.placeholders,
        timeout_s=timeout_s,
        resources=wanted,
        capacity_rps=chosen.capacity_rps,
        margin=settings.margin,
        prediction=served.prediction,
        replicas_at_high_rate=choice.needed,
        reasons=(
            explanations.hardware(intent, profile, choice.refused), *served.reasons,
            explanations.capacity(chosen, intent, settings), explanations.margin(settings),
            explanations.replicas_at_high_rate(choice.needed, intent, chosen, request.load),
            served.prediction_reason, served.limit_reason, min_reason, max_reason, *scaled.reasons, timeout_reason,
            *resource_reasons,
        ),
    )  # fmt: skip
    return with_warnings(decided, intent, choice.replica, min_replicas, settings)


def _scaled(request: PlanRequest, served: Served, room: Room, start_s: float, wanted: Resources) -> Scaled:
    """Knative's autoscaler, tried on a rise of the load where it has a choice; or the one asked for in its place."""
    intent, settings, capacity_rps = request.intent, request.settings, served.choice.chosen.capacity_rps
    targets = _targets(intent, served.at_capacity, served.concurrency_limit)
    target, target_reason = targets.get(scaling_metric(intent.pins), targets["concurrency"])
    scaler, reasons = scaling(
        intent, target=target, needed=room.needed, min_replicas=room.min_replicas, max_replicas=room.max_replicas,
        start_s=start_s,
    )  # fmt: skip
    if (asked := horizontal_scaler(intent)) is not None:
        signal = signal_of(asked, served, wanted)
        decided = horizontally(request, scaler, room, carried(served, start_s, settings), signal)
        return with_placeholders(decided, request, capacity_rps)
    reasons = (target_reason, *reasons)
    if has_choice(scaler, intent, capacity_rps):
        rules = Rules(scaling=scaler, reasons=reasons, targets=targets)
        scaler, reasons = tune(
            rules, carried(served, start_s, settings), intent, served.concurrency_limit, settings, request.load
        )
    return with_placeholders(Scaled(knative=scaler, reasons=reasons), request, capacity_rps)


def _targets(intent: Intent, at_capacity: Prediction, concurrency_limit: int) -> dict[str, tuple[float, Reason]]:
    """The soft target by metric; the user's own for each where one is set."""
    pinned = intent.pins.scale_target
    if pinned is None and "target" in intent.pins.autoscaling:
        pinned = float(intent.pins.autoscaling["target"])
    if pinned is not None:
        return {metric: (pinned, explanations.set_by_user("scaling.target", pinned)) for metric in PLANNED_METRICS}
    limit = concurrency_limit or concurrency.KNATIVE_MAX_CONCURRENCY
    return {metric: concurrency.target(at_capacity, limit, metric) for metric in PLANNED_METRICS}
