"""One bad request never fails its neighbours: a batch that fails is cut in halves, and each half is tried again.

Goes in: requests, and a function that runs some of them. Comes out: one outcome for each, in order. A batch of n is
run at most 2 n - 1 times, about 2 log2(n) times for a single bad request. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from kserve_ext.serving.faults import Fault, ModelFailed

Request = TypeVar("Request")
Result = TypeVar("Result")


def isolate(
    requests: Sequence[Request], run: Callable[[Sequence[Request]], Sequence[Result | Fault]]
) -> list[Result | Fault]:
    """The outcome of each request. `run` answers for all it is given, or raises, which says nothing about any one.

    A fault that `run` answers for one request among others is tried again alone: a neighbour may have caused it.
    """
    try:
        outcomes = list(run(requests))
    except Exception as error:  # noqa: BLE001 - whatever the user's model raises
        if len(requests) == 1:
            return [as_fault(error)]
        half = len(requests) // 2
        return isolate(requests[:half], run) + isolate(requests[half:], run)
    if len(requests) > 1:
        for place, outcome in enumerate(outcomes):
            if isinstance(outcome, Fault):
                outcomes[place] = isolate(requests[place : place + 1], run)[0]
    return outcomes


def as_fault(error: Exception) -> Fault:
    """What the client is told of an exception: a fault as it is, all else as the model's failure by name and words."""
    if isinstance(error, Fault):
        return error
    return ModelFailed(f"the model failed: {type(error).__name__}: {error}")
