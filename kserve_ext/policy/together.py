"""Several models in one replica, each with its own SLO and rates: intent and profiles in, one plan out.

Each model is planned as if its neighbours were busy all the time, so it holds its SLO whatever they do, and no model's
numbers depend on the order in which they are named. The replicas are those of the model that needs most. The autoscaler
sees requests of all models as one number: its target is the lowest sum at which any mix within the rates asked for
can bring a replica to its capacity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kserve_ext.domain import Intent, NeighbourPlan, Pins, Plan, Profile, RateRange, Reason
from kserve_ext.errors import InfeasibleError, Problem, ProfileError
from kserve_ext.policy import batching, concurrency, explanations, infeasible, replicas, resources
from kserve_ext.policy.contradictions import with_warnings
from kserve_ext.policy.horizontal import Room
from kserve_ext.policy.members import Member, check_apart, choices_for, members_of
from kserve_ext.policy.rehearsal import Carried
from kserve_ext.policy.request import PlanRequest, Settings
from kserve_ext.policy.scaled import Scaled, horizontal_scaler, horizontally, with_placeholders
from kserve_ext.policy.scaling import scaling
from kserve_ext.policy.served import Choice, Served, serve
from kserve_ext.policy.signals import requests_signal
from kserve_ext.policy.timeouts import queue_drain_s, timeout
from kserve_ext.policy.tuning import Rules, has_choice, tune


def plan_together(request: PlanRequest) -> Plan:
    """The plan of a replica that holds the intent's model and its neighbours, on the first kind that holds them all.

    Raises InfeasibleError when none does, ProfileError when a model was not profiled on any kind allowed.
    """
    refusals: dict[str, InfeasibleError] = {}
    for kind, profiles in _profiled(request).items():
        try:
            return _plan_on(request, profiles, {other: error.binding for other, error in refusals.items()})
        except InfeasibleError as error:
            refusals[kind] = error
    raise infeasible.on_no_hardware(tuple(refusals), tuple(refusals.values()))


def _profiled(request: PlanRequest) -> dict[str, tuple[Profile, ...]]:
    """Profiles of all models by kind, the intent's model first, for the kinds on which every one was measured."""
    intent = request.intent
    known = (request.profiles, *(request.neighbours.get(each.model, {}) for each in intent.neighbours))
    usable = [kind for kind in intent.hardware if all(kind in profiles for profiles in known)]
    if usable:
        return {kind: tuple(profiles[kind] for profiles in known) for kind in usable}
    models = (intent.model, *(each.model for each in intent.neighbours))
    missing = [model for model, profiles in zip(models, known, strict=True) if not set(profiles) & set(intent.hardware)]
    raise ProfileError(
        *(
            Problem(field="kserve-ext.dev/neighbours", what=f"no profile of {model} for the hardware asked for",
                    allowed=", ".join(intent.hardware))
            for model in missing or models
        ),
        remedy=f"measure each on the same hardware, e.g. `kserve-ext profile {(missing or models)[0]} "
        f"--hardware {intent.hardware[0]}`",
    )  # fmt: skip


def _plan_on(request: PlanRequest, profiles: Sequence[Profile], refused: Mapping[str, str]) -> Plan:
    intent, settings = request.intent, request.settings
    check_apart(profiles)
    members = members_of(intent, profiles)
    choices = choices_for(members, intent, settings)
    target_rps = _target(members, choices)
    total = RateRange(
        low_rps=math.fsum(each.intent.rate.low_rps for each in members),
        high_rps=math.fsum(each.intent.rate.high_rps for each in members),
    )
    needed = batching.replicas_for(total.high_rps, target_rps)
    if intent.max_replicas is not None and needed > intent.max_replicas:
        raise _too_few(intent, needed, total.high_rps, target_rps)
    served = [
        serve(replace(each.intent, pins=Pins()), replace(choice, needed=needed), settings)
        for each, choice in zip(members, choices, strict=True)
    ]
    whole = replace(intent, rate=total)
    limit, limit_reason = _limit(intent, served)
    start_s = replicas.cold_start_s(profiles, settings)
    least = [replicas.least(each.intent, choice.chosen.capacity_rps, start_s)
             for each, choice in zip(members, choices, strict=True)]  # fmt: skip
    min_replicas, min_reason = max(least, key=lambda found: found[0])
    max_replicas, max_reason = replicas.most(whole, needed, min_replicas)
    room = Room(min_replicas=min(min_replicas, max_replicas), max_replicas=max_replicas, needed=needed)
    scaled = _scaled(replace(request, intent=whole), served, target_rps, room, limit, start_s)
    timeout_s, timeout_reason = timeout(
        intent, math.fsum(queue_drain_s(each) for each in served), max(each.intent.slo.p99_s for each in members),
        scaled.knative.min_replicas, start_s,
    )  # fmt: skip
    wanted, resource_reasons = resources.size(
        [resources.Load(profile=each.choice.profile, stages=each.choice.chosen.stages,
                        capacity_rps=each.choice.chosen.capacity_rps) for each in served], intent.pins, settings,
    )  # fmt: skip
    first, *others = served
    decided = Plan(
        service=intent.name, namespace=intent.namespace, model=intent.model, hardware=profiles[0].hardware,
        protocol=intent.protocol, slo=intent.slo, stages=first.choice.chosen.stages, concurrency_limit=limit,
        scaling=scaled.knative, horizontal=scaled.horizontal, placeholders=scaled.placeholders, timeout_s=timeout_s,
        resources=wanted, capacity_rps=first.choice.chosen.capacity_rps,
        margin=settings.margin, prediction=first.prediction, replicas_at_high_rate=needed,
        neighbours=tuple(_neighbour(each) for each in others),
        reasons=(
            explanations.hardware(intent, profiles[0], refused), *_model_reasons(served, settings),
            explanations.margin(settings), _needed_reason(needed, total.high_rps, target_rps, members, choices),
            limit_reason, min_reason, max_reason, *scaled.reasons, timeout_reason, *resource_reasons,
        ),
    )  # fmt: skip
    # What the pods carry is told by the sum of all requests, as the autoscaler sees them.
    judged = with_warnings(replace(decided, capacity_rps=target_rps), whole, None, min_replicas, settings)
    return replace(decided, warnings=(*judged.warnings, *_starved(intent, served)))


