"""Health, metadata, statistics, index and metrics over HTTP: what KServe's server answers wrongly or not at all.

Always ready, even with nothing loaded, is what KServe says of itself; versions, index and statistics it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from kserve_ext.render.tensors import Signature
from kserve_ext.serving import shared_tallies
from kserve_ext.serving.admission import Admission
from kserve_ext.serving.datatypes import signature_datatype
from kserve_ext.serving.faults import Fault
from kserve_ext.serving.metrics import Gauges, Key, render
from kserve_ext.serving.routes import Kind, Route
from kserve_ext.serving.served import Served
from kserve_ext.serving.statistics import statistics
from kserve_ext.serving.tally import Tally

Answer = tuple[int, bytes, bytes]  # status, content type, body

PLATFORM = "kserve_ext_python"
_JSON = b"application/json"
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"


class StatusPages:
    """Answers from the models' own state, never from a running model."""

    def __init__(
        self,
        all_served: Callable[[], Mapping[str, Served]],
        admission: Admission,
        other_metrics: Callable[[bool], bytes],
        folder: Path | None,
        worker: str,
        *,
        asks_predictor: bool = False,
    ) -> None:
        self._all, self._admission, self._other_metrics = all_served, admission, other_metrics
        self._folder, self._worker, self._asks_predictor = folder, worker, asks_predictor

    def why_unready(self) -> str:
        """Empty when every predictor may be sent requests and the server is not about to end."""
        if self._admission.ending:
            return "about to end"
        reasons = ((name, served.engine.why_unready()) for name, served in self._all().items())
        return "; ".join(f"{name}: {why}" for name, why in reasons if why)

    async def answer(self, found: Route, scope: Mapping[str, Any], receive: Any) -> Answer | None:
        """The answer, or None where KServe's own is right."""
        if found.kind is Kind.READY:
            why = self.why_unready()
            if why:
                return _error(503, f"not ready: {why}")
            return None if self._asks_predictor else (200, _JSON, b'{"ready":true}')
        if found.kind is Kind.METRICS:
            openmetrics = any(
                name == b"accept" and b"application/openmetrics-text" in value for name, value in scope["headers"]
            )
            return 200, _OPENMETRICS if openmetrics else _TEXT, self.metrics(openmetrics)
        if found.kind is Kind.INDEX:
            return 200, _JSON, orjson.dumps(index(self._all()))
        served = self._all().get(found.model)
        if served is None:
            return None
        try:
            served.check_version(found.version)
        except Fault as fault:
            return _error(fault.status, fault.message)
        return _of_model(found.kind, served)

    def metrics(self, openmetrics: bool) -> bytes:
        """Ours, then KServe's own. As OpenMetrics they carry exemplars."""
        waiting = {(name, served.version): served.engine.waiting for name, served in self._all().items()}
        gauges = Gauges(in_flight=self._admission.in_flight, limit=self._admission.limit, waiting=waiting)
        text = render(self._tallies(), gauges).encode()
        if openmetrics:  # its counters end in _total, Triton's names do not
            text = text.replace(b" counter\n", b" unknown\n")
        return text + self._other_metrics(openmetrics)

    def share(self) -> None:
        """Let the other workers see this one's sums."""
        if self._folder is not None:
            shared_tallies.write(self._folder, self._worker, self._own())

    def _tallies(self) -> dict[Key, Tally]:
        if self._folder is None:
            return self._own()
        self.share()
        return shared_tallies.read(self._folder)

    def _own(self) -> dict[Key, Tally]:
        return {(name, served.version): served.engine.tally for name, served in self._all().items()}


def index(all_served: Mapping[str, Served]) -> list[dict[str, str]]:
    """The repository index, as Triton answers it."""
    rows = []
    for name, served in all_served.items():
        why = served.engine.why_unready()
        rows.append(
            {"name": name, "version": served.version, "state": "UNAVAILABLE" if why else "READY", "reason": why}
        )
    return rows


def metadata(served: Served) -> dict[str, Any]:
    """The model's inputs and outputs; a batch dimension is -1."""
    signature = served.engine.signature
    inputs, outputs = tensor_rows(signature)
    return {
        "name": served.name, "versions": [served.version], "platform": PLATFORM, "inputs": inputs, "outputs": outputs
    }  # fmt: skip


def tensor_rows(signature: Signature | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and outputs as the protocol's metadata lists them; empty where they are not known."""
    if signature is None:
        return [], []
    head = [-1] if signature.batchable else []
    inputs, outputs = (
        [
            {"name": tensor.name, "datatype": signature_datatype(tensor), "shape": [*head, *tensor.dims]}
            for tensor in side
        ]
        for side in (signature.inputs, signature.outputs)
    )
    return inputs, outputs


def _of_model(kind: Kind, served: Served) -> Answer:
    if kind is Kind.STATS:
        stats = statistics(served.name, served.version, served.engine.tally)
        return 200, _JSON, orjson.dumps({"model_stats": [stats]})
    if kind is Kind.MODEL_READY:
        why = served.engine.why_unready()
        if why:
            return _error(503, f"model {served.name} is not ready: {why}")
        return 200, _JSON, orjson.dumps({"name": served.name, "ready": True})
    return 200, _JSON, orjson.dumps(metadata(served))


def _error(status: int, message: str) -> Answer:
    return status, _JSON, orjson.dumps({"error": message})
