"""One model measured on its own: client batches and merged batches of every size, with 1 to k instances.

In: a bench for the model, its config, where finished points are kept. Out: its StageProfile. Nothing else may be
loaded on the server meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from kserve_ext.bench.in_service import SeenRun, observe, ratios
from kserve_ext.bench.journal import Journal
from kserve_ext.bench.points import Bench, MeasuredPoint, client_point, merged_point
from kserve_ext.domain import StageProfile
from kserve_ext.policy.replica import stage_law
from kserve_ext.profile.points import FULL_SHARE, batch_sizes, corrected, levelled
from kserve_ext.render.pbtxt import with_batching
from kserve_ext.simulate.level import levels

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

Tell = Callable[[int, str], None]  # number of the point, and a line about it

FILL_DELAY_S = 0.1  # longer than a client takes to send any batch; a batch that is full does not wait for it
_POINT = TypeAdapter(MeasuredPoint)
_RUNS = TypeAdapter(tuple[SeenRun, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTask:
    """One point to measure. `merged`: by single-row requests through the dynamic batcher."""

    model: str
    batch: int
    instances: int
    merged: bool

    @property
    def key(self) -> str:
        return f"{self.model}/{self.instances}/{self.batch}/{'merged' if self.merged else 'client'}"

    @property
    def label(self) -> str:
        how = "merged" if self.merged else "client batch"
        plural = "s" if self.instances > 1 else ""
        return f"{self.model}: {self.instances} instance{plural}, {how} {self.batch}"

    @property
    def client(self) -> StageTask:
        """The client batch of the same size, which a merged point is compared with."""
        return StageTask(model=self.model, batch=self.batch, instances=self.instances, merged=False)


def stage_tasks(model: str, max_batch: int, counts: Sequence[int]) -> tuple[StageTask, ...]:
    """All points of a model in the order that changes its config least often."""
    return tuple(_tasks(model, max_batch, counts))


def _tasks(model: str, max_batch: int, counts: Sequence[int]) -> Iterator[StageTask]:
    for instances in counts:
        for batch in batch_sizes(max_batch):
            yield StageTask(model=model, batch=batch, instances=instances, merged=False)
        for batch in batch_sizes(max_batch)[1:]:
            yield StageTask(model=model, batch=batch, instances=instances, merged=True)


def measure_stage(
    bench: Bench, config: ModelConfig, tasks: Sequence[StageTask], journal: Journal, tell: Tell
) -> tuple[StageProfile, float]:
    """The stage's profile, and the server CPU per row at its largest batch. Leaves the model loaded.

    What the journal has is not measured again. `tell` gets a line before each point, and what is odd about one.
    """
    loaded: ModelConfig | None = None
    points: dict[str, MeasuredPoint] = {}
    for number, task in enumerate(tasks):
        tell(number, task.label)
        if task.key not in journal:
            loaded = _load(bench, _config(config, task), loaded)
            journal.put(task.key, _POINT.dump_python(_measure(bench, task, points), mode="json"))
        points[task.key] = point = _POINT.validate_python(journal[task.key])
        if point.full_share < FULL_SHARE:
            tell(
                number,
                f"{task.label}: {point.full_share:.0%} of the batches were full, so the server's own times are taken",
            )
    if config.max_batch_size > 1:
        for instances in sorted({task.instances for task in tasks}):
            _bring_to_service(bench, config, instances, points, journal, partial(tell, len(tasks)))
    return _profile(bench.target.model, config.max_batch_size, tuple(points.values()))


def _bring_to_service(
    bench: Bench,
    config: ModelConfig,
    instances: int,
    points: dict[str, MeasuredPoint],
    journal: Journal,
    tell: Callable[[str], None],
) -> None:
    """Bring the points of one instance count to what executions take in service; those of fewer have been."""
    of_count = {key: each for key, each in points.items() if each.point.instances == instances}
    single = [each.point for each in of_count.values() if each.point.requests == each.point.batch]
    key = f"{bench.target.model}/{instances}/in service"
    if key not in journal:
        bench.control.load(
            bench.target.model,
            with_batching(config, max_batch_size=config.max_batch_size, max_queue_delay_s=0.0, instances=instances),
        )
        journal.put(key, _RUNS.dump_python(observe(bench, single), mode="json"))
    runs = _RUNS.validate_python(journal[key])
    by_size = ratios(single, runs)
    for name, each in of_count.items():
        points[name] = replace(each, point=corrected(each.point, by_size[each.point.batch]))
    known = [each for each in points.values() if each.point.instances <= instances]
    stage, _ = _profile(bench.target.model, config.max_batch_size, known)
    law = stage_law(stage)
    factors = levels(law, [run.served() for run in runs], max_batch=config.max_batch_size, instances=instances)
    if factors is None:
        tell(f"{bench.target.model}: latencies under load tell nothing of service times, which stay as measured alone")
        return
    factor = dict(zip(law.batches, factors, strict=True))
    for name in of_count:
        point = points[name].point
        points[name] = replace(points[name], point=levelled(point, factor[point.batch]))


def _config(config: ModelConfig, task: StageTask) -> ModelConfig:
    return with_batching(
        config,
        max_batch_size=task.batch if task.merged else config.max_batch_size,
        max_queue_delay_s=FILL_DELAY_S if task.merged else None,
        instances=task.instances,
    )


def _load(bench: Bench, config: ModelConfig, loaded: ModelConfig | None) -> ModelConfig:
    """Load it where another config is loaded. Triton replaces in 0.15 s, unloading first takes 1.2 s per instance."""
    if config != loaded:
        bench.control.load(bench.target.model, config)
    return config


def _measure(bench: Bench, task: StageTask, points: Mapping[str, MeasuredPoint]) -> MeasuredPoint:
    if task.merged:
        return merged_point(bench, task.batch, task.instances, points[task.client.key].point)
    return client_point(bench, task.batch, task.instances)


def _profile(model: str, max_batch: int, measured: Sequence[MeasuredPoint]) -> tuple[StageProfile, float]:
    """Memory and CPU are those with the fewest instances: one, as a rule, so nothing is shared.

    Memory is that of client batches, which come first: later the config before may still be on its way out.
    """
    fewest = [each for each in measured if each.point.instances == measured[0].point.instances]
    stage = StageProfile(
        model=model,
        max_batch=max_batch,
        points=tuple(each.point for each in measured),
        memory_loaded_bytes=fewest[0].instance_bytes,
        memory_peak_bytes=max(each.instance_bytes for each in fewest if each.point.requests == 1),
    )
    return stage, fewest[-1].cpu_per_row_s
