"""One service point measured on a loaded model: closed loops that keep its instances busy, and Triton's counters.

The model must be loaded as the point says: without dynamic batching for client batches, with it for merged ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import LoadResult, run_closed_loop, run_open_loop
from kserve_ext.bench.message import Request
from kserve_ext.bench.payload import Sample, stack
from kserve_ext.bench.quiet import Quiet
from kserve_ext.bench.target import Target
from kserve_ext.domain import IDLE_S, Quantiles, ServicePoint
from kserve_ext.errors import ModelError, Problem
from kserve_ext.profile.points import (
    full_share,
    merged_mean_s,
    occupancy_s,
    quantiles_of,
    scaled,
    shifted,
    steady_rate,
    typical_mean_s,
)
from kserve_ext.triton.answers import BatchStatistics, ModelStatistics
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

# In flight over HTTP. Triton's front end (2.51) loses answers when some hundreds become ready at once on a busy
# machine: 61 of 34,125 seen with 512 in flight; a model that owes an answer never unloads.
MOST_OVER_HTTP = 128
LEAST_EXECUTIONS = 30  # of a point, over all instances
WARMUP_EXECUTIONS = 5
IDLE_EXECUTIONS = 25  # with a pause before each: a median is wanted
LONG_S = 0.03  # of one execution
LONGEST = 3  # times the time asked for, where executions are slow
LEAST_ROUNDS = 6  # of one execution on each instance, however slow
_FIRST_LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One model on one server, and how long to look at each point."""

    server: TritonServer
    control: TritonControl
    target: Target  # over HTTP
    grpc: Target  # the same model, for more in flight than MOST_OVER_HTTP
    samples: Sequence[Sample]
    seconds_per_point: float
    quiet: Quiet
    empty_bytes: float  # memory of the server before the model was loaded

    def instance_bytes(self, instances: int) -> float:
        """Memory that each of so many instances has added to the server."""
        return max(self.server.memory_bytes() - self.empty_bytes, 0.0) / instances


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPoint:
    """A point, and what its run cost the server."""

    point: ServicePoint
    full_share: float  # of executions that had exactly the point's rows
    cpu_per_row_s: float  # of the server, all processes
    instance_bytes: float  # memory that each instance has added, after the run


def client_point(bench: Bench, batch: int, instances: int) -> MeasuredPoint:
    """Fixed client batches: the occupancy with twice as many in flight as instances, the spread with as many.

    With one request per instance nothing queues, so latencies differ from the service time by a constant; that
    constant is taken off so that the mean is the occupancy.
    """
    samples = stack(bench.samples, batch) if batch > 1 else bench.samples
    requests = [encode(sample, bench.target) for sample in samples]
    length_s = _length_s(bench, requests, instances, instances)
    busy = bench.quiet.least_disturbed(lambda: _Busy(bench, batch, requests, 2 * instances, length_s))
    mean_s = occupancy_s(instances, busy.rate(instances))
    alone = bench.quiet.least_disturbed(lambda: run_without_failures(bench.target, requests, instances, length_s))
    latencies_s = alone.done_s - alone.sent_s
    quantiles_s = shifted(quantiles_of(latencies_s), mean_s - typical_mean_s(latencies_s))
    extra_s = 0.0
    if instances == 1:
        hot_s = float(np.median(latencies_s))
        extra_s = bench.quiet.least_disturbed(lambda: after_idle_extra_s(bench.target, requests, hot_s))
    return busy.measured(batch, instances, 1, mean_s, quantiles_s, extra_s)


def after_idle_extra_s(target: Target, requests: Sequence[Request], hot_s: float) -> float:
    """How much longer a request takes that comes IDLE_S after the answer to the one before, than `hot_s`; at least 0.

    Requests come far enough apart that none waits, however much longer they take. For slow ones it is not looked for:
    some milliseconds of cold caches are little of LONG_S, and the look would take seconds.
    """
    if hot_s > LONG_S:
        return 0.0
    spaced = run_open_loop(target, requests, (2 * hot_s + IDLE_S) * np.arange(1, IDLE_EXECUTIONS + 1))
    return max(0.0, float(np.median(spaced.done_s - spaced.sent_s)) - hot_s)


