"""The path of a request and an autoscaler together: arrivals in, what became of them and the replicas wanted out.

The autoscaler sees whole seconds, as everywhere; a replica takes requests a start-up after it was decided on, and one
that is not wanted any more takes none from that moment on, the newest first. The same arguments give the same result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kserve_ext.simulate.batcher import Seconds, Stage
from kserve_ext.simulate.path.route import Route
from kserve_ext.simulate.path.serve import TIMEOUT_S
from kserve_ext.simulate.scaler import Scaler, Second, Tick

_JOIN, _ARRIVE = range(2)  # in this order at one moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From this moment on so many replicas are wanted, and so many take requests."""

    at_s: float
    wanted: int
    ready: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaled:
    """One row per request, in order of arrival, and one step per decision."""

    arrivals_s: Seconds
    ended_s: Seconds  # infinity: not answered when the run was over
    endings: NDArray[np.int16]  # an `Ending`; 0: not answered when the run was over
    steps: tuple[Step, ...]

    def wanted_at(self, moment_s: float) -> int:
        """How many replicas were wanted then; a decision holds from the moment it is taken."""
        place = bisect_right(self.steps, moment_s, key=lambda step: step.at_s)
        return self.steps[max(0, place - 1)].wanted


def serve_scaled(
    arrivals_s: Seconds, scaler: Scaler[Any], *, stages: Sequence[Stage], limit: int, start_up_s: float,
    duration_s: int, replicas: int = 1, proxied: bool = True, timeout_s: float = TIMEOUT_S, seed: int = 0,
) -> Scaled:  # fmt: skip
    """Send requests at `arrivals_s` (ascending) for `duration_s` seconds, with the replicas that `scaler` wants.

    `replicas` take requests at first; `start_up_s` passes between the decision for one more and its first request.
    """
    run = _Run(Route(stages, limit=limit, proxied=proxied, timeout_s=timeout_s, seed=seed), scaler, replicas)
    edges = np.searchsorted(arrivals_s, np.arange(duration_s + 1))
    for second in range(duration_s):
        first, last = int(edges[second]), int(edges[second + 1])
        run.live(second, [(float(arrivals_s[each]), _ARRIVE, each) for each in range(first, last)])
        if (second + 1) % scaler.interval_s == 0:
            run.scale(second + 1, start_up_s, limit)
    return run.result(arrivals_s)


class _Run:
    """State of a run between two seconds."""

    def __init__(self, route: Route, scaler: Scaler[Any], replicas: int) -> None:
        self._route = route
        self._scaler = scaler
        self._state = scaler.start(replicas)
        self._ready = list(range(replicas))  # oldest first
        self._starting: list[tuple[float, int]] = []  # when each takes its first request, ascending
        self._pods = replicas  # that there ever were
        self._inside = self._counted = 0  # requests in flight; how many of those that ended are counted
        self._seconds: list[Second] = []
        self._steps: list[Step] = [Step(at_s=0.0, wanted=replicas, ready=replicas)]
        for pod in self._ready:
            route.join(pod, 0.0)

    def live(self, second: int, arriving: Sequence[tuple[float, int, int]]) -> None:
        """Everything that happens from `second` to the next one."""
        end_s = second + 1.0
        joining = [(at_s, _JOIN, pod) for at_s, pod in self._starting if at_s < end_s]
        del self._starting[: len(joining)]
        for at_s, kind, number in merge(joining, arriving):
            self._route.run_until(at_s)
            if kind == _JOIN:
                self._route.join(number, at_s)
                self._ready.append(number)
            else:
                self._route.arrive(number, at_s)
        self._route.run_until(end_s)
        self._seconds.append(self._count(second, [at_s for at_s, _, _ in arriving]))

    def _count(self, second: int, arrived_s: Sequence[float]) -> Second:
        ended = self._route.ended[self._counted :]
        self._counted += len(ended)
        area = self._inside + sum(second + 1 - at_s for at_s in arrived_s) - sum(second + 1 - one.at_s for one in ended)
        self._inside += len(arrived_s) - len(ended)
        held = sum(self._route.pods[pod].in_flight for pod in self._ready)
        return Second(t_s=second, arrivals=len(arrived_s), concurrency=max(0.0, area), busy=float(held))

    def scale(self, now: int, start_up_s: float, limit: int) -> None:
        """Ask the autoscaler, and follow it."""
        tick = Tick(
            now_s=float(now), ready=len(self._ready), starting=len(self._starting), seconds=tuple(self._seconds),
            slots_per_replica=float(limit),
        )  # fmt: skip
        self._seconds.clear()
        self._state, wanted = self._scaler.step(self._state, tick)
        for _ in range(wanted - tick.ready - tick.starting):
            self._starting.append((now + start_up_s, self._pods))
            self._pods += 1
        for _ in range(tick.ready + tick.starting - wanted):
            self._take_one_away(float(now))
        self._steps.append(Step(at_s=float(now), wanted=wanted, ready=len(self._ready)))

    def _take_one_away(self, now: float) -> None:
        if self._starting:
            self._starting.pop()
        else:
            self._route.leave(self._ready.pop(), now)

    def result(self, arrivals_s: Seconds) -> Scaled:
        ended_s = np.full(len(arrivals_s), np.inf)
        endings = np.zeros(len(arrivals_s), dtype=np.int16)
        for one in self._route.ended:
            ended_s[one.request], endings[one.request] = one.at_s, one.ending
        return Scaled(arrivals_s=arrivals_s, ended_s=ended_s, endings=endings, steps=tuple(self._steps))
