"""The plan: intent and profiles in, every number of the service out, each with its reason.

Order: hardware kinds as the user prefers them → size of a replica → batching and queue delay → replicas → concurrency
limit and target → autoscaler, tried on a rise of the load → time-out → resources. Raises InfeasibleError with the
binding constraint and the nearest plan that works. Pure and deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kserve_ext.domain import Intent, Plan, Prediction, Profile, Reason
from kserve_ext.errors import InfeasibleError, Problem, ProfileError
from kserve_ext.policy import batching, concurrency, explanations, infeasible, replicas, resources
from kserve_ext.policy.accelerators import accelerators
from kserve_ext.policy.batching import Candidate
from kserve_ext.policy.contradictions import with_warnings
from kserve_ext.policy.rehearsal import Carried
from kserve_ext.policy.replica import Replica, batch_queue, build_replica, exact, predict, simulated
from kserve_ext.policy.request import PlanRequest, Settings
from kserve_ext.policy.scaling import PLANNED_METRICS, scaling, scaling_metric
from kserve_ext.policy.shape import instance_counts
from kserve_ext.policy.tuning import Rules, has_choice, tune

_QUEUE_FULL = 11  # queue-proxy lets 10 x the limit wait beside the limit itself, the next request gets 503
_MAX_TIMEOUT_S = 600  # Knative's max-revision-timeout-seconds, config-defaults
_QUARTERS = (0.25, 0.5, 0.75)
_DRAIN_QUIET_S = 30  # queue-proxy keeps a stopping pod that long, inside its grace period, which is the time-out


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One hardware kind, one replica size, and the candidates that hold there."""

    profile: Profile
    replica: Replica
    candidates: tuple[Candidate, ...]  # most capacity first
    chosen: Candidate
    needed: int  # replicas at the busy rate
    refused: Mapping[str, str] = field(default_factory=dict)  # kinds tried before, and what binds there


def plan(request: PlanRequest) -> Plan:
    """The cheapest plan that holds the SLO of `request.intent` with the margin kept free.

    Raises InfeasibleError when none does, ProfileError when no allowed hardware kind was profiled.
    """
    choice = choose(request)
    return assemble(request, choice)


def limit_s(intent: Intent, settings: Settings) -> float:
    """What the simulated p99 must not exceed: the SLO less the margin."""
    return intent.slo.p99_s * (1 - settings.margin)


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
    intent, settings = request.intent, request.settings
    replica = build_replica(profile)
    allowed_s = limit_s(intent, settings)
    tried: list[Candidate] = []
    for group in instance_counts(replica, accelerated=bool(accelerators(profile.hardware))):
        candidates = tuple(
            candidate
            for count in group
            for candidate in batching.search(replica, instances=count, limit_s=allowed_s, settings=settings)
        )
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


def assemble(request: PlanRequest, choice: Choice) -> Plan:
    """The plan for a choice: everything that follows from it, with reasons and warnings."""
    intent, settings, profile, chosen = request.intent, request.settings, choice.profile, choice.chosen
    allowed_s = limit_s(intent, settings)
    reasons = [
        explanations.hardware(intent, profile, choice.refused),
        *explanations.stages(choice.replica, choice.candidates, chosen),
    ]

    concurrency_limit, limit_reason = concurrency.limit(choice.replica, chosen, allowed_s, settings)
    if intent.pins.container_concurrency is not None:
        concurrency_limit = intent.pins.container_concurrency
        limit_reason = explanations.set_by_user("concurrency_limit", concurrency_limit)
    at_capacity, _ = _predict(choice, chosen.capacity_rps, concurrency_limit, settings)
    targets = _targets(intent, at_capacity, concurrency_limit)
    metric = scaling_metric(intent.pins)
    target, target_reason = targets.get(metric, targets["concurrency"])

    start_s = replicas.cold_start_s(profile, settings)
    min_replicas, min_reason = replicas.least(intent, chosen.capacity_rps, start_s)
    max_replicas, max_reason = replicas.most(intent, choice.needed, min_replicas)
    scaler, scaler_reasons = scaling(
        intent, target=target, needed=choice.needed, min_replicas=min(min_replicas, max_replicas),
        max_replicas=max_replicas, start_s=start_s,
    )  # fmt: skip
    scaler_reasons = (target_reason, *scaler_reasons)
    if has_choice(scaler, intent, chosen.capacity_rps):
        rules = Rules(scaling=scaler, reasons=scaler_reasons, targets=targets)
        carried = _carried(choice, at_capacity, concurrency_limit, start_s, request)
        scaler, scaler_reasons = tune(rules, carried, intent, concurrency_limit, settings, request.load)
    timeout_s, timeout_reason = _timeout(intent, chosen, concurrency_limit, scaler.min_replicas, start_s)
    wanted, resource_reasons = resources.size(profile, chosen.stages, chosen.capacity_rps, intent.pins, settings)
    prediction, is_exact = _predict(choice, intent.rate.high_rps / choice.needed, concurrency_limit, settings)
    decided = Plan(
        service=intent.name,
        namespace=intent.namespace,
        model=intent.model,
        hardware=profile.hardware,
        protocol=intent.protocol,
        slo=intent.slo,
        stages=chosen.stages,
        concurrency_limit=concurrency_limit,
        scaling=scaler,
        timeout_s=timeout_s,
        resources=wanted,
        capacity_rps=chosen.capacity_rps,
        margin=settings.margin,
        prediction=prediction,
        replicas_at_high_rate=choice.needed,
        reasons=(
            *reasons, explanations.capacity(chosen, intent, settings), explanations.margin(settings),
            explanations.replicas_at_high_rate(choice.needed, intent, chosen, request.load),
            explanations.prediction(prediction, is_exact, settings),
            limit_reason, min_reason, max_reason, *scaler_reasons, timeout_reason, *resource_reasons,
        ),
    )  # fmt: skip
    return with_warnings(decided, intent, choice.replica, min_replicas, settings)


