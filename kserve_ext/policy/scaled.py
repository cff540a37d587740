"""How a service is scaled: Knative's settings, or a HorizontalPodAutoscaler in their place, and room kept for replicas."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kserve_ext.domain import HorizontalScaling, Intent, Reason, Scaler, Scaling
from kserve_ext.policy.horizontal import Rise, Room, horizontal
from kserve_ext.policy.placeholders import placeholders
from kserve_ext.policy.rehearsal import Carried
from kserve_ext.policy.request import PlanRequest
from kserve_ext.policy.signals import Signal
from kserve_ext.policy.tuning import piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """What was decided, and why."""

    knative: Scaling  # of it only the bounds count where there is `horizontal`
    horizontal: HorizontalScaling | None = None
    placeholders: int | None = None
    reasons: tuple[Reason, ...] = ()


def horizontal_scaler(intent: Intent) -> Scaler | None:
    """The scaler that was asked for, where it is a HorizontalPodAutoscaler."""
    asked = intent.scaler
    return asked if asked is not None and (asked.on_cpu or asked.by_keda) else None


def horizontally(request: PlanRequest, knative: Scaling, room: Room, carried: Carried, signal: Signal) -> Scaled:
    """A HorizontalPodAutoscaler by this signal."""
    intent, settings = request.intent, request.settings
    rates_rps, words = piece(intent, settings, request.load)
    pinned = intent.pins.scale_target
    if pinned is None and signal.scaler is Scaler.KNATIVE_HPA and "target" in intent.pins.autoscaling:
        pinned = float(intent.pins.autoscaling["target"])
    decided, reasons = horizontal(
        signal, room, carried, Rise(rates_rps=rates_rps, words=words), pinned=pinned, seed=settings.seed
    )
    return Scaled(knative=knative, horizontal=decided, reasons=reasons)


def with_placeholders(scaled: Scaled, request: PlanRequest, capacity_rps: float) -> Scaled:
    """The same with room kept for the replicas that a rise asks for while a node is on its way."""
    if request.intent.node_start_s is None:
        return scaled
    rates_rps, _ = piece(request.intent, request.settings, request.load)
    most = max(1, scaled.knative.max_replicas - max(1, scaled.knative.min_replicas))
    count, reason = placeholders(request.intent.node_start_s, rates_rps, capacity_rps, most)
    return replace(scaled, placeholders=count, reasons=(*scaled.reasons, reason))
