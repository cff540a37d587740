from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace

from kserve_ext.serving import tracing

TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.mark.parametrize("text", ["", "nonsense", TRACEPARENT[:-1], TRACEPARENT.upper()])
def test_what_is_no_trace_context_is_no_exemplar(text: str) -> None:
    assert tracing.exemplar(text) is None


def test_a_request_is_a_span_under_its_clients_with_its_own_times(monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[dict[str, Any]] = []

    class Tracer(trace.NoOpTracer):
        def start_span(self, name: str, context: Any = None, **about: Any) -> Any:
            parent = trace.get_current_span(context).get_span_context()
            spans.append({"name": name, "parent": f"{parent.trace_id:032x}", **about})
            return trace.INVALID_SPAN

    monkeypatch.setattr(trace, "get_tracer", lambda _: Tracer())
    tracing.record("m", "", 0.5, 200)
    tracing.record("m", TRACEPARENT, 0.5, 200)
    (span,) = spans
    assert (span["name"], span["parent"], span["attributes"]) == ("infer m", "a" * 32, {"model": "m", "status": "200"})
    assert tracing.exemplar(TRACEPARENT) == {"trace_id": "a" * 32, "span_id": "b" * 16}
