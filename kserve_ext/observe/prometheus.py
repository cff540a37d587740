"""Counts from Prometheus: a few queries answer for every service at once.

Queue-proxy's own series carry no revision; `target_info` of the same pod does, and joins by instance. In Standard mode
the server's own counters are found by the labels `namespace` and `pod`; an ensemble's steps count too, so its busiest
model is taken. Rates are over a window of several scrapes, so counts lag by about half of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpcore2

from kserve_ext.errors import UnreachableError
from kserve_ext.observe.exposition import QUEUE_PROXY
from kserve_ext.observe.readings import Asked, Counted, Key, late_of

_TIMEOUT_S = 10.0
_SERVED = "nv_inference_request_success"  # of Triton and of custom predictors
_BY = "k8s_namespace_name, kn_revision_name"
_MINUTE_S = 60
_MOST_POINTS = 10_000  # Prometheus answers no range of more than 11,000


class Prometheus:
    """A Prometheus at `url`; `window_s` should hold four of its scrapes."""

    def __init__(self, url: str, window_s: int = 60) -> None:
        self._url, self._window_s = url.rstrip("/"), window_s
        self._pool = httpcore2.ConnectionPool(max_connections=4)
        self._last_s: float | None = None

    def sample(self, asked: Mapping[Key, Asked], now_s: float) -> Mapping[Key, Counted]:
        """What was served since the last call, at the rate of the window."""
        elapsed_s = min(float(self._window_s), now_s - self._last_s) if self._last_s is not None else 0.0
        counts = self._vector(_joined(f"{QUEUE_PROXY}_count", self._window_s, ""), now_s)
        buckets = self._vector(_joined(f"{QUEUE_PROXY}_bucket", self._window_s, ", le"), now_s)
        pods = self._vector(_by_pod(f"rate({_SERVED}[{self._window_s}s])"), now_s) if _without_revision(asked) else []
        self._last_s = now_s
        if elapsed_s <= 0:
            return {}
        served = {(labels.get("namespace", ""), labels.get("pod", "")): value * elapsed_s for labels, value in pods}
        by_revision: dict[Key, dict[float, float]] = {}
        for labels, value in buckets:
            by_revision.setdefault(_revision(labels), {})[float(labels["le"])] = value * elapsed_s
        requests = {_revision(labels): value * elapsed_s for labels, value in counts}
        return {
            key: _counted(key, one, requests, by_revision) if any(one.revisions) else _summed(key, one, served)
            for key, one in asked.items()
        }

    def history(self, key: Key, asked: Asked, now_s: float, seconds: float) -> tuple[float, tuple[int, ...]] | None:
        """Requests by minute as far back as it remembers, at most `seconds`."""
        minutes = min(int(seconds // _MINUTE_S), _MOST_POINTS)
        end_s = int(now_s // _MINUTE_S) * _MINUTE_S
        revision = f'k8s_namespace_name="{key[0]}", kn_configuration_name="{key[1]}-predictor"'
        query = (f"sum(increase({QUEUE_PROXY}_count[{_MINUTE_S}s]) * on(instance) group_left() "
                 f"max by (instance) (target_info{{{revision}}}))")  # fmt: skip
        pods = f'namespace="{key[0]}",pod=~"{key[1]}-predictor-[a-z0-9]+-[a-z0-9]+"'
        span = {"start": end_s - minutes * _MINUTE_S, "end": end_s, "step": _MINUTE_S}
        series = self._ask("query_range", query=query, **span)
        if not series:
            increased = _by_pod(f"increase({_SERVED}{{{pods}}}[{_MINUTE_S}s])")
            series = self._ask("query_range", query=f"sum({increased})", **span)
        if not series:
            return None
        at = {round(float(when)): float(value) for when, value in series[0]["values"]}
        first_s = min(at)
        counts = [round(at.get(when, 0.0)) for when in range(first_s, end_s + 1, _MINUTE_S)]
        return float(first_s - _MINUTE_S), tuple(counts)

    def _vector(self, query: str, now_s: float) -> list[tuple[Mapping[str, str], float]]:
        return [(one["metric"], float(one["value"][1])) for one in self._ask("query", query=query, time=now_s)]

    def _ask(self, what: str, **parameters: object) -> list[Any]:
        url = f"{self._url}/api/v1/{what}?{urlencode(parameters)}"
        timeouts = {"connect": _TIMEOUT_S, "read": _TIMEOUT_S, "write": _TIMEOUT_S, "pool": _TIMEOUT_S}
        try:
            answer = self._pool.request("GET", url, extensions={"timeout": timeouts})
            found = json.loads(answer.content)
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, ValueError) as error:
            raise self._gone(f"{type(error).__name__} {error}") from error
        if answer.status != 200 or found.get("status") != "success":
            raise self._gone(str(found.get("error") or f"HTTP {answer.status}"))
        result: list[Any] = found["data"]["result"]
        return result

    def _gone(self, why: str) -> UnreachableError:
        return UnreachableError(
            f"Prometheus at {self._url}: {why}", remedy="check --prometheus, and that it scrapes queue-proxy"
        )


def _by_pod(served: str) -> str:
    """The requests of each pod, by its busiest model."""
    return f"max by (namespace, pod) (sum by (namespace, pod, model) ({served}))"


def _without_revision(asked: Mapping[Key, Asked]) -> bool:
    return not all(any(one.revisions) for one in asked.values())


def _summed(key: Key, asked: Asked, served: Mapping[Key, float]) -> Counted:
    """What the pods of a service in Standard mode have answered; how late is not known."""
    return Counted(requests=sum(served.get((key[0], name), 0.0) for name, _ in asked.pods))


def _joined(metric: str, window_s: int, more: str) -> str:
    """The rate of a counter of queue-proxy by revision."""
    return (f"sum by ({_BY}{more}) (rate({metric}[{window_s}s]) * on(instance) group_left({_BY}) "
            f"max by (instance, {_BY}) (target_info))")  # fmt: skip


def _revision(labels: Mapping[str, str]) -> Key:
    return labels.get("k8s_namespace_name", ""), labels.get("kn_revision_name", "")


def _counted(
    key: Key, asked: Asked, requests: Mapping[Key, float], by_revision: Mapping[Key, Mapping[float, float]]
) -> Counted:
    names = [(key[0], revision) for revision in asked.revisions]
    late = sum(late_of(sorted(by_revision.get(name, {}).items()), asked.slo_s) for name in names)
    return Counted(requests=sum(requests.get(name, 0.0) for name in names), late=late)
