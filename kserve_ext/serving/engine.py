"""One model at work on the event loop: waiting requests, instances, and who gets which batch when.

`submit` gives a future that ends in the outputs or in a Fault. All methods are called on the loop; models run on the
instances' threads, or here when they are quicker than the hop to a thread. A batch that is full waits at the instances
already, so that one which comes free has it at once; what is not full is decided when one is free.
"""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, time

from kserve_ext.render.tensors import Signature
from kserve_ext.serving.batching import Batcher, Ticket
from kserve_ext.serving.execution import Tensors, rows_of
from kserve_ext.serving.faults import ClientGone, Fault, NotReady, TooLate
from kserve_ext.serving.health import State, why_unready
from kserve_ext.serving.instances import PREDICT, Instance, Job, LocalRunner, Runner, run_job
from kserve_ext.serving.predictor import Predictor
from kserve_ext.serving.settings import Execution, Settings
from kserve_ext.serving.tally import Tally
from kserve_ext.serving.validation import Kinds

log = logging.getLogger("kserve_ext.serving")

INLINE_BELOW_S = 0.0002  # the hop to a thread and back costs about 0.05 ms of CPU and the GIL's switching on top
TOO_SLOW_INLINE_S = 0.05  # one execution this long on the loop, and the model moves to threads for good
_SWEEP_S = 0.02  # how often waiting requests are looked at: is the deadline over, is the client gone
_PROBES = 5


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way. `gone` says whether its client has hung up."""

    tensors: Tensors
    future: asyncio.Future[Tensors]
    verb: str
    rows: int
    started_s: float
    deadline_s: float | None
    gone: Callable[[], bool] | None
    ticket: Ticket[Request] = field(init=False)


class Engine:
    """Queues, batches and runs the requests of one model."""

    def __init__(self, name: str, make: Callable[[], Predictor], artifacts: Path, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self.state = State.UNLOADED
        self.signature: Signature | None = None
        self.tally = Tally()
        self.instances: list[Instance] = []
        self.floor_s = 0.0  # no execution is quicker, so a deadline nearer than this cannot be met
        self._make, self._artifacts = make, artifacts
        self._pending: set[Request] = set()
        self._scheduled = self._sweeping = False
        self._reset(settings.max_batch_size)

    def _reset(self, max_batch_size: int) -> None:
        self._batcher: Batcher[Request] = Batcher(
            max_batch_size=max_batch_size, max_queue_delay_s=self.settings.max_queue_delay_s
        )
        self._given = 0  # batches at the instances, or waiting for the first that is free
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._inline: Runner | None = None
        self.kinds = Kinds(None, batched=max_batch_size > 0)

    # ------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Load and warm up every instance. Raises what `load` raised."""
        self._loop = asyncio.get_running_loop()
        self.state = State.LOADING
        started_s = monotonic()
        count = self.settings.instances
        jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._jobs = jobs
        self.instances = [Instance(f"{self.name}-{number}", self._runner, jobs) for number in range(count)]
        loads = [self._started(instance) for instance in self.instances]
        outcomes = await asyncio.gather(*loads, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                self.state = State.FAILED
                self._stop_instances()
                raise outcome
        self._loaded(monotonic() - started_s)

    def _runner(self) -> Runner:
        arguments = (self._make, self._artifacts, self.settings)
        if self.settings.execution is Execution.PROCESS:
            from kserve_ext.serving.process_runner import ProcessRunner

            return ProcessRunner(*arguments)
        return LocalRunner(*arguments)

    def _started(self, instance: Instance) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()

        def settle(error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(error) if error is not None else future.set_result(None)

        def loaded(error: BaseException | None) -> None:
            self._loop.call_soon_threadsafe(settle, error)

        instance.start(loaded)
        return future

    def _loaded(self, took_s: float) -> None:
        runner = self.instances[0].runner
        assert runner is not None
        jobs = self._jobs
        self._reset(runner.rules.max_batch_size)
        self._jobs = jobs
        self.signature = runner.signature
        self.kinds = Kinds(self.signature, batched=runner.rules.max_batch_size > 0)
        self._choose_execution(runner)
        self.state = State.READY
        kind = "process" if self.settings.execution is Execution.PROCESS else "thread"
        where = "on the event loop" if self._inline else f"each on one of {len(self.instances)} {kind}(s)"
        log.info("%s: loaded in %.2f s, batches of up to %d run %s", self.name, took_s, self._batcher.max_rows, where)

    def _choose_execution(self, runner: Runner) -> None:
        wanted = self.settings.execution
        if wanted is Execution.PROCESS or self.signature is None or not isinstance(runner, LocalRunner):
            return
        smallest, largest = runner.time_s(1, _PROBES), runner.time_s(self._batcher.max_rows, _PROBES)
        if smallest is None or largest is None:
            return
        self.floor_s = smallest
        if wanted is Execution.INLINE or (wanted is Execution.AUTO and largest < INLINE_BELOW_S):
            self._inline = runner

    def stop(self, state: State = State.UNLOADED) -> None:
        """No new requests; those waiting are told; batches that run end by themselves."""
        self.state = state
        for request in list(self._pending):
            self._batcher.drop(request.ticket)
            self._settle(request, NotReady(f"model {self.name} was unloaded"))
        self._stop_instances()

    def _stop_instances(self) -> None:
        for _ in self.instances:
            self._jobs.put(None)
        self.instances = []
        self._inline = None

    def why_unready(self) -> str:
        """Empty when requests may come."""
        busy = [instance.busy_since_s for instance in self.instances]
        return why_unready(self.state, busy, now_s=monotonic(), stuck_after_s=self.settings.stuck_after_s)

    @property
    def waiting(self) -> int:
        """Requests that wait for an instance."""
        return self._batcher.waiting

    # --------------------------------------------------------------------------------------------- requests

    def submit(
        self,
        tensors: Tensors,
        *,
        deadline_s: float | None = None,
        gone: Callable[[], bool] | None = None,
        verb: str = PREDICT,
    ) -> asyncio.Future[Tensors]:
        """The outputs to come, or a Fault. `deadline_s` is on the clock of time.monotonic. Raises Fault at once too."""
        if self.state is not State.READY:
            raise NotReady(f"model {self.name} is not ready: {self.state}")
        kind = self.kinds.check(tensors)
        now_s = monotonic()
        if deadline_s is not None and now_s + self.floor_s > deadline_s:
            raise TooLate("the deadline cannot be met")
        future: asyncio.Future[Tensors] = self._loop.create_future()
        rows = 1 if self._batcher.alone else rows_of(tensors)
        request = Request(tensors, future, verb, rows, now_s, deadline_s, gone)
        whole_kind: Hashable = kind if verb == PREDICT else (verb, kind)
        request.ticket = self._batcher.add(request, kind=whole_kind, rows=rows, now_s=now_s)
        self._pending.add(request)
        if not self._scheduled:  # once in a turn of the loop: what was read in this turn leaves together
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep)
        return future

    def _dispatch(self) -> None:
        self._scheduled = False
        if self._inline is not None:
            self._dispatch_inline(self._inline)
            return
        while (free := len(self.instances) - self._given) >= 0 and self.instances:
            now_s = monotonic()
            taken = self._batcher.take(now_s, only_full=free == 0)
            batch = self._able(taken, now_s)
            if batch is None:
                break
            if batch:
                self._given += 1
                self._jobs.put(self._job(batch, partial(self._back, self._jobs, batch)))
        self._wait_for_more()

    def _dispatch_inline(self, runner: Runner) -> None:
        while (batch := self._able(self._batcher.take(now_s := monotonic()), now_s)) is not None:
            if not batch:
                continue
            job = self._job(batch, lambda _: None)
            run_job(runner, job)
            self._finish(job, batch)
            if job.took_s > TOO_SLOW_INLINE_S and self.settings.execution is Execution.AUTO:
                log.warning("%s: an execution took %.0f ms, so it moves to a thread", self.name, job.took_s * 1e3)
                self._inline = None
                self._dispatch()
                return
        self._wait_for_more()

    def _able(self, taken: list[Request], now_s: float) -> list[Request] | None:
        """Those whose deadline can still be met and whose client is there. None: nothing was taken."""
        if not taken:
            return None
        able = []
        for request in taken:
            fault = self._hopeless(request, now_s)
            if fault is None:
                able.append(request)
            else:
                self._settle(request, fault)
        return able

    def _job(self, batch: list[Request], done: Callable[[Job], None]) -> Job:
        return Job(
            verb=batch[0].verb,
            tensors=[request.tensors for request in batch],
            done=done,
            wanted=lambda: [not request.future.done() for request in batch],
        )

    def _back(self, jobs: queue.SimpleQueue[Job | None], batch: list[Request], job: Job) -> None:
        """On the instance's thread. A loop that was closed meanwhile has nobody left who waits for an answer."""
        try:
            self._loop.call_soon_threadsafe(self._returned, job, jobs, batch)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _returned(self, job: Job, jobs: queue.SimpleQueue[Job | None], batch: list[Request]) -> None:
        if jobs is self._jobs:  # not unloaded meanwhile
            self._given -= 1
        self._finish(job, batch)
        if self._batcher.waiting and not self._scheduled:
            self._dispatch()

    def _finish(self, job: Job, batch: list[Request]) -> None:
        tally, now_s = self.tally, monotonic()
        rows = 0
        for request, outcome in zip(batch, job.outcomes, strict=True):
            rows += 0 if isinstance(outcome, ClientGone) else request.rows
            tally.infer_s += job.took_s
            tally.queue_s += max(0.0, now_s - request.started_s - job.took_s)
            self._settle(request, outcome)
        tally.ran(rows=rows, took_s=job.took_s, calls=job.calls)
        tally.last_ms = int(time() * 1000)

    def _settle(self, request: Request, outcome: Tensors | Fault) -> None:
        if request not in self._pending:  # its client went, its deadline passed, or the model was unloaded meanwhile
            return
        self._pending.discard(request)
        took_s = monotonic() - request.started_s
        if isinstance(outcome, Fault):
            self.tally.failed += 1
            self.tally.fail_s += took_s
            if not request.future.done():
                request.future.set_exception(outcome)
            return
        self.tally.succeeded += 1
        self.tally.request_s += took_s
        if not request.future.done():
            request.future.set_result(outcome)

    # ------------------------------------------------------------------------------------------------ timers

    def _wait_for_more(self) -> None:
        """Look again when the oldest batch has waited out its delay, if an instance is free for it."""
        idle = self._given < len(self.instances) or self._inline is not None
        if self._batcher.delay_s and idle and (at_s := self._batcher.ripe_at_s()) is not None:
            self._loop.call_later(max(0.0, at_s - monotonic()) + 1e-4, self._dispatch)

    def _sweep(self) -> None:
        """End what waits in vain: deadline over, or client gone. Those that run too: their place is worth having."""
        now_s = monotonic()
        for request in list(self._pending):
            if (fault := self._hopeless(request, now_s)) is not None:
                self._batcher.drop(request.ticket)
                self._settle(request, fault)
        self._sweeping = bool(self._pending)
        if self._sweeping:
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _hopeless(self, request: Request, now_s: float) -> Fault | None:
        if request.future.cancelled() or (request.gone is not None and request.gone()):
            return ClientGone("the client has gone")
        if request.deadline_s is not None:
            needed_s = 0.0 if request.ticket.dropped else self.floor_s  # a ticket that has left is running
            if now_s + needed_s > request.deadline_s:
                return TooLate("the deadline has passed" if now_s > request.deadline_s else "too late to start")
        return None
