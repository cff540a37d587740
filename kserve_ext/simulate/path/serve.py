"""Requests through the whole path of one revision: arrival times in, latencies, refusals and timeouts out.

Replicas are Triton servers behind queue-proxy; activators are in the path or not, and may change while it runs. The
same arguments give the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge

import numpy as np
from numpy.typing import NDArray

from kserve_ext.errors import InputError, Problem
from kserve_ext.simulate import kpa
from kserve_ext.simulate.batcher import Seconds, Stage
from kserve_ext.simulate.path.balancing import Balancing
from kserve_ext.simulate.path.lifecycle import gone_s
from kserve_ext.simulate.path.route import Ending, Route

TIMEOUT_S = 300.0  # Knative's default revision timeout
_JOIN, _LEAVE, _SWITCH, _LOOK, _ARRIVE = range(5)  # in this order at one moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """From when to when a replica takes requests."""

    ready_s: float = 0.0
    leaves_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """One row per request, in order of arrival."""

    arrivals_s: Seconds
    ended_s: Seconds  # when the client got its answer, whatever it was
    endings: NDArray[np.int16]  # an `Ending`
    replicas: NDArray[np.int32]  # who answered or refused it; -1: nobody ever got it
    batch_sizes: tuple[tuple[tuple[int, ...], ...], ...]  # per replica and stage, in order of start
    gone_s: tuple[float, ...]  # when each replica's pod is gone, if it left; infinity if it stays

    @property
    def latencies_s(self) -> Seconds:
        """Of the requests that were answered, in order of arrival."""
        answered = self.endings == Ending.ANSWERED
        latencies_s: Seconds = self.ended_s[answered] - self.arrivals_s[answered]
        return latencies_s

    @property
    def rejected(self) -> int:
        """Answered 503: the queue of their pod was full."""
        return int(np.count_nonzero(self.endings == Ending.REFUSED))

    @property
    def timed_out(self) -> int:
        """Answered 504."""
        return int(np.count_nonzero(self.endings == Ending.TIMED_OUT))


def serve_path(
    arrivals_s: Seconds, replicas: int | Sequence[Presence], limit: int, balancing: Balancing = Balancing.ROUND_ROBIN, *,
    stages: Sequence[Stage], proxied: bool = False, switches: Sequence[tuple[float, bool]] = (),
    burst: kpa.Config | None = None, activators: int = 1, timeout_s: float = TIMEOUT_S, seed: int = 0,
) -> Served:  # fmt: skip
    """Send requests arriving at `arrivals_s` (ascending, seconds) to replicas with a concurrency limit (0: none).

    `balancing` is the way of the ingress or client while no activator is in the path; an activator's own follows from
    the limit. `proxied` says whether activators are in the path at first, `switches` when that changes (time, in or
    out); with `burst` the target burst capacity of an autoscaler decides it every 2 s. Raises InputError for numbers
    that make no path, ValueError for a batch that was not measured.
    """
    _check(arrivals_s, replicas, limit, activators, timeout_s)
    present = [Presence()] * replicas if isinstance(replicas, int) else list(replicas)
    route = Route(
        stages, limit=limit, balancing=balancing, proxied=proxied, burst=burst, activators=activators,
        timeout_s=timeout_s, seed=seed,
    )  # fmt: skip
    act = (route.join, route.leave, route.switch, route.look, route.arrive)
    for now, kind, number in _events(arrivals_s, present, switches, looks=burst is not None):
        route.run_until(now)
        act[kind](number, now)
    route.run_until(math.inf)
    return _served(arrivals_s, route, present, timeout_s)


def _check(
    arrivals_s: Seconds, replicas: int | Sequence[Presence], limit: int, activators: int, timeout_s: float
) -> None:
    present, count = ((), replicas) if isinstance(replicas, int) else (replicas, len(replicas))
    ascends = bool(np.isfinite(arrivals_s).all() and (np.diff(arrivals_s) >= 0).all())
    rules = (
        ("arrivals_s", "times out of order", ascends, "finite, ascending"),
        ("replicas", count, count >= 0, ">= 0"),
        ("limit", limit, limit >= 0, ">= 0, 0 for none"),
        ("activators", activators, activators >= 1, ">= 1"),
        ("timeout_s", timeout_s, timeout_s > 0, "> 0"),
    )
    problems = [
        Problem(what="not usable", field=field, found=str(found), allowed=allowed)
        for field, found, holds, allowed in rules
        if not holds
    ]
    problems += [
        Problem(
            what="leaves before it is ready", field=f"replicas[{index}]", found=f"{each.ready_s} to {each.leaves_s}"
        )
        for index, each in enumerate(present)
        if each.leaves_s < each.ready_s
    ]
    if problems:
        raise InputError(*problems)


def _events(
    arrivals_s: Seconds, present: Sequence[Presence], switches: Sequence[tuple[float, bool]], *, looks: bool
) -> Iterator[tuple[float, int, int]]:
    """Everything that happens to the path, in time."""
    changes = [(each.ready_s, _JOIN, number) for number, each in enumerate(present)]
    changes += [(each.leaves_s, _LEAVE, number) for number, each in enumerate(present) if each.leaves_s < math.inf]
    changes += [(at_s, _SWITCH, int(into)) for at_s, into in switches]
    if looks and arrivals_s.size:
        changes += [(float(second), _LOOK, second) for second in range(1, int(arrivals_s[-1]) + 1)]
    return merge(sorted(changes), ((at_s, _ARRIVE, number) for number, at_s in enumerate(arrivals_s.tolist())))


def _served(arrivals_s: Seconds, route: Route, present: Sequence[Presence], timeout_s: float) -> Served:
    ended_s = np.empty(len(arrivals_s))
    endings = np.empty(len(arrivals_s), dtype=np.int16)
    replicas = np.empty(len(arrivals_s), dtype=np.int32)
    last_s = [-math.inf] * len(present)  # when each replica's last request was over
    for request, at_s, ending, pod in route.ended:
        ended_s[request], endings[request], replicas[request] = at_s, ending, pod
        if pod >= 0:
            last_s[pod] = max(last_s[pod], at_s)
    return Served(
        arrivals_s=arrivals_s, ended_s=ended_s, endings=endings, replicas=replicas,
        batch_sizes=tuple(route.pods[number].server.batch_sizes for number in range(len(present))),
        gone_s=tuple(
            gone_s(each.leaves_s, last_answer_s=last, timeout_s=timeout_s)
            for each, last in zip(present, last_s, strict=True)
        ),
    )  # fmt: skip
