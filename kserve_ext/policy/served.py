"""How one replica serves one model: batching as chosen, the concurrency it takes, what that does at a rate, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kserve_ext.domain import Intent, Prediction, Profile, Reason
from kserve_ext.policy import concurrency, explanations
from kserve_ext.policy.batching import Candidate
from kserve_ext.policy.rehearsal import Carried
from kserve_ext.policy.replica import Replica, batch_queue, exact, predict, simulated
from kserve_ext.policy.request import Settings

_QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One hardware kind, one replica size, and the candidates that hold there."""

    profile: Profile
    replica: Replica
    candidates: tuple[Candidate, ...]  # most capacity first
    chosen: Candidate
    needed: int  # replicas at the busy rate
    refused: Mapping[str, str] = field(default_factory=dict)  # kinds tried before, and what binds there


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A choice with what follows from it for one model."""

    intent: Intent
    choice: Choice
    concurrency_limit: int
    at_capacity: Prediction
    prediction: Prediction  # at the busy rate spread over the replicas needed
    reasons: tuple[Reason, ...]  # of the stages
    limit_reason: Reason
    prediction_reason: Reason


def limit_s(intent: Intent, settings: Settings) -> float:
    """What the simulated p99 must not exceed: the SLO less the margin."""
    return intent.slo.p99_s * (1 - settings.margin)


def serve(intent: Intent, choice: Choice, settings: Settings) -> Served:
    """The model as the replica serves it; a concurrency limit that the user pinned is kept."""
    chosen = choice.chosen
    limit, reason = concurrency.limit(choice.replica, chosen, limit_s(intent, settings), settings)
    if intent.pins.container_concurrency is not None:
        limit = intent.pins.container_concurrency
        reason = explanations.set_by_user("concurrency_limit", limit)
    prediction = _predict(choice, intent.rate.high_rps / choice.needed, limit, settings)
    return Served(
        intent=intent, choice=choice, concurrency_limit=limit, prediction=prediction, limit_reason=reason,
        at_capacity=_predict(choice, chosen.capacity_rps, limit, settings),
        reasons=explanations.stages(choice.replica, choice.candidates, chosen),
        prediction_reason=explanations.prediction(prediction, settings),
    )  # fmt: skip


def carried(served: Served, start_s: float, settings: Settings) -> Carried:
    """What a replica does at quarters of its capacity, for the rehearsal."""
    choice, chosen = served.choice, served.choice.chosen
    below = [
        predict(choice.replica, chosen.stages, share * chosen.capacity_rps, settings=settings,
                requests=settings.simulated_requests // 4, concurrency_limit=served.concurrency_limit or None).mean_concurrency
        for share in _QUARTERS
    ]  # fmt: skip
    return Carried(
        capacity_rps=chosen.capacity_rps, saturated_rps=chosen.saturated_rps, start_s=start_s,
        slo_s=served.intent.slo.p99_s, concurrency=(0.0, *below, served.at_capacity.mean_concurrency),
    )  # fmt: skip


def _predict(choice: Choice, rate_rps: float, concurrency_limit: int, settings: Settings) -> Prediction:
    """What a replica does at a rate: exactly where that can be had."""
    stages, limit = choice.chosen.stages, concurrency_limit or None
    return exact(batch_queue(choice.replica, stages), rate_rps, limit) or simulated(
        choice.replica,
        stages,
        rate_rps,
        settings=settings,
        requests=settings.confirmed_requests,
        concurrency_limit=limit,
    )
