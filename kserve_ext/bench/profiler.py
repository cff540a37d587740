"""Measures a profile: every point of every stage, on the real server, through the load API.

In: a running server on which the model and its steps are staged, and samples. Out: a Profile. The server is left with
nothing loaded. Configs on disk are never touched; finished points survive an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kserve_ext.bench.codec import encode
from kserve_ext.bench.journal import Journal
from kserve_ext.bench.payload import Sample
from kserve_ext.bench.points import LEAST_ROUNDS, Bench, after_idle_extra_s, mean_compute_s, run_without_failures
from kserve_ext.bench.quiet import Quiet, foreign_cpu
from kserve_ext.bench.service import Service
from kserve_ext.bench.stage import measure_stage, stage_tasks
from kserve_ext.bench.surroundings import cores, host_facts, model_digest, versions
from kserve_ext.domain import Profile, Protocol, Quantiles, StageProfile
from kserve_ext.errors import UnreachableError
from kserve_ext.profile.points import overhead, quantiles_of
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

Progress = Callable[[int, int, str], None]  # points done, points in all, what is measured now

SECONDS_PER_POINT = 0.8
MOST_INSTANCES = 4  # measured when the caller does not say
PATIENCE = 0.8  # of a point's seconds: what repeating disturbed runs may take, on average
_SAME_HOST = ("cpu", "cores")  # a new kernel or more memory does not make a profile void


def profile_model(
    server: TritonServer,
    control: TritonControl,
    repository: Path,
    model: str,
    *,
    hardware: str,
    measured_at: str,
    samples: Sequence[Sample] = (),
    max_batch: int | None = None,
    instances: Sequence[int] = (),
    seconds_per_point: float = SECONDS_PER_POINT,
    protocol: Protocol = Protocol.REST,
    progress: Progress = lambda done, total, label: None,
    resume_dir: Path | None = None,
) -> Profile:
    """The profile of `model` as `server` runs it here.

    `samples` are requests of one row; without any they are made from the model's metadata. `max_batch` lowers the
    largest batch; `instances` are 1 to the number of cores, 4 at most, unless given; `protocol` is that of the
    overhead. With `resume_dir` an interrupted measurement of the same files on the same host goes on.
    Raises ModelError for a model that fails or answers NaN, TritonError for a server that does not load it or dies.
    """
    service = Service(server, control, repository, model, max_batch)
    digest, host, measured_by = model_digest(repository, service.models), host_facts(), versions(control.version())
    about = {"model": model, "digest": digest, "host": host, "versions": measured_by, "seconds": seconds_per_point}
    journal = Journal(resume_dir, about | {"protocol": protocol, "max_batch": max_batch})
    counts = tuple(instances) or tuple(range(1, min(cores(), MOST_INSTANCES) + 1))
    try:
        service.unload()
        server_bytes = float(server.memory_bytes())
        load_s = service.load()
        rows = service.check(samples)
        if "latency" not in journal:
            journal.put("latency", _latency(service, rows[model], protocol, seconds_per_point))
        service.unload()
        quiet = Quiet(foreign_cpu(server))
        stages, cpu_s = _stages(service, rows, counts, seconds_per_point, quiet, journal, progress)
    except UnreachableError:
        server.check_alive(patience_s=2.0)  # a dead server tells more than a lost connection
        raise
    finally:
        if server.alive():
            service.unload()
    journal.close()
    return Profile(
        model=model,
        hardware=hardware,
        model_digest=digest,
        stages=stages,
        overhead_s=_overhead(journal["latency"], stages),
        load_s=load_s,
        cpu_per_request_s=cpu_s,
        memory_server_bytes=server_bytes,
        host={**host, "foreign_cores": f"{quiet.foreign_cores:.2f}"},
        versions=measured_by,
        measured_at=measured_at,
        overhead_after_idle_extra_s=max(
            0.0, journal["latency"][3] - sum(s.points[0].after_idle_extra_s for s in stages)
        ),
    )


def _latency(service: Service, samples: Sequence[Sample], protocol: Protocol, length_s: float) -> list[Any]:
    """Latency of one request at a time through the whole service: its quantiles, what its stages took in it, and how
    much longer it is after a pause."""
    target = service.target(service.model, protocol)
    requests = [encode(sample, target) for sample in samples]
    warm = run_without_failures(target, requests, 1, length_s / 4)
    length_s = max(length_s, LEAST_ROUNDS * float((warm.done_s - warm.sent_s).max()))
    before = [service.control.statistics(name) for name in service.stages]
    result = run_without_failures(target, requests, 1, length_s)
    spent = [service.control.statistics(name) - then for name, then in zip(service.stages, before, strict=True)]
    latency_s = quantiles_of(result.done_s - result.sent_s)
    extra_s = after_idle_extra_s(target, requests, float(np.median(result.done_s - result.sent_s)))
    return [latency_s.probabilities, latency_s.values, sum(mean_compute_s(each, 1) for each in spent), extra_s]


def _overhead(latency: Sequence[Any], stages: Sequence[StageProfile]) -> Quantiles:
    """The time of a request outside the instances. Stages that ran slower or faster meanwhile are allowed for."""
    probabilities, values, compute_s, _ = latency
    alone = [stage.points[0] for stage in stages]
    return overhead(
        Quantiles(probabilities=tuple(probabilities), values=tuple(values)),
        [point.quantiles_s for point in alone],
        drift_s=compute_s - sum(point.server_compute_s for point in alone),
    )


def _stages(
    service: Service,
    rows: Mapping[str, Sequence[Sample]],
    counts: Sequence[int],
    seconds_per_point: float,
    quiet: Quiet,
    journal: Journal,
    progress: Progress,
) -> tuple[tuple[StageProfile, ...], float]:
    """The profile of each stage, and the server CPU of a row through all of them."""
    tasks = {name: stage_tasks(name, service.configs[name].max_batch_size, counts) for name in service.stages}
    total, stages, cpu_s, done = sum(map(len, tasks.values())), [], 0.0, 0
    quiet.patience_s = PATIENCE * total * seconds_per_point
    for name in service.stages:
        bench = Bench(
            server=service.server,
            control=service.control,
            target=service.target(name),
            grpc=service.target(name, Protocol.GRPC),
            samples=rows[name],
            seconds_per_point=seconds_per_point,
            quiet=quiet,
            empty_bytes=float(service.server.memory_bytes()),
        )
        tell = partial(_tell, progress, done, total)
        stage, stage_cpu_s = measure_stage(bench, service.configs[name], tasks[name], journal, tell)
        service.unload()
        stages.append(stage)
        cpu_s += stage_cpu_s
        done += len(tasks[name])
    progress(total, total, "measured")
    return tuple(stages), cpu_s


def _tell(progress: Progress, before: int, total: int, number: int, label: str) -> None:
    progress(before + number, total, label)


def is_current(profile: Profile, repository: Path, models: Sequence[str]) -> bool:
    """Whether `profile` is of these files, measured on a host like this one."""
    host = host_facts()
    same_host = all(profile.host.get(key) == host[key] for key in _SAME_HOST)
    return same_host and profile.model_digest == model_digest(repository, models)
