"""What Knative's autoscaler wants, as it says so: every change of a PodAutoscaler's status with the time it was seen at."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from e2e import support
from e2e.support import Cluster

_AUTOSCALER = "podautoscalers.autoscaling.internal.knative.dev"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The PodAutoscaler's status from this moment on (`time.perf_counter`)."""

    at_s: float
    wanted: int
    ready: int


@dataclass(slots=True)
class Watch:
    """Every change of a PodAutoscaler's status, as it comes."""

    changes: list[Seen] = field(default_factory=list)

    def wanted_at(self, moments_s: Floats) -> NDArray[np.int64]:
        """How many replicas were wanted at these moments."""
        places = np.searchsorted([one.at_s for one in self.changes], moments_s, side="right") - 1
        return np.array([self.changes[max(0, place)].wanted for place in places], dtype=np.int64)


@contextmanager
def watching(cluster: Cluster, revision: str, namespace: str) -> Iterator[Watch]:
    """Follow the PodAutoscaler of a revision."""
    found = Watch()
    shown = 'jsonpath={.status.desiredScale} {.status.actualScale}{"\\n"}'
    command = [str(cluster.program), "--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace]
    process = subprocess.Popen(
        [*command, "get", _AUTOSCALER, revision, "--watch", "-o", shown], stdout=subprocess.PIPE, text=True
    )

    def follow() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            now, (wanted, _, ready) = time.perf_counter(), line.rstrip("\n").partition(" ")
            found.changes.append(Seen(at_s=now, wanted=int(wanted or 0), ready=int(ready or 0)))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        support.poll("the autoscaler is seen", lambda: bool(found.changes), seconds=30)
        yield found
    finally:
        process.terminate()
        thread.join()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
