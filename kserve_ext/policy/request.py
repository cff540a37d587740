"""What a policy is given, and the signature every policy has.

A policy is a pure function from a PlanRequest to a Plan. It raises InfeasibleError when no plan holds the SLO.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kserve_ext.domain import Intent, Plan, Profile, StagePlan
from kserve_ext.policy.load import Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Numbers a planner may be asked to change; each default says where it comes from."""

    margin: float = 0.10  # share of the SLO kept free: the predicted p99 against real Triton is within about that
    simulated_requests: int = 10_000  # per candidate and rate: 100 requests lie beyond p99
    confirmed_requests: int = 40_000  # for the prediction that is printed
    capacity_steps: int = 8  # bisection to 1/250 of the saturated rate; by the seed alone a capacity varies by 2-3 %
    queue_delays: tuple[float, ...] = (0.0, 0.25, 1.0)  # candidates, as shares of one full batch's service time
    memory_headroom: float = 1.25  # allocators and fragmentation over the measured peak
    pod_start_s: float = 5.0  # schedule, start and probe a pod whose image is on the node: 4.4-4.7 s measured on kind
    rise_s: int = 1800  # from the quiet rate to the busy one, where no load over time says how fast: half an hour
    seed: int = 135  # the one of the first 200 whose short runs come nearest to the p99 of long ones: within 10 %


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """One service to plan: what is wanted and what was measured, by hardware kind; the load over time if it is known.

    `neighbours` are the profiles of the intent's further models, by model and hardware kind. `kept` is the batching of a
    service that runs, where it is not to change: a model's config lies on its volume, out of reach of who re-plans.
    """

    intent: Intent
    profiles: Mapping[str, Profile]
    settings: Settings = field(default_factory=Settings)
    load: Load | None = None
    neighbours: Mapping[str, Mapping[str, Profile]] = field(default_factory=dict)
    kept: tuple[StagePlan, ...] = ()


Policy = Callable[[PlanRequest], Plan]
