"""What has happened to one model's requests, as plain sums: cheap to add to, read by the metrics and the statistics.

Seconds. Nothing is locked: all additions come from the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Tally:
    """Sums since the start. The names and meanings are those of Triton's counters."""

    succeeded: int = 0
    failed: int = 0
    rejected: int = 0  # never queued
    rows: int = 0  # nv_inference_count
    executions: int = 0
    request_s: float = 0.0  # of successful requests, from queueing to the answer
    queue_s: float = 0.0
    infer_s: float = 0.0  # summed over requests, as Triton does: a batch of 8 counts 8 times
    fail_s: float = 0.0
    last_ms: int = 0  # wall clock of the last execution
    batches: dict[int, list[float]] = field(default_factory=dict)  # rows -> [executions, seconds]

    def ran(self, *, rows: int, took_s: float, calls: int) -> None:
        """One batch came back after `calls` executions."""
        self.rows += rows
        self.executions += calls
        sums = self.batches.get(rows)
        if sums is None:
            self.batches[rows] = [float(calls), took_s]
        else:
            sums[0] += calls
            sums[1] += took_s
