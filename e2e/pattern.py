"""A daily pattern whose day is six minutes, through two services at once: one with the floor, one without; and simulated.

Both have the same model, which only waits, the same autoscaler and the same requests; a replica takes 20 s longer to start
than Triton needs. What the operator knows are seven days of the pattern, in phase with the clock of the wall. The simulator
gets the service times and the start-up as they were measured on the cluster before, and the same history.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from e2e import played, support
from e2e.autoscaler_watch import Watch
from e2e.played import CURVE, LIMIT, MODEL, SCALING, Floats, Measured
from e2e.support import Cluster, Object
from kserve_ext.bench.loop import LoadResult
from kserve_ext.domain import Profile, Quantiles, Service, ServicePoint, StageProfile
from kserve_ext.operator.models import LABEL, Models, read_model
from kserve_ext.operator.planner import Planner, named
from kserve_ext.operator.records import history_configmap
from kserve_ext.operator.review import service_of
from kserve_ext.operator.scaled import floor_settings
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.policy.forecast.history import append, empty
from kserve_ext.profile import store
from kserve_ext.simulate.path import Ending, Scaled, serve_scaled
from kserve_ext.simulate.scalers.kpa import from_plan

OWN = "kserve-ext"
MINUTE_RPS = (4, 4, 4, 40, 40, 40)  # a day: one replica is enough, then three are
SLO_S, DELAY_S, LOAD_S = 1.5, 20.0, 21.0
HISTORY_DAYS = 7
WITH, WITHOUT = "ahead", "behind"


def service(name: str, floor: str) -> Object:
    """The service of `played`, with what the operator needs to know; every number of its scaling is set by hand."""
    found = played.service(name)
    found["metadata"]["annotations"] |= {
        "kserve-ext.dev/slo-p99": f"{SLO_S:g}s", "kserve-ext.dev/rate": f"{min(MINUTE_RPS)}..{max(MINUTE_RPS)}rps",
        "kserve-ext.dev/model": MODEL, "kserve-ext.dev/hardware": "cpu", "kserve-ext.dev/floor": floor,
        "kserve-ext.dev/max-replicas": str(SCALING.max_replicas),
    }  # fmt: skip
    return found


def profile() -> Profile:
    """The model as a profile: it waits as long as the curve says, and so does every replica that starts."""
    even = Quantiles(probabilities=(0.5,), values=(1.0,))
    points = tuple(
        ServicePoint(batch=rows, instances=1, requests=rows, count=100, mean_s=seconds, server_compute_s=seconds,
                     quantiles_s=replace(even, values=(seconds,))) for rows, seconds in CURVE
    )  # fmt: skip
    stage = StageProfile(
        model=MODEL, max_batch=played.MAX_BATCH, points=points, memory_loaded_bytes=5e7, memory_peak_bytes=6e7
    )
    return Profile(
        model=MODEL, hardware="cpu", model_digest="0" * 64, stages=(stage,), overhead_s=replace(even, values=(0.005,)),
        load_s=LOAD_S, cpu_per_request_s=0.002, memory_server_bytes=1e8, host={}, versions={}, measured_at="2026-12-01T00:00:00Z",
    )  # fmt: skip


def model_configmap() -> Object:
    """The profile as the operator reads it."""
    data = {"profile.cpu.json": store.dump(profile())}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": MODEL, "labels": {LABEL: MODEL}},
        "data": data,
    }


def history(end_s: int, seed: int = 7) -> tuple[int, ...]:
    """Requests by minute of the days before, oldest first."""
    minutes = HISTORY_DAYS * 1440
    rates = np.array([rate_at(end_s - 60 * (minutes - index)) for index in range(minutes)])
    return tuple(np.random.default_rng(seed).poisson(60 * rates).tolist())


def rate_at(moment_s: float) -> int:
    """Requests a second at a moment of the wall's clock."""
    return MINUTE_RPS[int(moment_s // 60) % len(MINUTE_RPS)]


@contextmanager
def slow_starts(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The models of `played`, each of which thinks before it is ready."""
    with played.slow_models(cluster, namespace):
        file = cluster.given.models / namespace / MODEL / MODEL / "1" / "model.py"
        head = "    def initialize(self, args: dict[str, str]) -> None:\n"
        text = file.read_text()
        assert head in text
        file.write_text(text.replace(head, f"{head}        time.sleep({DELAY_S})\n"))
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One service: share of its requests that were late or lost, and what its replicas came to, starting ones included."""

    late_share: float
    replica_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Seen on the cluster and said by the simulator, by service."""

    seen: dict[str, Run]
    said: dict[str, Run]

    def late_ratio(self, runs: dict[str, Run]) -> float:
        """Late requests with the floor for each one without."""
        return runs[WITH].late_share / runs[WITHOUT].late_share

    def replica_ratio(self, runs: dict[str, Run]) -> float:
        """Replica-seconds with the floor for each one without."""
        return runs[WITH].replica_s / runs[WITHOUT].replica_s

    def show(self) -> None:
        for where, runs in (("cluster", self.seen), ("simulator", self.said)):
            for name, run in runs.items():
                print(f"{where:10} {name:7} late {run.late_share:7.2%}  {run.replica_s:7.0f} replica-seconds")
            print(
                f"{where:10} ratios  late {self.late_ratio(runs):.3f}, replica-seconds {self.replica_ratio(runs):.3f}",
                flush=True,
            )


def play(cluster: Cluster, namespace: str, days: int, seed: int = 11) -> Outcome:
    """Make both services, measure one, wait for the next day of the pattern, then send both the same requests."""
    cluster.apply(model_configmap(), namespace)
    begin_s = int(time.time()) // 60 * 60
    counts = history(begin_s)
    known, _ = append(empty(60, 20_160), float(begin_s - 60 * len(counts)), list(counts), 60)
    cluster.apply(history_configmap(OWN, namespace, WITH, known), OWN)
    cluster.apply([service(WITHOUT, "off"), service(WITH, "off")], namespace)
    for name in (WITH, WITHOUT):
        cluster.wait_ready("isvc", name, namespace, seconds=300)
    measured = played.measure(cluster, WITHOUT, namespace, revision_of(cluster, WITHOUT, namespace))
    cluster.apply(service(WITH, "on"), namespace)  # another annotation: another Revision
    cluster.wait_ready("isvc", WITH, namespace, seconds=300)
    day_s = 60 * len(MINUTE_RPS)
    dawn_s = (time.time() + SCALING.window_s) // day_s * day_s + day_s
    support.poll("the next day begins", lambda: time.time() >= dawn_s, seconds=2 * day_s + 120, every=0.02)
    due_s, duration_s = played.arrivals(MINUTE_RPS * days, seed, 60), days * day_s
    with ThreadPoolExecutor(2) as together:
        runs = dict(zip((WITH, WITHOUT), together.map(
            lambda name: played.play(cluster, name, namespace, revision_of(cluster, name, namespace), due_s), (WITH, WITHOUT)
        ), strict=True))  # fmt: skip
    seen = {name: _seen(*run, duration_s) for name, run in runs.items()}
    return Outcome(seen=seen, said=said(due_s, duration_s, measured, history(int(dawn_s))))


def said(due_s: Floats, duration_s: int, measured: Measured, known: tuple[int, ...]) -> dict[str, Run]:
    """The same two in the simulator."""
    wanted: Service = service_of({**service(WITH, "on")}, "pattern")
    models = Models(known={("default", MODEL): read_model(_in_default(model_configmap()))})
    plan = named(Planner(0).ask(wanted, models).result(), wanted.intent)
    reactive = from_plan(SCALING, LIMIT)
    floor = replace(floor_settings(plan, profile()), start_up_s=measured.start_up_s)
    ahead = FlooredScaler(reactive=reactive, floor=floor, late_above=SLO_S * plan.capacity_rps, history=known)
    found = {}
    for name, scaler in ((WITH, ahead), (WITHOUT, reactive)):
        run = serve_scaled(
            due_s,
            scaler,
            stages=measured.stages,
            limit=LIMIT,
            start_up_s=measured.start_up_s,
            duration_s=duration_s + 60,
        )
        found[name] = _said(run, measured, duration_s)
    return found


def revision_of(cluster: Cluster, name: str, namespace: str) -> str:
    """The Revision that takes a service's traffic."""
    status = cluster.get("isvc", name, namespace)["status"]["components"]["predictor"]
    return str(status["latestReadyRevision"])


def _seen(result: LoadResult, watch: Watch, began_s: float, duration_s: int) -> Run:
    took_s = np.where(result.ok, result.done_s - result.due_s, np.inf)
    steps = [(one.at_s - began_s, max(one.wanted, one.ready)) for one in watch.changes]
    return Run(late_share=float(np.mean(took_s > SLO_S)), replica_s=_replica_s(steps, duration_s))


def _said(run: Scaled, measured: Measured, duration_s: int) -> Run:
    overhead_s = float(np.median(measured.overhead_levels_s))
    took_s = np.where(run.endings == Ending.ANSWERED, run.ended_s - run.arrivals_s + overhead_s, np.inf)
    steps = [(one.at_s, max(one.wanted, one.ready)) for one in run.steps]
    return Run(late_share=float(np.mean(took_s > SLO_S)), replica_s=_replica_s(steps, duration_s))


def _replica_s(steps: Sequence[tuple[float, int]], duration_s: int) -> float:
    """Replicas over the time from 0 to the end."""
    ends = [*(at_s for at_s, _ in steps[1:]), float(duration_s)]
    return sum(
        replicas * max(0.0, min(end_s, duration_s) - max(begin_s, 0.0))
        for (begin_s, replicas), end_s in zip(steps, ends, strict=True)
    )


def _in_default(configmap: Object) -> Object:
    return {**configmap, "metadata": {**configmap["metadata"], "namespace": "default"}}
