"""A client's trace context: as an exemplar of the latency histogram, and, where OpenTelemetry is installed, as a span.

W3C's `traceparent` in. A request without one costs nothing; without OpenTelemetry there is no span.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_NS = 1e9


def exemplar(traceparent: str) -> Mapping[str, str] | None:
    """The trace and span an observation belongs to; None where the client names none."""
    if not traceparent or (match := _TRACEPARENT.fullmatch(traceparent)) is None:
        return None
    return {"trace_id": match[1], "span_id": match[2]}


def record(model: str, traceparent: str, took_s: float, status: int | str) -> None:
    """A span of the request that has just been answered, under its client's."""
    if not traceparent or (api := _api()) is None:
        return
    trace, propagate = api
    end_ns = time.time_ns()
    context = propagate.extract({"traceparent": traceparent})
    span = trace.get_tracer("kserve_ext.serving").start_span(
        f"infer {model}",
        context=context,
        kind=trace.SpanKind.SERVER,
        start_time=end_ns - int(took_s * _NS),
        attributes={"model": model, "status": str(status)},
    )
    span.end(end_ns)


@cache
def _api() -> Any:
    try:
        from opentelemetry import propagate, trace
    except ModuleNotFoundError:
        return None
    return trace, propagate
