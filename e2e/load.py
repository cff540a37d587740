"""Requests on a service through the ingress while something else happens to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Self

from e2e import support
from e2e.product import DIGITS
from e2e.support import Cluster
from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.codec import encode
from kserve_ext.bench.loop import LoadResult, run_open_loop
from kserve_ext.bench.message import Request
from kserve_ext.bench.payload import load_samples
from kserve_ext.bench.target import Target, parse_target

RATE_RPS = 20.0


class Traffic:
    """Poisson requests for so many seconds, in the background."""

    def __init__(self, target: Target, requests: Sequence[Request], rate_rps: float, seconds: float) -> None:
        self._found: list[LoadResult] = []
        due_s = poisson(rate_rps, seconds, 1)
        self._thread = threading.Thread(target=lambda: self._found.append(run_open_loop(target, requests, due_s)))

    def __enter__(self) -> Self:
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


class Load(Traffic):
    """Requests on a service of the digits model in Knative mode, for as long as a change takes."""

    def __init__(self, cluster: Cluster, namespace: str, seconds: float, service: str = "digits") -> None:
        target = parse_target(
            f"http://{cluster.ingress}", model="digits", authority=support.host_of(service, namespace)
        )
        super().__init__(target, digits_requests(target), RATE_RPS, seconds)


def digits_requests(target: Target) -> list[Request]:
    """Requests for the digits model."""
    samples = load_samples((DIGITS / "samples.json").read_text(), "samples.json")
    return [encode(sample, target) for sample in samples]
