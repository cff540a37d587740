"""Profiles and intents with made-up numbers, for tests: s(b, k) = (fixed + per row x b) x (1 + slowing x (k - 1))."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from kserve_ext.domain import Intent, Pins, Profile, Quantiles, RateRange, Scaler, ServicePoint, Slo, StageProfile
from kserve_ext.policy import PlanRequest, Settings

SMALL = Settings(simulated_requests=600, confirmed_requests=1200, capacity_steps=6, rise_s=30)
POWERS = (1, 2, 4, 8, 16)
WITHOUT_SPREAD = Quantiles(probabilities=(0.5,), values=(1.0,))
USUAL_SPREAD = Quantiles(probabilities=(0.01, 0.5, 0.9, 0.99), values=(0.9, 0.98, 1.1, 1.4))


def service_point(
    batch: int, mean_s: float, *, instances: int = 1, requests: int = 1, count: int = 100,
    spread: Quantiles = USUAL_SPREAD, after_idle_extra_s: float = 0.0,
) -> ServicePoint:  # fmt: skip
    quantiles = Quantiles(probabilities=spread.probabilities, values=tuple(value * mean_s for value in spread.values))
    return ServicePoint(
        batch=batch, instances=instances, requests=requests, count=count, mean_s=mean_s, quantiles_s=quantiles,
        server_compute_s=0.9 * mean_s, after_idle_extra_s=after_idle_extra_s,
    )  # fmt: skip


def stage_profile(
    model: str = "m", *, fixed_s: float = 0.004, row_s: float = 0.0005, batches: Sequence[int] = POWERS,
    instances: int = 1, slowing: float = 0.1, batchable: bool = True, spread: Quantiles = USUAL_SPREAD,
    after_idle_extra_s: float = 0.0,
) -> StageProfile:  # fmt: skip
    points = tuple(
        service_point(
            batch, (fixed_s + row_s * batch) * (1 + slowing * (k - 1)), instances=k, spread=spread,
            after_idle_extra_s=after_idle_extra_s,
        )
        for k in range(1, instances + 1)
        for batch in (batches if batchable else (1,))
    )  # fmt: skip
    return StageProfile(
        model=model, max_batch=batches[-1] if batchable else 0, points=points,
        memory_loaded_bytes=50e6, memory_peak_bytes=80e6,
    )  # fmt: skip


def profile(
    *stages: StageProfile, hardware: str = "cpu", load_s: float = 1.5, overhead_s: float = 0.0008,
    overhead_after_idle_extra_s: float = 0.0,
) -> Profile:  # fmt: skip
    return Profile(
        model="m", hardware=hardware, model_digest="sha256:0", stages=stages or (stage_profile(),),
        overhead_s=Quantiles(probabilities=(0.5, 0.99), values=(overhead_s, 2 * overhead_s)), load_s=load_s,
        cpu_per_request_s=0.0006, memory_server_bytes=200e6, host={"cpu": "made up"}, versions={"triton": "2.51"},
        measured_at="2026-01-01T00:00:00Z", overhead_after_idle_extra_s=overhead_after_idle_extra_s,
    )  # fmt: skip


def intent(
    *, slo_s: float = 0.05, low_rps: float = 20.0, high_rps: float = 400.0, availability: float = 0.999,
    hardware: tuple[str, ...] = ("cpu",), max_replicas: int | None = None,
    cold_start_budget_s: float | None = None, pins: Pins | None = None, scaler: Scaler | None = None,
    node_start_s: float | None = None,
) -> Intent:  # fmt: skip
    return Intent(
        name="service", namespace="default", model="m", slo=Slo(p99_s=slo_s, availability=availability),
        rate=RateRange(low_rps=low_rps, high_rps=high_rps), hardware=hardware, max_replicas=max_replicas,
        cold_start_budget_s=cold_start_budget_s, pins=pins or Pins(), scaler=scaler, node_start_s=node_start_s,
    )  # fmt: skip


def request(wanted: Intent, *profiles: Profile, settings: Settings = SMALL) -> PlanRequest:
    measured = profiles or (profile(),)
    return PlanRequest(intent=wanted, profiles={each.hardware: each for each in measured}, settings=settings)


stages = st.builds(
    stage_profile,
    fixed_s=st.floats(0.001, 0.03),
    row_s=st.floats(0.0001, 0.01),
    batches=st.sampled_from(((1, 2, 4), (1, 4, 16), (1, 8))),
    instances=st.integers(1, 2),
    slowing=st.floats(0.0, 1.2),
    batchable=st.booleans(),
    after_idle_extra_s=st.sampled_from((0.0, 0.0005, 0.003)),
)
profiles = st.builds(
    profile, stages, hardware=st.sampled_from(("cpu", "gpu")), load_s=st.floats(0.1, 120.0),
    overhead_s=st.floats(0.0001, 0.005), overhead_after_idle_extra_s=st.sampled_from((0.0, 0.0005, 0.002)),
)  # fmt: skip