def _target(members: Sequence[Member], choices: Sequence[Choice]) -> float:
    """Requests per second and replica, of all models together, below which none is beyond its capacity.

    A model at its busy rate with the others at their quiet ones makes the smallest sum for what it needs:
    capacity x (1 + quiet rates of the others / its busy rate).
    """
    lows = [member.intent.rate.low_rps for member in members]
    return min(
        choice.chosen.capacity_rps
        * (1.0 + math.fsum(low for place, low in enumerate(lows) if place != index) / member.intent.rate.high_rps)
        for index, (member, choice) in enumerate(zip(members, choices, strict=True))
    )


def _limit(intent: Intent, served: Sequence[Served]) -> tuple[int, Reason]:
    """The concurrency limit of the replica: what keeps every model's instances busy, added up."""
    if intent.pins.container_concurrency is not None:
        pinned = intent.pins.container_concurrency
        return pinned, explanations.set_by_user("concurrency_limit", pinned)
    wanted = sum(each.concurrency_limit for each in served)
    chosen = min(wanted, concurrency.KNATIVE_MAX_CONCURRENCY)
    parts = " + ".join(f"{each.concurrency_limit} for {each.intent.model}" for each in served)
    text = f"{parts}: a replica admits what keeps the instances of each model busy"
    if chosen < wanted:
        text += f"; Knative allows {chosen}"
    return chosen, Reason(
        field="concurrency_limit", code="concurrency-sum-of-models", text=text, numbers={"wanted": float(wanted)}
    )


def _starved(intent: Intent, served: Sequence[Served]) -> Iterator[Reason]:
    """A pinned limit that leaves a model's instances idle."""
    pinned, wanted = intent.pins.container_concurrency, sum(each.concurrency_limit for each in served)
    if pinned and pinned < wanted:
        text = f"containerConcurrency {pinned} is kept, but {wanted} keep the instances of every model busy"
        numbers = {"pinned": float(pinned), "wanted": float(wanted)}
        yield Reason(field="concurrency_limit", code="concurrency-starves-models", text=text, numbers=numbers)


def _scaled(
    request: PlanRequest, served: Sequence[Served], target_rps: float, room: Room, limit: int, start_s: float
) -> Scaled:
    """The autoscaler over the sum of all requests, whose rates `request.intent` has."""
    whole, settings = request.intent, request.settings
    by_user = "metric" in whole.pins.autoscaling or whole.pins.scale_metric is not None
    pinned = whole.pins if by_user else replace(whole.pins, scale_metric="rps")
    target, target_reason = _told_target(whole, served, target_rps, by_rps=not by_user)
    scaler, reasons = scaling(
        replace(whole, pins=pinned), target=target, needed=room.needed, min_replicas=room.min_replicas,
        max_replicas=room.max_replicas, start_s=start_s,
    )  # fmt: skip
    carried = _carried(served, target_rps, start_s)
    if horizontal_scaler(whole) is not None:
        signal = requests_signal(target_rps, carried.saturated_rps, target_reason.text)
        return with_placeholders(horizontally(request, scaler, room, carried, signal), request, target_rps)
    if not by_user:
        text = "arrivals add up over the models; requests in flight do not, as those of one model take longer than another's"
        told = Reason(field="scaling.metric", code="metric-rps-of-all-models", text=text)
        reasons = tuple(told if reason.field == "scaling.metric" else reason for reason in reasons)
    reasons = (target_reason, *reasons)
    fixed = replace(whole, pins=replace(pinned, scale_target=target))
    if has_choice(scaler, fixed, target_rps):
        rules = Rules(scaling=scaler, reasons=reasons, targets={scaler.metric: (target, target_reason)})
        scaler, reasons = tune(rules, carried, fixed, limit, settings, None)
    return with_placeholders(Scaled(knative=scaler, reasons=reasons), request, target_rps)


