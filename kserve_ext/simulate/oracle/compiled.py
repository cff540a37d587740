"""The loop over every request compiled with numba (extra `fast`): the same source as the reference, the same counts."""

from __future__ import annotations

import functools
from typing import Any, cast

from kserve_ext.errors import MissingExtraError
from kserve_ext.simulate.compiled import replace_least
from kserve_ext.simulate.oracle.lateness import Count, build_count


@functools.cache
def count_compiled() -> Count:
    """The compiled loop. The first call compiles for a second or two. Raises MissingExtraError without numba."""
    try:
        from numba import njit
    except ImportError as error:
        raise MissingExtraError("numba", "fast") from error
    compiled: Any = njit(build_count(njit(replace_least)))
    return cast(Count, compiled)
