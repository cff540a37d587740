"""One service whose model only waits, the same requests through it on the cluster and through the simulator, side by side.

The simulator gets the arrival times, what Triton in the pod said each batch takes, what a request costs on its way,
and how long a replica took to start: all measured on the cluster before the requests are played. Nothing is fitted.
"""

from __future__ import annotations

import itertools
import json
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from e2e import support
from e2e.autoscaler_watch import Watch, watching
from e2e.support import Cluster, Object
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import LoadResult, run_closed_loop, run_open_loop
from kserve_ext.bench.message import Request
from kserve_ext.bench.payload import stack
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.domain import Scaling
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.law import LEVELS, ServiceLaw
from kserve_ext.simulate.path import Ending, Scaled, serve_scaled
from kserve_ext.simulate.scalers.kpa import from_plan
from kserve_ext.triton.answers import ModelStatistics, read_statistics

REPOSITORY = Path(__file__).parents[1] / "model_repo"
MODEL = "emulated"
# Rows and seconds: slow enough that four replicas and their load leave two cores free.
CURVE = ((1, 0.200), (2, 0.240), (4, 0.320), (8, 0.480))
MAX_BATCH = CURVE[-1][0]
LIMIT = 2 * MAX_BATCH
SCALING = Scaling(
    min_replicas=1, max_replicas=4, metric="concurrency", target=8, target_utilization_percent=70,
    panic_threshold_percent=200, panic_window_percent=10, target_burst_capacity=211, window_s=60,
    scale_down_delay_s=0, initial_scale=1,
)  # fmt: skip
SAMPLE_S = 2.0  # between two looks at the replicas wanted: as often as Knative decides
WINDOW_S = 30  # of the requests that a p95 is taken of
_REQUESTS_PER_BATCH = 12
_SETTLE_S = 15.0  # the end of a run's last answers

Floats = NDArray[np.float64]


def service(
    name: str, scaling: Scaling = SCALING, *, limit: int = LIMIT, claim: str = f"pvc://models/{MODEL}"
) -> Object:  # fmt: skip
    """An InferenceService of the model, small enough for four replicas on two cores."""
    prefix = "autoscaling.knative.dev/"
    annotations = {
        f"{prefix}target": f"{scaling.target:g}",
        f"{prefix}target-utilization-percentage": f"{scaling.target_utilization_percent:g}",
        f"{prefix}panic-threshold-percentage": f"{scaling.panic_threshold_percent:g}",
        f"{prefix}panic-window-percentage": f"{scaling.panic_window_percent:g}",
        f"{prefix}target-burst-capacity": str(scaling.target_burst_capacity),
        f"{prefix}window": f"{scaling.window_s:g}s",
    }
    model = {
        "modelFormat": {"name": "triton"},
        "runtime": "kserve-ext-triton",
        "storageUri": claim,
        # Asked every second: every 10 s, as without a period, a replica that just misses one look is ready 10 s later.
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}, "periodSeconds": 1},
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
    }
    predictor = {
        "annotations": annotations,
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "containerConcurrency": limit,
        "model": model,
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": {"serving.kserve.io/deploymentMode": "Knative"}},
        "spec": {"predictor": predictor},
    }


