"""A run of `digits` with made-up but consistent numbers: service times follow s(b, k), loads a simple queue."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from kserve_ext.domain import (
    Intent,
    Measurement,
    Pins,
    Plan,
    Prediction,
    Profile,
    Quantiles,
    RateRange,
    Reason,
    Resources,
    Scaling,
    ServicePoint,
    Slo,
    StagePlan,
    StageProfile,
)
from kserve_ext.report import Candidate, Command, LatencyRow, LoadRow, RunReport

BATCHES = (1, 2, 4, 8, 16, 32)
SLO = Slo(p99_s=0.080)


def service_s(batch: int, instances: int) -> float:
    return (0.0098 + 0.00052 * batch) * (1 + 0.72 * (instances - 1))


def point(batch: int, instances: int, requests: int) -> ServicePoint:
    mean_s = service_s(batch, instances) * (1.04 if requests > 1 else 1.0) * (1 + 0.02 * math.sin(7 * batch))
    spread = Quantiles(
        probabilities=(0.1, 0.5, 0.9, 0.99), values=(0.93 * mean_s, 0.99 * mean_s, 1.09 * mean_s, 1.3 * mean_s)
    )
    return ServicePoint(
        batch=batch,
        instances=instances,
        requests=requests,
        count=480 // batch + 40,
        mean_s=mean_s,
        quantiles_s=spread,
        server_compute_s=0.96 * mean_s,
    )


def load_curve(saturation_rps: float, least_s: float, slope_s: float, batch: float) -> tuple[LoadRow, ...]:
    """A queue: p99 = least + slope x u / (1 - u), without bound from saturation on."""
    rows = []
    for share in (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.72, 0.79, 0.84, 0.88, 0.92, 0.95, 0.98, 1.02):
        p99_s = least_s + slope_s * share / (1 - share) if share < 1 else math.inf
        rows.append(LoadRow(share * saturation_rps, 0.52 * p99_s, p99_s, 1 + (batch - 1) * min(share, 1) ** 2))
    return tuple(rows)


def measurement(**changes: object) -> Measurement:
    base = Measurement(
        rate_rps=400.0,
        duration_s=30.0,
        sent=12041,
        succeeded=12041,
        failed=0,
        throughput_rps=399.7,
        p50_s=0.0241,
        p95_s=0.0372,
        p99_s=0.0458,
        mean_batch=6.2,
        late_send_p99_s=0.00041,
        generator_cpu_share=0.21,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def candidates() -> tuple[Candidate, ...]:
    found = []
    for instances in (1, 2, 3):
        for batch in BATCHES:
            for delay_s in (0.0, 0.001, 0.002, 0.005):
                spare = max(0.0, 1 - (2 * service_s(batch, instances) + 3 * delay_s) / SLO.p99_s)
                capacity = 531 * batch * instances / service_s(batch, instances) * spare**0.5 / 653.8
                found.append(
                    Candidate(batch, delay_s, instances, capacity, 0.02 + 12.8 / capacity if capacity else math.inf)
                )
    return tuple(found)


REASONS = (
    Reason(
        field="stages[0].max_batch_size",
        code="smallest-batch-that-carries-the-rate",
        text="Batches of 16 carry 400 requests a second with 20 % of the SLO to spare; 8 would carry 371.",
        numbers={"capacity_rps": 531.0, "capacity_at_half_rps": 371.0, "margin_percent": 20.0},
    ),
    Reason(
        field="stages[0].max_queue_delay_s",
        code="delay-pays-under-load-only",
        text="No wait: at this rate the queue fills while an execution runs, and waiting would add to every latency.",
        numbers={"mean_batch": 6.1},
    ),
    Reason(
        field="stages[0].instances",
        code="one-instance-per-core-pair",
        text="A second instance takes 72 % longer per execution on 2 cores and brings 16 % more rows.",
        numbers={"slowdown_percent": 72.0, "cores": 2},
    ),
    Reason(
        field="concurrency_limit",
        code="concurrency-two-batches-in-flight",
        text="Two batches in flight for each instance: one runs while the next forms.",
        numbers={"batch": 16, "instances": 1},
    ),
    Reason(
        field="timeout_s",
        code="timeout-from-slo",
        text="Ten times the SLO, so that a stuck request ends before the client gives up.",
        numbers={"slo_p99_s": 0.08},
    ),
    Reason(
        field="scaling.target",
        code="target-from-predicted-concurrency",
        text="At the planned rate a replica holds 10.4 requests at once.",
        numbers={"mean_concurrency": 10.4},
    ),
    Reason(
        field="scaling.panic_threshold_percent",
        code="panic-above-noise",
        text="Panic starts at four times the target; Poisson arrivals alone reach 2.6 times.",
        numbers={"noise_p999": 2.6},
    ),
    Reason(
        field="resources.memory_bytes",
        code="memory-peak-plus-quarter",
        text="Server, model and the largest batch, and a quarter more.",
        numbers={"server_bytes": 214e6, "peak_bytes": 388e6},
    ),
    Reason(
        field="capacity_rps",
        code="capacity-by-simulation",
        text="The highest rate at which the simulated p99 stays within 64 ms.",
        numbers={"limit_s": 0.064},
    ),
)
WARNINGS = (
    Reason(
        field="scaling.max_replicas",
        code="pin-below-need",
        text="maxReplicas: 2 is set by hand; a burst of twice the busy rate would need 3.",
        numbers={"burst_rps": 800.0, "replicas_needed": 3},
    ),
)


@pytest.fixture
def plan() -> Plan:
    return Plan(
        service="digits",
        namespace="default",
        model="digits",
        hardware="cpu",
        protocol="rest",  # type: ignore[arg-type]
        slo=SLO,
        stages=(StagePlan(model="digits", max_batch_size=16, max_queue_delay_s=0.0, instances=1, threads=2),),
        concurrency_limit=32,
        scaling=Scaling(
            min_replicas=1,
            max_replicas=2,
            metric="concurrency",
            target=10.4,
            target_utilization_percent=100.0,
            panic_threshold_percent=400.0,
            panic_window_percent=10.0,
            target_burst_capacity=0,
            window_s=60.0,
            scale_down_delay_s=120.0,
            initial_scale=1,
        ),
        timeout_s=0.8,
        resources=Resources(cpu_cores=2.0, memory_bytes=768 * 2**20, shm_bytes=64 * 2**20),
        capacity_rps=531.0,
        margin=0.2,
        prediction=Prediction(
            rate_rps=400.0,
            throughput_rps=400.0,
            p50_s=0.0236,
            p95_s=0.0361,
            p99_s=0.0441,
            mean_batch=6.1,
            mean_concurrency=10.4,
        ),
        replicas_at_high_rate=1,
        reasons=REASONS,
        warnings=WARNINGS,
    )


@pytest.fixture
def profile() -> Profile:
    shapes = [(batch, count, requests) for batch in BATCHES for count in (1, 2) for requests in {1, batch}]
    return Profile(
        model="digits",
        hardware="cpu",
        model_digest="sha256:9f1c2b7a4e5d60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
        stages=(
            StageProfile(
                model="digits",
                max_batch=32,
                points=tuple(point(*shape) for shape in sorted(shapes)),
                memory_loaded_bytes=118e6,
                memory_peak_bytes=174e6,
            ),
        ),
        overhead_s=Quantiles(probabilities=(0.5, 0.99), values=(0.0012, 0.0031)),
        load_s=1.84,
        cpu_per_request_s=0.0021,
        memory_server_bytes=214e6,
        host={"cpu": "AMD EPYC 7B13", "cores": "2", "kernel": "6.1.0", "memory": "8 GiB"},
        versions={"triton": "2.51.0", "onnxruntime": "1.20.1", "kserve-ext": "0.1.0"},
        measured_at="2026-03-02T10:15:00Z",
    )


@pytest.fixture
def minimal(plan: Plan, profile: Profile) -> RunReport:
    """Nothing that may be left out: one protocol, no untuned run, no curves, no reasons."""
    return RunReport(
        source="digits.yaml:1",
        intent=Intent(
            name="digits", namespace="default", model="digits", slo=SLO, rate=RateRange(low_rps=400, high_rps=400)
        ),
        profile=replace(profile, host={}, versions={}),
        plan=replace(plan, reasons=(), warnings=()),
        measured={"http": measurement()},
        held=True,
        verdict="SLO held.",
        generated_by="kserve-ext 0.1.0",
    )


@pytest.fixture
def full(plan: Plan, profile: Profile) -> RunReport:
    """Everything at once: both protocols, the untuned run, curves, candidates, reasons, a warning."""
    curve = tuple(
        LatencyRow(batch, count, service_s(batch, count), 1.32 * service_s(batch, count))
        for count in (1, 2)
        for batch in BATCHES
    )
    return RunReport(
        source="manifests/examples/digits.yaml:1",
        intent=Intent(
            name="digits",
            namespace="default",
            model="digits",
            slo=SLO,
            rate=RateRange(low_rps=20, high_rps=400),
            pins=Pins(max_replicas=2),
        ),
        profile=profile,
        plan=plan,
        measured={"http": measurement(), "grpc": measurement(p50_s=0.0222, p95_s=0.0351, p99_s=0.0429, mean_batch=6.0)},
        untuned=measurement(
            throughput_rps=95.1, p50_s=4.61, p95_s=9.2, p99_s=9.87, mean_batch=1.0, succeeded=11420, failed=621,
            errors={"timed out": 621},
        ),
        held=True,
        verdict="p99 stayed within the SLO over HTTP and gRPC; the untuned service cannot take this load.",
        latency_curve=curve,
        load_curve=load_curve(640.0, 0.0338, 0.0062, 16),
        untuned_load_curve=load_curve(98.0, 0.013, 0.0069, 1),
        untuned_capacity_rps=86.3,
        candidates=candidates(),
        commands=(
            Command("kserve-ext run manifests/examples/digits.yaml", "Profile, plan, serve and verify"),
            Command("kserve-ext explain stages[0].max_batch_size", "Tell where one number comes from"),
            Command("kserve-ext verify manifests/examples/digits.yaml --protocol grpc", "Send the load again"),
        ),
        generated_by="kserve-ext 0.1.0",
    )  # fmt: skip