def merged_point(bench: Bench, batch: int, instances: int, client: ServicePoint) -> MeasuredPoint:
    """Single-row requests merged by the dynamic batcher, enough in flight that batches are full.

    The spread is that of the client's point, stretched to the new mean: here latencies are mostly waiting.
    """
    in_flight = 2 * batch * instances
    if in_flight > MOST_OVER_HTTP:
        bench = replace(bench, target=bench.grpc)
    requests = [encode(sample, bench.target) for sample in bench.samples]
    length_s = _length_s(bench, requests, in_flight, instances)
    busy = bench.quiet.least_disturbed(lambda: _Busy(bench, batch, requests, in_flight, length_s))
    rows_per_s = busy.rate(batch * instances)
    mean_s = merged_mean_s(
        occupancy_s(instances, rows_per_s / busy.statistics.mean_batch),
        share=busy.full_share,
        compute_s=busy.compute_s,
        client_s=client.mean_s,
        client_compute_s=client.server_compute_s,
    )
    quantiles_s = scaled(client.quantiles_s, mean_s / client.mean_s)
    return busy.measured(batch, instances, batch, mean_s, quantiles_s, client.after_idle_extra_s)


def mean_compute_s(statistics: ModelStatistics, batch: int) -> float:
    """Triton's own time for an execution of `batch` rows: input, inference and output; 0 where there was none."""
    counted = statistics.batches.get(batch, BatchStatistics())
    spent_s = counted.compute_input_s + counted.compute_infer_s + counted.compute_output_s
    return spent_s / counted.executions if counted.executions else 0.0


class _Busy:
    """A run at saturation between two looks at the server's counters."""

    def __init__(self, bench: Bench, batch: int, requests: Sequence[Request], in_flight: int, length_s: float) -> None:
        self._bench = bench
        name = bench.target.model
        before, cpu_before = bench.control.statistics(name), bench.server.cpu_seconds()
        result = run_without_failures(bench.target, requests, in_flight, length_s)
        self.statistics: ModelStatistics = bench.control.statistics(name) - before
        self._cpu_s = bench.server.cpu_seconds() - cpu_before
        self._done_s: list[float] = np.sort(result.done_s[result.done_s <= length_s]).tolist()
        self.count = self.statistics.batches.get(batch, BatchStatistics()).executions
        self.compute_s = mean_compute_s(self.statistics, batch)
        self.full_share = full_share({size: s.executions for size, s in self.statistics.batches.items()}, batch)

    def rate(self, together: int) -> float:
        """Answers per second. Raises ModelError where there were too few, on a machine that has slowed down."""
        try:
            return steady_rate(self._done_s, together)
        except ValueError as error:
            what = f"{self._bench.target.model} is too slow to be measured in so short a time: {error}"
            raise ModelError(Problem(what=what), remedy="measure longer, or on a machine with less to do") from error

    def measured(
        self, batch: int, instances: int, requests: int, mean_s: float, quantiles_s: Quantiles, extra_s: float
    ) -> MeasuredPoint:
        return MeasuredPoint(
            point=ServicePoint(
                batch=batch,
                instances=instances,
                requests=requests,
                count=self.count,
                mean_s=mean_s,
                quantiles_s=quantiles_s,
                server_compute_s=self.compute_s,
                after_idle_extra_s=extra_s,
            ),
            full_share=self.full_share,
            cpu_per_row_s=self._cpu_s / max(self.statistics.inference_count, 1),
            instance_bytes=self._bench.instance_bytes(instances),
        )


def _length_s(bench: Bench, requests: Sequence[Request], in_flight: int, instances: int) -> float:
    """Warm up, and see how long a run must be for enough executions: at least the time asked for, at most thrice."""
    name = bench.target.model
    before = bench.control.statistics(name)
    done = 0
    while True:
        elapsed_s = run_without_failures(bench.target, requests, in_flight, _FIRST_LOOK_S).elapsed_s
        before_this, done = done, (bench.control.statistics(name) - before).execution_count
        if done >= WARMUP_EXECUTIONS * instances:
            break
    execution_s = elapsed_s / max(done - before_this, 1)  # of all instances together
    length_s = min(max(LEAST_EXECUTIONS * execution_s, bench.seconds_per_point), LONGEST * bench.seconds_per_point)
    return max(length_s, LEAST_ROUNDS * instances * execution_s)


def run_without_failures(target: Target, requests: Sequence[Request], in_flight: int, length_s: float) -> LoadResult:
    """A closed loop in which no request fails. Raises ModelError where one does."""
    result = run_closed_loop(target, requests, in_flight, length_s)
    if result.errors:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in result.errors.items())
        what = f"{target.model} fails {(~result.ok).sum()} of {result.ok.size} requests while it is measured"
        raise ModelError(Problem(what=what, found=kinds), remedy="the server's log has the reason")
    return result
