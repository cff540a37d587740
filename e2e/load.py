"""Requests on a service through the ingress while something else happens to it."""

from __future__ import annotations

import threading

from e2e import support
from e2e.product import DIGITS
from e2e.support import Cluster
from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import LoadResult, run_open_loop
from kserve_ext.bench.payload import load_samples
from kserve_ext.bench.target import parse_target

RATE_RPS = 20.0


class Load:
    """Poisson requests on a service of the digits model, for as long as a change takes."""

    def __init__(self, cluster: Cluster, namespace: str, seconds: float, service: str = "digits") -> None:
        host = support.host_of(service, namespace)
        target = parse_target(f"http://{cluster.ingress}", model="digits", authority=host)
        samples = load_samples((DIGITS / "samples.json").read_text(), "samples.json")
        requests = [encode(sample, target) for sample in samples]
        self._found: list[LoadResult] = []
        due_s = poisson(RATE_RPS, seconds, 1)
        self._thread = threading.Thread(target=lambda: self._found.append(run_open_loop(target, requests, due_s)))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    @property
    def result(self) -> LoadResult:
        return self._found[0]

    def check_nothing_lost(self) -> None:
        assert self.result.errors == {}
        assert self.result.ok.all()