def _told_target(intent: Intent, served: Sequence[Served], target_rps: float, *, by_rps: bool) -> tuple[float, Reason]:
    pinned = intent.pins.scale_target
    if pinned is None and "target" in intent.pins.autoscaling:
        pinned = float(intent.pins.autoscaling["target"])
    if pinned is not None:
        return pinned, explanations.set_by_user("scaling.target", pinned)
    if not by_rps:
        first = min(served, key=lambda each: each.at_capacity.mean_concurrency)
        chosen = max(0.01, math.floor(first.at_capacity.mean_concurrency * 100) / 100)
        text = f"with {chosen:g} requests in flight {first.intent.model} alone can be at its capacity"
        return chosen, Reason(field="scaling.target", code="target-first-model-full", text=text)
    chosen = max(0.01, math.floor(target_rps * 100) / 100)
    parts = ", ".join(
        f"{each.intent.model} {each.choice.chosen.capacity_rps:.4g} rps" for each in served
    )  # fmt: skip
    text = (
        f"a replica carries {parts}; from a sum of {target_rps:.4g} rps on some mix within the rates asked for brings one of "
        f"them there"
    )
    numbers = {each.intent.model: each.choice.chosen.capacity_rps for each in served}
    return chosen, Reason(field="scaling.target", code="target-any-mix-rps", text=text, numbers=numbers)


def _carried(served: Sequence[Served], target_rps: float, start_s: float) -> Carried:
    """The replica as one: at its target it is at its capacity, and it saturates as soon as one of the models does."""
    room = min(each.choice.chosen.saturated_rps / each.choice.chosen.capacity_rps for each in served)
    return Carried(
        capacity_rps=target_rps, saturated_rps=room * target_rps, start_s=start_s,
        slo_s=min(each.intent.slo.p99_s for each in served),
        concurrency=(0.0, math.fsum(each.at_capacity.mean_concurrency for each in served)),
    )  # fmt: skip


def _neighbour(served: Served) -> NeighbourPlan:
    chosen = served.choice.chosen
    return NeighbourPlan(
        model=served.intent.model, slo=served.intent.slo, stages=chosen.stages, capacity_rps=chosen.capacity_rps,
        prediction=served.prediction,
    )  # fmt: skip


def _model_reasons(served: Sequence[Served], settings: Settings) -> Iterator[Reason]:
    """Why each model is served as it is, those of a neighbour under its own path."""
    for index, each in enumerate(served):
        path = f"neighbours[{index - 1}]." if index else ""
        beside = ", ".join(other.intent.model for other in served if other is not each)
        capacity = explanations.capacity(each.choice.chosen, each.intent, settings)
        told = replace(capacity, text=f"{capacity.text}; with every instance of {beside} busy beside it")
        for reason in (*each.reasons, told, each.prediction_reason):
            yield replace(reason, field=path + reason.field)


def _needed_reason(
    needed: int, high_rps: float, target_rps: float, members: Sequence[Member], choices: Sequence[Choice]
) -> Reason:
    alone = {
        member.intent.model: batching.replicas_for(member.intent.rate.high_rps, choice.chosen.capacity_rps)
        for member, choice in zip(members, choices, strict=True)
    }
    parts = ", ".join(f"{model} {count}" for model, count in alone.items())
    text = f"{high_rps:.4g} rps of all models / {target_rps:.4g} rps a replica, rounded up; by their own rates: {parts}"
    numbers = {"high_rps": high_rps, "target_rps": target_rps}
    return Reason(field="replicas_at_high_rate", code="replicas-sum-over-target", text=text, numbers=numbers)


def _too_few(intent: Intent, needed: int, high_rps: float, target_rps: float) -> InfeasibleError:
    most_rps = infeasible.round_down(target_rps * (intent.max_replicas or 1))
    return InfeasibleError(
        f"{intent.name}: {high_rps:.4g} rps of all models need {needed} replicas ({target_rps:.4g} rps each), and "
        f"kserve-ext.dev/max-replicas allows {intent.max_replicas}",
        binding="max-replicas", nearest=f'kserve-ext.dev/max-replicas: "{needed}", or rates of {most_rps:.10g}rps together',
    )  # fmt: skip
