"""Sums as Prometheus text: Triton's names where the meaning is the same, `kserve_ext_` where Triton has none.

Tallies in, text out; several workers' tallies are added up first. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from kserve_ext.serving.tally import Tally

Key = tuple[str, str]  # model, version

_US = 1e6
_COUNTERS: tuple[tuple[str, str, str, float], ...] = (
    ("nv_inference_request_success", "Number of successful inference requests", "succeeded", 1),
    ("nv_inference_request_failure", "Number of failed inference requests", "failed", 1),
    ("nv_inference_count", "Number of inferences performed (rows)", "rows", 1),
    ("nv_inference_exec_count", "Number of model executions performed", "executions", 1),
    ("nv_inference_request_duration_us", "Cumulative request duration, microseconds", "request_s", _US),
    ("nv_inference_queue_duration_us", "Cumulative queueing duration, microseconds", "queue_s", _US),
    ("nv_inference_compute_infer_duration_us", "Cumulative inference duration, microseconds", "infer_s", _US),
    ("kserve_ext_requests_rejected", "Number of requests refused before they were queued", "rejected", 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What is so at this moment, in one process."""

    in_flight: int
    limit: int
    waiting: Mapping[Key, int]


def add(tallies: Iterable[Tally]) -> Tally:
    """One tally with the sums of all."""
    total = Tally()
    for tally in tallies:
        for field in fields(Tally):
            if field.name == "batches":
                continue
            mine, other = getattr(total, field.name), getattr(tally, field.name)
            setattr(total, field.name, max(mine, other) if field.name == "last_ms" else mine + other)
        for rows, (executions, seconds) in tally.batches.items():
            sums = total.batches.setdefault(rows, [0.0, 0.0])
            sums[0] += executions
            sums[1] += seconds
    return total


def render(tallies: Mapping[Key, Tally], gauges: Gauges) -> str:
    """The exposition text, families in a fixed order."""
    lines: list[str] = []
    for name, meaning, field, scale in _COUNTERS:
        lines += _head(name, meaning, "counter")
        lines += [f"{name}{_labels(key)} {getattr(tally, field) * scale:.15g}" for key, tally in tallies.items()]
    lines += _head("nv_inference_pending_request_count", "Requests that wait for an instance", "gauge")
    lines += [f"nv_inference_pending_request_count{_labels(key)} {count}" for key, count in gauges.waiting.items()]
    lines += _head("kserve_ext_batch_rows", "Rows in an execution", "histogram")
    for key, tally in tallies.items():
        lines += _batch_histogram(key, tally)
    lines += _head("kserve_ext_requests_in_flight", "Requests in flight in this process", "gauge")
    lines.append(f"kserve_ext_requests_in_flight {gauges.in_flight}")
    lines += _head("kserve_ext_requests_in_flight_limit", "Requests in flight at most in one process", "gauge")
    lines.append(f"kserve_ext_requests_in_flight_limit {gauges.limit}")
    return "\n".join(lines) + "\n"


def _batch_histogram(key: Key, tally: Tally) -> list[str]:
    """Buckets at powers of two: the sizes a batch may be given."""
    name = "kserve_ext_batch_rows"
    largest = max(tally.batches, default=1)
    lines, bound = [], 1
    while True:
        below = sum(int(sums[0]) for rows, sums in tally.batches.items() if rows <= bound)
        lines.append(f"{name}_bucket{_labels(key, le=str(bound))} {below}")
        if bound >= max(largest, 1024):
            break
        bound *= 2
    count = sum(int(sums[0]) for sums in tally.batches.values())
    total = sum(rows * int(sums[0]) for rows, sums in tally.batches.items())
    return [
        *lines,
        f"{name}_bucket{_labels(key, le='+Inf')} {count}",
        f"{name}_sum{_labels(key)} {total}",
        f"{name}_count{_labels(key)} {count}",
    ]


def _head(name: str, meaning: str, kind: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def _labels(key: Key, **more: str) -> str:
    pairs = {"model": key[0], "version": key[1], **more}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
