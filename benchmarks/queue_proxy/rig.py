"""Replicas as they run, two Tritons each behind a queue-proxy, and the same as the simulator sees them."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.queue_proxy.process import queue_proxy
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import run_closed_loop
from kserve_ext.bench.samples import read_samples
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.domain import IDLE_S, Plan, Protocol, Service, StagePlan
from kserve_ext.hosting import Hosted, hosted
from kserve_ext.library import read_profile
from kserve_ext.measuring import measure_profile
from kserve_ext.policy import PlanRequest, plan
from kserve_ext.policy.replica import Replica, build_replica
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.law import LEVELS
from kserve_ext.simulate.path import Balancing, Ending, Served, serve_path

_HOP_S = 1.0  # of requests one by one, straight and through queue-proxy, in turn
_HOP_TURNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """Two replicas behind their limits."""

    targets: tuple[Target, ...]
    stages: tuple[Stage, ...]
    limit: int
    overhead_levels_s: NDArray[np.float64]  # of a request, the hop through queue-proxy included
    idle_extra_s: float
    capacity_rps: float  # of all replicas

    def predict(self, due_s: NDArray[np.float64], way: Balancing, seed: int) -> tuple[Served, NDArray[np.float64]]:
        """What becomes of the requests, and the latencies of those that are answered, overhead included."""
        served = serve_path(due_s, len(self.targets), self.limit, way, stages=self.stages, seed=seed)
        return served, served.latencies_s + self._overhead_s(served, seed)

    def _overhead_s(self, served: Served, seed: int) -> NDArray[np.float64]:
        """Of each answered request: a draw, and more where its replica had been idle."""
        draws = np.random.default_rng((seed, 1 << 20)).integers(0, LEVELS, size=len(served.arrivals_s))
        overhead_s = self.overhead_levels_s[draws]
        for replica in range(len(self.targets)):
            mine = served.replicas == replica
            last_s = np.concatenate(([-np.inf], np.maximum.accumulate(served.ended_s[mine])[:-1]))
            overhead_s[mine] += self.idle_extra_s * np.clip((served.arrivals_s[mine] - last_s) / IDLE_S, 0.0, 1.0)
        answered: NDArray[np.float64] = overhead_s[served.endings == Ending.ANSWERED]
        return answered


@contextlib.contextmanager
def rig(binary: Path, repository: Path, service: Service, *, replicas: int, known: Path | None) -> Iterator[Rig]:
    """The replicas, planned from a fresh profile of the first one, or from a profile that is known."""
    model, hardware = service.intent.model, service.intent.hardware[0]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = [
            stack.enter_context(hosted(repository, model, log_file=folder / f"triton{index}.log"))
            for index in range(replicas)
        ]
        profile = read_profile(known, model=model) if known else measure_profile(hosts[0], hardware=hardware)
        decided = plan(PlanRequest(intent=service.intent, profiles={hardware: profile}))
        for host in hosts:
            host.load_planned(decided.stages)
        targets = tuple(
            stack.enter_context(proxied(binary, host, decided.concurrency_limit, folder / f"proxy{index}.log"))
            for index, host in enumerate(hosts)
        )
        hop_s = _hop_s(_straight(hosts[0]), targets[0], repository)
        print(f"{model}: {_words(decided)}, queue-proxy adds {hop_s * 1e3:.2f} ms to a request", flush=True)
        yield _simulated(targets, decided, build_replica(profile), hop_s)


@contextlib.contextmanager
def proxied(binary: Path, host: Hosted, limit: int, log_file: Path) -> Iterator[Target]:
    """A hosted model behind a queue-proxy of its own."""
    with queue_proxy(binary, user_port=_straight(host).port, limit=limit, log_file=log_file) as port:
        yield parse_target(f"http://127.0.0.1:{port}", model=host.model)


def foreign_s() -> float:
    """CPU seconds so far of everything on the machine but this process and its children."""
    machine, own = psutil.cpu_times(), psutil.Process()
    ours = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    busy_s = machine.user + machine.nice + machine.system + getattr(machine, "steal", 0.0)
    return float(busy_s - sum(times.user + times.system for times in ours))


def _straight(host: Hosted) -> Target:
    return parse_target(host.url(Protocol.REST), model=host.model)


def _words(decided: Plan) -> str:
    stage = decided.stages[-1]
    return f"max batch {stage.max_batch_size}, {stage.instances} instance(s), limit {decided.concurrency_limit}"


def _hop_s(straight: Target, through: Target, repository: Path) -> float:
    """What queue-proxy adds to the median of a request on its own."""
    medians: dict[Target, list[float]] = {straight: [], through: []}
    for _ in range(_HOP_TURNS):
        for target, seen in medians.items():
            requests = [encode(sample, target) for sample in read_samples(repository, target.model)]
            result = run_closed_loop(target, requests, 1, _HOP_S, _HOP_S / 4)
            seen.append(float(np.median(result.done_s - result.sent_s)))
    return max(0.0, statistics.median(medians[through]) - statistics.median(medians[straight]))


def _simulated(targets: tuple[Target, ...], decided: Plan, replica: Replica, hop_s: float) -> Rig:
    return Rig(
        targets=targets,
        stages=_stages(replica, decided.stages),
        limit=decided.concurrency_limit,
        overhead_levels_s=np.asarray(replica.overhead_levels_s) + hop_s,
        idle_extra_s=replica.overhead_after_idle_extra_s,
        capacity_rps=len(targets) * replica.saturated_rps(decided.stages),
    )


def _stages(replica: Replica, planned: Sequence[StagePlan]) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            law=law,
            max_batch_size=stage.max_batch_size,
            max_queue_delay_s=stage.max_queue_delay_s if stage.max_batch_size > 1 else None,
            instances=stage.instances,
        )
        for law, stage in zip(replica.laws, planned, strict=True)
    )
