"""One execution: the requests' rows laid end to end, the model called, its rows given back to whom they belong.

Tensors in, an outcome for each request out. Runs on an instance's thread; knows no queue, no protocol and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kserve_ext.serving.faults import Fault, ModelFailed
from kserve_ext.serving.isolation import isolate

Array = NDArray[Any]
Tensors = Mapping[str, Array]
Predict = Callable[[Mapping[str, Array]], Any]
Outcome = Tensors | Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How answers are cut and judged. `max_batch_size` 0: the first dimension is no batch, nothing is cut."""

    max_batch_size: int
    allow_nan: bool = False
    writable: bool = False  # the model writes into its inputs: it gets copies


def execute(predict: Predict, requests: Sequence[Tensors], rules: Rules) -> tuple[list[Outcome], int]:
    """The outcome of each request, and how many times the model was called."""
    calls = 0

    def run(some: Sequence[Tensors]) -> Sequence[Outcome]:
        nonlocal calls
        calls += 1
        return _run(predict, some, rules)

    return isolate(requests, run), calls


def rows_of(tensors: Tensors) -> int:
    """The first dimension of the first tensor."""
    for array in tensors.values():
        return int(array.shape[0])
    return 0


def _run(predict: Predict, requests: Sequence[Tensors], rules: Rules) -> Sequence[Outcome]:
    if rules.max_batch_size == 0:
        (request,) = requests
        return [_judged(_named(predict(_given(request, rules))), rules)]
    if len(requests) == 1:
        outputs = _in_parts(predict, _given(requests[0], rules), rules.max_batch_size)
        return [_judged(outputs, rules)]
    rows = [rows_of(request) for request in requests]
    joined = _joined(requests)
    outputs = _checked(predict(joined if rules.writable else _given(joined, rules)), sum(rows))
    suspicious = not rules.allow_nan and any(_has_nan(array) for array in outputs.values())
    answers: list[Outcome] = []
    start = 0
    for count in rows:
        mine = {name: array[start : start + count] for name, array in outputs.items()}
        answers.append(_judged(mine, rules) if suspicious else mine)
        start += count
    return answers


def _joined(requests: Sequence[Tensors]) -> dict[str, Array]:
    return {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}


def _given(tensors: Tensors, rules: Rules) -> Tensors:
    """Read-only in every batch, as tensors straight from the wire are; else a write would fail only now and then."""
    if rules.writable:
        return {name: array.copy() for name, array in tensors.items()}
    for array in tensors.values():
        array.flags.writeable = False
    return tensors


def _in_parts(predict: Predict, request: Tensors, most: int) -> Tensors:
    """One request, in several executions where it has more rows than a batch."""
    rows = rows_of(request)
    if rows <= most:
        return _checked(predict(request), rows)
    parts = []
    for start in range(0, rows, most):
        part = {name: array[start : start + most] for name, array in request.items()}
        parts.append(_checked(predict(part), rows_of(part)))
    return _joined(parts)


def _checked(outputs: Any, rows: int) -> dict[str, Array]:
    named = _named(outputs)
    for name, array in named.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise ModelFailed(
                f"the model answered `{name}` of shape {list(array.shape)} for {rows} row{'s' if rows != 1 else ''}: "
                "the first dimension of every output must be the batch"
            )
    return named


def _named(outputs: Any) -> dict[str, Array]:
    if not isinstance(outputs, Mapping) or not outputs:
        raise ModelFailed(f"the model answered {type(outputs).__name__}, not a dict of arrays")
    return {str(name): value if isinstance(value, np.ndarray) else np.asarray(value) for name, value in outputs.items()}


def _judged(outputs: Tensors, rules: Rules) -> Outcome:
    if not rules.allow_nan:
        for name, array in outputs.items():
            if _has_nan(array):
                return ModelFailed(f"the model answered NaN in `{name}`")
    return outputs


def _has_nan(array: Array) -> bool:
    return array.dtype.kind in "fc" and bool(np.isnan(array).any())