@contextmanager
def slow_models(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The claim `models` of a namespace on a repository of its own, with the model that waits as long as CURVE says."""
    top = cluster.given.models / namespace
    folder = top / MODEL / MODEL
    try:
        shutil.copytree(REPOSITORY / MODEL / "1", folder / "1")
        (folder / "1" / "curve.json").write_text(json.dumps({"points": CURVE}))
        text = (REPOSITORY / MODEL / "config.pbtxt").read_text()
        (folder / "config.pbtxt").write_text(
            text.replace("max_batch_size: 32", f"max_batch_size: {MAX_BATCH}") + "dynamic_batching { }\n"
        )
        cluster.apply(support.models_volume(namespace, f"/models/{namespace}"), namespace)
        yield
    finally:
        cluster.kubectl("delete", "persistentvolume", f"models-{namespace}", "--wait=false", "--ignore-not-found")
        shutil.rmtree(top, ignore_errors=True)


def target_of(cluster: Cluster, name: str, namespace: str) -> Target:
    return target_at(cluster.ingress, support.host_of(name, namespace))


def target_at(address: str, host: str) -> Target:
    """The model behind a proxy that knows it by its host."""
    return parse_target(f"http://{address}", model=MODEL, authority=host)


def requests_to(target: Target, rows: int = 1) -> list[Request]:
    """Requests of so many rows."""
    return [encode(each, target) for each in stack(read_samples(REPOSITORY, MODEL), rows)]


def server_statistics(cluster: Cluster, name: str, namespace: str) -> ModelStatistics:
    """What the Triton that answers counts: one replica's own, so ask while there is only one."""
    answer = cluster.ask(support.host_of(name, namespace), f"/v2/models/{MODEL}/stats")
    assert answer.status == 200, answer
    return read_statistics(answer.json())


# --------------------------------------------------------------------------------------------- measured before playing


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the simulator is told of one replica and of the cluster around it."""

    law: ServiceLaw
    overhead_levels_s: Floats  # of a request, outside Triton's execution
    start_up_s: float  # from wanted to ready

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (stage_of(self.law),)


def measure(
    cluster: Cluster, name: str, namespace: str, revision: str, scaling: Scaling = SCALING
) -> Measured:  # fmt: skip
    """One replica's service times by batch and its overhead, then the start-up of more replicas; leaves one behind."""
    times_s, overheads_s = [], []
    for rows, _ in CURVE:
        mean_s, latencies_s = _batch(cluster, name, namespace, rows)
        times_s.append(mean_s)
        if rows == 1:
            overheads_s = [each - mean_s for each in latencies_s]
    levels_s = np.maximum(0.0, np.quantile(overheads_s, (np.arange(LEVELS) + 0.5) / LEVELS))
    measured = Measured(
        law=law_of(times_s), overhead_levels_s=levels_s, start_up_s=_start_up_s(cluster, namespace, revision, scaling)
    )
    print(
        f"service times {', '.join(f'{each * 1e3:.1f}' for each in times_s)} ms, overhead "
        f"{np.median(levels_s) * 1e3:.1f} ms, start-up {measured.start_up_s:.1f} s",
        flush=True,
    )
    return measured


def law_of(times_s: Sequence[float]) -> ServiceLaw:
    """The law of these seconds for the batches of CURVE."""
    values_s = tuple((time_s,) * LEVELS for time_s in times_s)
    return ServiceLaw(batches=tuple(rows for rows, _ in CURVE), values_s=(values_s,))


def stage_of(law: ServiceLaw) -> Stage:
    return Stage(law=law, max_batch_size=MAX_BATCH, max_queue_delay_s=0.0, instances=1)


def _batch(cluster: Cluster, name: str, namespace: str, rows: int) -> tuple[float, list[float]]:
    """Triton's mean time for an execution of so many rows, and how long its client waited for each."""
    target = target_of(cluster, name, namespace)
    before = server_statistics(cluster, name, namespace).batches.get(rows)
    length_s = _REQUESTS_PER_BATCH * dict(CURVE)[rows]
    result = run_closed_loop(target, requests_to(target, rows), 1, length_s, dict(CURVE)[rows])
    assert result.ok.all(), result.errors
    after = server_statistics(cluster, name, namespace).batches[rows]
    spent = after - before if before else after
    seconds = (spent.compute_input_s + spent.compute_infer_s + spent.compute_output_s) / spent.executions
    return seconds, (result.done_s - result.sent_s).tolist()


def _start_up_s(cluster: Cluster, namespace: str, revision: str, scaling: Scaling) -> float:
    """Median over replicas started one after the other, by the floor on the live Revision."""

    def floor(replicas: int) -> None:
        annotations = {"autoscaling.knative.dev/min-scale": str(replicas)}
        cluster.patch("revision", revision, namespace, {"metadata": {"annotations": annotations}})

    counts = range(2, scaling.max_replicas + 1)
    with watching(cluster, revision, namespace) as watch:
        floor(1)
        support.poll("one replica is left", lambda: watch.changes[-1].ready == 1, seconds=120)
        del watch.changes[:-1]
        for replicas in counts:
            floor(replicas)
            support.poll(f"{replicas} are ready", lambda: watch.changes[-1].ready == replicas, seconds=120, every=0.1)  # noqa: B023
        floor(1)
        support.poll("one replica is left", lambda: watch.changes[-1].ready == 1, seconds=120)
        took_s = [_first(watch, count, "ready") - _first(watch, count, "wanted") for count in counts]
        floor(scaling.min_replicas)
    print(f"start-up: {', '.join(f'{each:.1f}' for each in took_s)} s", flush=True)
    return statistics.median(took_s)


def _first(watch: Watch, replicas: int, what: str) -> float:
    return next(one.at_s for one in watch.changes if getattr(one, what) >= replicas)


# -------------------------------------------------------------------------------------------------------- side by side


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """The cluster and the simulator under the same requests."""

    moments_s: Floats
    wanted_seen: NDArray[np.int64]
    wanted_said: NDArray[np.int64]
    p95_seen_s: Floats  # of the requests due in each window
    p95_said_s: Floats
    failed: int  # on the cluster
    lag_p99_s: float  # of the load generator

    @property
    def wanted_error_mean(self) -> float:
        """Mean of the relative errors, look by look."""
        return float(np.mean(np.abs(self.wanted_said - self.wanted_seen) / self.wanted_seen))

    @property
    def p95_error_mean(self) -> float:
        """Mean of the relative errors, window by window."""
        return float(np.mean(np.abs(self.p95_said_s - self.p95_seen_s) / self.p95_seen_s))

    def show(self) -> None:
        print("t_s wanted: cluster, simulator")
        for moment, seen, said in zip(self.moments_s, self.wanted_seen, self.wanted_said, strict=True):
            print(f"{moment:5.0f} {seen} {said}{'' if seen == said else '  <'}")
        for index, (seen_s, said_s) in enumerate(zip(self.p95_seen_s, self.p95_said_s, strict=True)):
            print(
                f"{index * WINDOW_S:5d} s: p95 {seen_s * 1e3:6.0f} ms, simulator {said_s * 1e3:6.0f} ms"
                f" ({said_s / seen_s - 1:+.1%})"
            )
        print(
            f"wanted {self.wanted_error_mean:.2%}, p95 {self.p95_error_mean:.2%}, failed {self.failed},"
            f" generator late by {self.lag_p99_s * 1e3:.1f} ms at p99",
            flush=True,
        )


def arrivals(rates_rps: Sequence[float], seed: int, step_s: int = WINDOW_S) -> Floats:
    """Poisson arrivals whose rate changes every step."""
    rng = np.random.default_rng(seed)
    parts = [
        index * step_s + np.sort(rng.uniform(0.0, step_s, rng.poisson(rate * step_s)))
        for index, rate in enumerate(rates_rps)
    ]
    return np.concatenate(parts)


def play(cluster: Cluster, name: str, namespace: str, revision: str, due_s: Floats) -> tuple[LoadResult, Watch, float]:
    """Send the requests to the cluster: what became of them, the replicas wanted meanwhile, and when it began."""
    target = target_of(cluster, name, namespace)
    requests = requests_to(target)
    with watching(cluster, revision, namespace) as watch:
        began_s = time.perf_counter()
        result = run_open_loop(target, requests, due_s, drain_s=_SETTLE_S)
    return result, watch, began_s


def simulate(due_s: Floats, measured: Measured, duration_s: int, scaling: Scaling = SCALING) -> Scaled:
    """The same in the simulator, after an idle window as on the cluster."""
    idle_s = int(scaling.window_s)
    return serve_scaled(
        due_s + idle_s, from_plan(scaling, LIMIT), stages=measured.stages, limit=LIMIT,
        start_up_s=measured.start_up_s, duration_s=idle_s + duration_s + int(_SETTLE_S),
    )  # fmt: skip


def compare(
    result: LoadResult, watch: Watch, began_s: float, said: Scaled, measured: Measured, duration_s: int, seed: int
) -> Comparison:
    """Both beside each other."""
    moments_s = np.arange(0.0, duration_s, SAMPLE_S)
    wanted_said = [said.wanted_at(moment + SCALING.window_s) for moment in moments_s.tolist()]
    overhead_s = np.random.default_rng(seed).choice(measured.overhead_levels_s, len(said.ended_s))
    said_s = np.where(said.endings == Ending.ANSWERED, said.ended_s - said.arrivals_s + overhead_s, np.nan)
    seen_s = np.where(result.ok, result.done_s - result.due_s, np.nan)
    return Comparison(
        moments_s=moments_s, wanted_seen=watch.wanted_at(moments_s + began_s),
        wanted_said=np.array(wanted_said, dtype=np.int64),
        p95_seen_s=_p95s(result.due_s, seen_s, duration_s), p95_said_s=_p95s(result.due_s, said_s, duration_s),
        failed=int((~result.ok).sum()), lag_p99_s=float(np.quantile(result.lag_s, 0.99)),
    )  # fmt: skip


def _p95s(due_s: Floats, latencies_s: Floats, duration_s: int) -> Floats:
    edges = np.searchsorted(due_s, np.arange(0, duration_s + 1, WINDOW_S))
    return np.array([np.nanquantile(latencies_s[a:b], 0.95) for a, b in itertools.pairwise(edges.tolist())])


def side_by_side(cluster: Cluster, namespace: str, rates_rps: Sequence[float], *, seed: int) -> Comparison:
    """Make the service, measure it, let it rest for a window, then play."""
    name = "played"
    cluster.apply(service(name), namespace)
    cluster.wait_ready("isvc", name, namespace, seconds=240)
    (found,) = cluster.list("revisions", namespace)
    revision = str(found["metadata"]["name"])
    measured = measure(cluster, name, namespace, revision)
    due_s, duration_s = arrivals(rates_rps, seed), len(rates_rps) * WINDOW_S
    rested_s = time.monotonic() + SCALING.window_s
    said = simulate(due_s, measured, duration_s)
    support.poll("a window without requests is over", lambda: time.monotonic() > rested_s, seconds=SCALING.window_s + 5)
    result, watch, began_s = play(cluster, name, namespace, revision, due_s)
    found_out = compare(result, watch, began_s, said, measured, duration_s, seed)
    found_out.show()
    return found_out
