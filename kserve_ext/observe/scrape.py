"""Counts straight from the pods, where there is no Prometheus: queue-proxy's first, else Triton's own.

Remembers the last reading of each pod. Reads many pods at once, each with a short time-out: a pod that is starting or
going away is passed over.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Mapping

import httpcore2

from kserve_ext.observe.exposition import queue_proxy_reading, triton_reading
from kserve_ext.observe.readings import Asked, Counted, Key, Reading, increase

log = logging.getLogger(__name__)

QUEUE_PROXY_PORT, TRITON_PORT = 9091, 8002
_TIMEOUT_S = 2.0
_AT_ONCE = 16
Fetch = Callable[[str], str | None]


class Scraper:
    """Reads pods. `fetch` gives the text at a URL, or None."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch or pooled()
        self._known: dict[Key, dict[str, Reading]] = {}
        self._readers = concurrent.futures.ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="scrape")

    def sample(self, asked: Mapping[Key, Asked], now_s: float) -> Mapping[Key, Counted]:
        """What was served since the last call; nothing for a service that is seen for the first time."""
        pods = [(key, name, address) for key, one in asked.items() for name, address in one.pods]
        found = list(self._readers.map(lambda pod: self._read(pod[2]), pods))
        readings: dict[Key, dict[str, Reading]] = {key: {} for key in asked}
        for (key, name, _), reading in zip(pods, found, strict=True):
            if reading is not None:
                readings[key][name] = reading
        counted = {
            key: increase(self._known[key], after, asked[key].slo_s)
            for key, after in readings.items()
            if key in self._known and (after or not asked[key].pods)
        }
        for key, after in readings.items():
            kept = {name: old for name, old in self._known.get(key, {}).items() if name in dict(asked[key].pods)}
            self._known[key] = kept | after
        for key in [key for key in self._known if key not in asked]:
            del self._known[key]
        return counted

    def history(self, key: Key, asked: Asked, now_s: float, seconds: float) -> tuple[float, tuple[int, ...]] | None:
        """Pods remember nothing."""
        return None

    def _read(self, address: str) -> Reading | None:
        for port, read in ((QUEUE_PROXY_PORT, queue_proxy_reading), (TRITON_PORT, triton_reading)):
            text = self._fetch(f"http://{address}:{port}/metrics")
            if text is not None and (reading := read(text)) is not None:
                return reading
        return None


def pooled() -> Fetch:
    """Fetches over connections to pods that are kept open between rounds."""
    return _Pool().fetch


class _Pool:
    """Connections to pods, kept open between rounds."""

    def __init__(self) -> None:
        self._pool = httpcore2.ConnectionPool(
            max_connections=1024, max_keepalive_connections=512, keepalive_expiry=60.0
        )

    def fetch(self, url: str) -> str | None:
        timeouts = {"connect": _TIMEOUT_S, "read": _TIMEOUT_S, "write": _TIMEOUT_S, "pool": _TIMEOUT_S}
        try:
            answer = self._pool.request("GET", url, extensions={"timeout": timeouts})
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as error:
            log.debug("%s: %s", url, error)
            return None
        return answer.content.decode(errors="replace") if answer.status == 200 else None
