"""Whether a profile that has the right fields also has values that can be measured: path and what is wrong, for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

_FROM_ONE = ("batch", "instances", "requests", "count")
_ABOVE_ZERO = ("mean_s",)
_NOT_EMPTY = ("stages", "points", "probabilities")


def faults(record: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    """Faults in a profile as nested mappings and sequences; paths such as `stages.0.points.3.mean_s`."""
    if isinstance(record, dict):
        if "probabilities" in record:
            yield from _quantiles(record["probabilities"], record["values"], path)
        for key, value in record.items():
            yield from faults(value, f"{path}.{key}" if path else key, key)
    elif isinstance(record, list | tuple):
        if not record and name in _NOT_EMPTY:
            yield path, "at least one is needed"
        for index, value in enumerate(record):
            yield from faults(value, f"{path}.{index}", name)
    elif isinstance(record, int | float):
        least = 1 if name in _FROM_ONE else 0
        if not (math.isfinite(record) and record >= least) or (name in _ABOVE_ZERO and record == 0):
            yield (
                path,
                "a number above zero is needed" if name in _ABOVE_ZERO else f"a number from {least} up is needed",
            )


def _quantiles(probabilities: Sequence[float], values: Sequence[float], path: str) -> Iterator[tuple[str, str]]:
    if len(probabilities) != len(values):
        yield path, f"as many values as probabilities are needed, not {len(values)} for {len(probabilities)}"
    for name, numbers in (("probabilities", probabilities), ("values", values)):
        if any(high < low for low, high in pairwise(numbers)):
            yield f"{path}.{name}", "must not fall"