def _predict(choice: Choice, rate_rps: float, concurrency_limit: int, settings: Settings) -> tuple[Prediction, bool]:
    """What a replica does at a rate, and whether that is exact."""
    stages, limit = choice.chosen.stages, concurrency_limit or None
    found = exact(batch_queue(choice.replica, stages), rate_rps, limit)
    if found is not None:
        return found, True
    return simulated(
        choice.replica, stages, rate_rps, settings=settings, requests=settings.confirmed_requests,
        concurrency_limit=limit,
    ), False  # fmt: skip


def _carried(
    choice: Choice, at_capacity: Prediction, concurrency_limit: int, start_s: float, request: PlanRequest
) -> Carried:
    """What a replica does at quarters of its capacity, for the rehearsal."""
    settings, chosen = request.settings, choice.chosen
    below = [
        predict(choice.replica, chosen.stages, share * chosen.capacity_rps, settings=settings,
                requests=settings.simulated_requests // 4, concurrency_limit=concurrency_limit or None).mean_concurrency
        for share in _QUARTERS
    ]  # fmt: skip
    return Carried(
        capacity_rps=chosen.capacity_rps, saturated_rps=chosen.saturated_rps, start_s=start_s,
        slo_s=request.intent.slo.p99_s, concurrency=(0.0, *below, at_capacity.mean_concurrency),
    )  # fmt: skip


def _targets(intent: Intent, at_capacity: Prediction, concurrency_limit: int) -> dict[str, tuple[float, Reason]]:
    """The soft target by metric; the user's own for each where one is set."""
    pinned = intent.pins.scale_target
    if pinned is None and "target" in intent.pins.autoscaling:
        pinned = float(intent.pins.autoscaling["target"])
    if pinned is not None:
        return {metric: (pinned, explanations.set_by_user("scaling.target", pinned)) for metric in PLANNED_METRICS}
    limit = concurrency_limit or concurrency.KNATIVE_MAX_CONCURRENCY
    return {metric: concurrency.target(at_capacity, limit, metric) for metric in PLANNED_METRICS}


def _timeout(
    intent: Intent, chosen: Candidate, concurrency_limit: int, min_replicas: int, start_s: float
) -> tuple[float, Reason]:
    if intent.pins.timeout_s is not None:
        return intent.pins.timeout_s, explanations.set_by_user("timeout_s", intent.pins.timeout_s)
    drain_s = _QUEUE_FULL * max(1, concurrency_limit) / chosen.saturated_rps
    waking_s = 2 * start_s if min_replicas == 0 else 0.0
    wanted_s = math.ceil(_DRAIN_QUIET_S + intent.slo.p99_s + drain_s + waking_s)
    text = (
        f"{_DRAIN_QUIET_S} s that a stopping pod stays up for late requests + the SLO + {drain_s:.3g} s to work off a full "
        f"queue ({_QUEUE_FULL} x the concurrency limit)"
    )
    if waking_s:
        text += f" + {waking_s:.3g} s, twice a cold start, for requests that wake it from zero"
    text += "; it is also the grace period of its pods, so not longer"
    numbers = {"queue_drain_s": drain_s, "waking_s": waking_s, "slo_p99_s": intent.slo.p99_s}
    if wanted_s > _MAX_TIMEOUT_S:
        text += f"; Knative allows at most {_MAX_TIMEOUT_S} s"
    return float(min(wanted_s, _MAX_TIMEOUT_S)), Reason(
        field="timeout_s", code="timeout-full-queue", text=text, numbers=numbers
    )
