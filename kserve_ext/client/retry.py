"""When a request is sent again, how long to wait before, and how many may be in all. Pure.

The budget bounds what retries add to the load of a server in trouble: `burst` at once, then `share` of the requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

from kserve_ext.client.answer import Answer
from kserve_ext.errors import InputError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most `attempts` for one request; before the n-th retry a random wait up to `first_wait_s` x 2^(n-1)."""

    attempts: int = 3
    first_wait_s: float = 0.05
    longest_wait_s: float = 2.0
    share: float = 0.1  # retries per request over time
    burst: float = 10.0  # retries that may come at once, before any share was earned

    def __post_init__(self) -> None:
        checks = {
            "attempts": (self.attempts >= 1, "a whole number from 1 up"),
            "first_wait_s": (0 <= self.first_wait_s < math.inf, "seconds from 0 up"),
            "longest_wait_s": (self.first_wait_s <= self.longest_wait_s < math.inf, "seconds from first_wait_s up"),
            "share": (0 <= self.share <= 1, "0 to 1"),
            "burst": (0 <= self.burst < math.inf, "a number from 0 up"),
        }
        problems = [
            Problem(what="out of range", field=f"retry.{field}", found=repr(getattr(self, field)), allowed=allowed)
            for field, (fits, allowed) in checks.items()
            if not fits
        ]
        if problems:
            raise InputError(*problems)


NO_RETRY = RetryPolicy(attempts=1)


def earn(tokens: float, policy: RetryPolicy) -> float:
    """The budget after one more request."""
    return min(policy.burst, tokens + policy.share)


def spend(tokens: float) -> float | None:
    """The budget after one more retry, or None where it does not hold one."""
    return tokens - 1.0 if tokens >= 1.0 else None


def wait_s(policy: RetryPolicy, retry: int, draw: float, retry_after_s: float | None) -> float:
    """Seconds before the `retry`-th retry (from 1); `draw` is random in [0, 1).

    The whole back-off is random, so that clients that failed together do not come back together. A server's own wish
    is kept in full, and the random part comes on top of it.
    """
    ceiling = min(policy.longest_wait_s, math.ldexp(policy.first_wait_s, min(retry - 1, 64)))
    return (retry_after_s or 0.0) + draw * ceiling


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request now, and wait for the answer at most this long."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for this long."""

    seconds: float


Steps = Generator[Send | Wait, Answer | None, tuple[Answer, int]]


def attempts(
    *,
    timeout_s: float,
    policy: RetryPolicy,
    may_retry: Callable[[], bool],
    clock: Callable[[], float],
    draw: Callable[[], float],
) -> Steps:
    """What to do, step by step, until there is an answer to give: each `Send` is answered with its `Answer`.

    Returns the last answer and how many attempts it took. All attempts and waits fit into `timeout_s`; a wait that
    does not fit is not begun. `may_retry` takes one retry from the budget, or says no.
    """
    until, sent, left_s = clock() + timeout_s, 0, timeout_s
    while True:
        answer = yield Send(left_s)
        sent += 1
        assert answer is not None
        if not answer.again or sent >= policy.attempts:
            return answer, sent
        pause_s = wait_s(policy, sent, draw(), answer.retry_after_s)
        if clock() + pause_s >= until or not may_retry():
            return answer, sent
        yield Wait(pause_s)
        left_s = until - clock()
        if left_s <= 0:  # woken too late
            return answer, sent
