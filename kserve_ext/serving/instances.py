"""The copies of a model: each loads on its own thread and runs its batches there, or in a process of its own.

A batch goes in with a function to call when it is done, which runs on the instance's thread. An instance takes one
batch at a time; who gets which batch is decided elsewhere.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Protocol

from kserve_ext.render.tensors import Signature
from kserve_ext.serving.execution import Array, Outcome, Rules, Tensors, execute
from kserve_ext.serving.faults import ClientGone
from kserve_ext.serving.predictor import Predictor
from kserve_ext.serving.settings import Settings

PREDICT, EXPLAIN = "predict", "explain"


class Runner(Protocol):
    """A loaded model, in this process or in another."""

    signature: Signature | None
    rules: Rules

    def run(self, verb: str, batch: Mapping[str, Array]) -> Any: ...

    def close(self) -> None: ...


class LocalRunner:
    """A predictor in this process."""

    def __init__(self, make: Callable[[], Predictor], artifacts: Path, settings: Settings) -> None:
        self._predictor = predictor = make()
        predictor.threads = settings.threads
        predictor.load(artifacts)
        self.signature = predictor.signature(artifacts)
        batch = settings.max_batch_size if self.signature is None or self.signature.batchable else 0
        self.rules = Rules(max_batch_size=batch, allow_nan=predictor.allow_nan, writable=predictor.writes_inputs)
        self._verbs = {PREDICT: predictor.predict, EXPLAIN: predictor.explain}
        self._warm_up(batch)

    def run(self, verb: str, batch: Mapping[str, Array]) -> Any:
        return self._verbs[verb](batch)

    def close(self) -> None:
        self._verbs.clear()

    def time_s(self, rows: int, repeats: int) -> float | None:
        """The quickest of some executions of `rows`; None where there is nothing to run."""
        batch = self._predictor.warmup(rows, self.signature)
        if batch is None:
            return None
        took_s = []
        for _ in range(repeats):
            start_s = perf_counter()
            self._predictor.predict(batch)
            took_s.append(perf_counter() - start_s)
        return min(took_s)

    def _warm_up(self, most: int) -> None:
        """Once at every batch size that is a power of two and at the largest: memory and kernels are chosen by shape."""
        sizes = {max(1, most)} | {2**power for power in range(most.bit_length()) if 2**power <= most}
        for rows in sorted(sizes):
            batch = self._predictor.warmup(rows, self.signature)
            if batch is None:
                return
            self._predictor.predict(batch)


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One batch on its way through an instance."""

    verb: str
    tensors: Sequence[Tensors]
    done: Callable[[Job], None]
    wanted: Callable[[], Sequence[bool]]  # asked when it starts: which requests still are
    outcomes: Sequence[Outcome] = ()
    calls: int = 0
    took_s: float = 0.0


def run_job(runner: Runner, job: Job) -> None:
    """Fill in the outcomes; never raises what the model raised. A request that nobody waits for is not run."""
    start_s = perf_counter()
    wanted = job.wanted()
    some = (
        job.tensors if all(wanted) else [tensors for tensors, still in zip(job.tensors, wanted, strict=True) if still]
    )
    outcomes: Sequence[Outcome] = ()
    if some:
        outcomes, job.calls = execute(lambda batch: runner.run(job.verb, batch), some, runner.rules)
    found = iter(outcomes)
    job.outcomes = outcomes if some is job.tensors else [next(found) if still else _UNWANTED for still in wanted]
    job.took_s = perf_counter() - start_s


_UNWANTED = ClientGone("nobody waits for the answer")


class Instance:
    """One copy of the model on a thread of its own, which takes its batches from a queue it may share with others."""

    def __init__(self, name: str, make_runner: Callable[[], Runner], jobs: queue.SimpleQueue[Job | None]) -> None:
        self.busy_since_s: float | None = None
        self.runner: Runner | None = None
        self._make_runner, self._jobs = make_runner, jobs
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self, loaded: Callable[[BaseException | None], None]) -> None:
        """Load on the instance's thread; `loaded` is told of the end or of the error, there.

        It ends at the first None in its queue, after the batch that is running.
        """
        self._loaded = loaded
        self._thread.start()

    def _work(self) -> None:
        try:
            self.runner = runner = self._make_runner()
        except Exception as error:  # noqa: BLE001 - whatever the user's `load` raises ends the start, with its words
            self._loaded(error)
            return
        self._loaded(None)
        while (job := self._jobs.get()) is not None:
            self.busy_since_s = monotonic()
            run_job(runner, job)
            self.busy_since_s = None
            job.done(job)
        runner.close()
