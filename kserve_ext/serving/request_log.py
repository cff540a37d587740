"""One line of JSON for each request, where the settings ask for it."""

from __future__ import annotations

import logging

import orjson

_log = logging.getLogger("kserve_ext.serving.requests")


def log_request(model: str, status: int | str, request_id: str, trace: str, took_s: float) -> None:
    """`status` is HTTP's number or gRPC's name; `trace` is the client's traceparent, left out where there is none."""
    line = {"model": model, "status": status, "id": request_id, "ms": round(took_s * 1e3, 3), "trace": trace}
    _log.info(orjson.dumps({key: value for key, value in line.items() if value != ""}).decode())
