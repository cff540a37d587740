"""Prometheus' text format → the samples of the few metrics that are needed, without parsing the rest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kserve_ext.observe.readings import Reading

QUEUE_PROXY = "kn_serving_invocation_duration_seconds"  # Knative 1.21: what the client of the pod waited
_QUEUE_DEPTH = "kn_serving_queue_depth"
_TRITON = ("nv_inference_request_success", "nv_inference_request_failure")
_TRITON_WAITING = "nv_inference_pending_request_count"

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def samples(text: str, prefix: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, labels and value of each sample whose name begins with `prefix`."""
    for line in text.splitlines():
        if line.startswith(prefix) and (found := _SAMPLE.match(line)):
            try:
                yield found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])
            except ValueError:
                continue


def queue_proxy_reading(text: str) -> Reading | None:
    """Queue-proxy's counters (port 9091); None where it has none yet or does not export them."""
    requests, buckets, waiting, seen = 0.0, dict[float, float](), 0.0, False
    for name, labels, value in samples(text, "kn_serving_"):
        if name == f"{QUEUE_PROXY}_count":
            requests, seen = requests + value, True
        elif name == f"{QUEUE_PROXY}_bucket" and "le" in labels:
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        elif name == _QUEUE_DEPTH:
            waiting, seen = waiting + value, True
    if not seen:
        return Reading(requests=0.0) if "target_info" in text else None
    return Reading(requests=requests, buckets=tuple(sorted(buckets.items())), waiting=waiting)


def triton_reading(text: str) -> Reading | None:
    """Triton's counters (port 8002) over all models that count requests; None where there are none.

    An ensemble's steps count too, so the busiest model is taken: each request passes it.
    """
    served: dict[str, float] = {}
    waiting: dict[str, float] = {}
    for name, labels, value in samples(text, "nv_inference_"):
        if name in _TRITON:
            served[labels.get("model", "")] = served.get(labels.get("model", ""), 0.0) + value
        elif name == _TRITON_WAITING:
            waiting[labels.get("model", "")] = waiting.get(labels.get("model", ""), 0.0) + value
    return Reading(requests=max(served.values()), waiting=max(waiting.values(), default=0.0)) if served else None
