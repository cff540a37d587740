"""What a report tells, as pure data: the run's verdict, its plan, and the curves behind them.

Latencies of a load are what the client sees, in seconds; an infinite one is a load that the configuration cannot take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kserve_ext.domain import Intent, Measurement, Plan, Profile


class LatencyRow(NamedTuple):
    """Fitted time of one execution of `batch` rows while `instances` instances are busy."""

    batch: int
    instances: int
    mean_s: float
    p99_s: float
    stage: int = 0  # index into plan.stages and profile.stages


class LoadRow(NamedTuple):
    """Predicted for one replica at one offered rate."""

    rate_rps: float
    p50_s: float
    p99_s: float
    mean_batch: float


class Candidate(NamedTuple):
    """One configuration considered: what one replica takes within the SLO less the margin, its p99 at the planned rate."""

    max_batch: int
    delay_s: float
    instances: int
    capacity_rps: float
    p99_s: float


class Command(NamedTuple):
    """A command that repeats a part of the run, and what it does in a few words."""

    line: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """Everything the page shows. Names and texts in it come from users; the page escapes them."""

    source: str  # file:line of the InferenceService
    intent: Intent
    profile: Profile
    plan: Plan
    measured: Mapping[str, Measurement]  # by protocol: "http", "grpc"
    untuned: Measurement | None = None  # the same load on no batching, one instance
    held: bool
    uncertain: bool = False  # the run cannot tell whether the SLO held: a late generator, too few requests
    verdict: str  # one sentence
    attainment: Mapping[str, float] = field(default_factory=dict)  # by protocol and "untuned", where it was counted
    latency_curve: tuple[LatencyRow, ...] = ()
    load_curve: tuple[LoadRow, ...] = ()  # one replica of the plan
    untuned_load_curve: tuple[LoadRow, ...] = ()  # one replica, no batching, one instance
    untuned_capacity_rps: float | None = None  # what one untuned replica takes, reckoned as plan.capacity_rps is
    candidates: tuple[Candidate, ...] = ()
    main_stage: int = 0  # index of the stage that binds, the one whose choices the candidates are
    commands: tuple[Command, ...] = ()  # how to reproduce; empty: the one `run` command
    generated_by: str  # e.g. "kserve-ext 0.1.0"
