"""The request loop compiled with numba (extra `fast`): the same source as the reference, the same results, faster."""

from __future__ import annotations

import functools
from typing import Any, cast

from kserve_ext.errors import MissingExtraError
from kserve_ext.simulate.slots import Serve, build_serve


@functools.cache
def serve_compiled() -> Serve:
    """The compiled loop. The first call compiles for a few seconds. Raises MissingExtraError without numba."""
    try:
        from numba import njit
    except ImportError as error:
        raise MissingExtraError("numba", "fast") from error
    return cast(Serve, njit(build_serve(njit(replace_least))))


def replace_least(heap: Any, size: int, value: float) -> None:
    """Replace the least of the heap's `size` values: sift the hole down, then put the value in."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[hole] = heap[child]
        hole = child
    heap[hole] = value
