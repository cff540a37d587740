"""What queue-proxy and activator count: requests in and out with their times in, one report per second out.

Concurrency is exact: every change adds concurrency times the seconds it lasted. Events that go back in time add none.
"""

from __future__ import annotations

from kserve_ext.simulate.kpa.collect import Stat


class RequestStats:
    """Counts of one pod, or of one revision in one activator."""

    __slots__ = (
        "_area",
        "_changed_s",
        "_in_flight",
        "_proxied",
        "_proxied_area",
        "_proxied_requests",
        "_requests",
        "_spent_s",
    )

    def __init__(self, now_s: float) -> None:
        self._changed_s = now_s
        self._in_flight = 0
        self._proxied = 0
        self._clear()

    def _clear(self) -> None:
        self._requests = 0
        self._proxied_requests = 0
        self._area = 0.0
        self._proxied_area = 0.0
        self._spent_s = 0.0

    def arrive(self, now_s: float, *, proxied: bool = False) -> None:
        """A request comes in. It counts until its answer has ended, also while it waits in the pod's own queue."""
        self._pass(now_s)
        self._requests += 1
        self._in_flight += 1
        if proxied:
            self._proxied_requests += 1
            self._proxied += 1

    def leave(self, now_s: float, *, proxied: bool = False) -> None:
        """Its answer has ended."""
        self._pass(now_s)
        self._in_flight -= 1
        if proxied:
            self._proxied -= 1

    def report(self, now_s: float) -> Stat:
        """Means since the last report, and the requests that came in since."""
        self._pass(now_s)
        spent_s = self._spent_s or 1.0
        stat = Stat(
            concurrency=self._area / spent_s,
            proxied_concurrency=self._proxied_area / spent_s,
            requests=self._requests,
            proxied_requests=self._proxied_requests,
        )
        self._clear()
        return stat

    def _pass(self, now_s: float) -> None:
        """Account for the time since the last change."""
        lasted_s = now_s - self._changed_s
        if lasted_s > 0:
            self._spent_s += lasted_s
            self._area += self._in_flight * lasted_s
            self._proxied_area += self._proxied * lasted_s
            self._changed_s = now_s


class ActivatorStats:
    """One revision in one activator: it waits there or is on its way to a pod, and counts either way."""

    __slots__ = ("_announced", "_open", "_stats")

    def __init__(self) -> None:
        self._stats: RequestStats | None = None
        self._announced = 0  # the request reported ahead of the next report
        self._open = 0

    def arrive(self, now_s: float) -> Stat | None:
        """A request comes in. The first one of an unknown revision is reported at once: it may wake the autoscaler."""
        first = self._stats is None
        if self._stats is None:
            self._stats = RequestStats(now_s)
            self._announced = 1
        self._open += 1
        self._stats.arrive(now_s)
        return Stat(concurrency=1.0, requests=1.0) if first else None

    def leave(self, now_s: float) -> None:
        """Its answer has ended."""
        if self._stats is not None:
            self._open -= 1
            self._stats.leave(now_s)

    def report(self, now_s: float) -> Stat | None:
        """The report of the last second, less what was reported ahead. After an idle second the revision is forgotten."""
        if self._stats is None:
            return None
        stat = self._stats.report(now_s)
        ahead, self._announced = self._announced, 0
        if stat.concurrency == 0 and self._open == 0:
            self._stats = None
        return Stat(concurrency=max(stat.concurrency - ahead, 0.0), requests=stat.requests - ahead)
