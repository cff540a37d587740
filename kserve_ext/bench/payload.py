"""Samples: what one request carries, read from samples.json, made from a model's metadata, or stacked into batches.

A sample is a request of one row. Faults name the file and the field. No files are read and nothing is sent here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

from kserve_ext.bench.tensor import DTYPES, Array, Tensor, from_items
from kserve_ext.errors import InputError, Problem

SAMPLES_ALLOWED = 'a list of {"inputs": [{"name", "shape", "datatype", "data"}]}, one row each'
GENERATED_SAMPLES = 16
SAMPLES_REMEDY = "write a samples.json beside the model: " + SAMPLES_ALLOWED


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The inputs of one request."""

    inputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output as a model's metadata tells it; -1 is an open dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def load_samples(text: str, file: str) -> tuple[Sample, ...]:
    """The samples in `text`, the content of `file`. Raises InputError with every fault found."""
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            Problem(file=file, line=error.lineno, what=f"not JSON: {error.msg}", allowed=SAMPLES_ALLOWED)
        ) from error
    if not isinstance(entries, list) or not entries:
        found = "an empty list" if isinstance(entries, list) else type(entries).__name__
        raise InputError(Problem(file=file, what="no samples", found=found, allowed=SAMPLES_ALLOWED))
    problems: list[Problem] = []
    samples = [_sample(entry, f"[{i}]", file, problems) for i, entry in enumerate(entries)]
    if problems:
        raise InputError(*problems)
    return tuple(samples)


def _sample(entry: Any, field: str, file: str, problems: list[Problem]) -> Sample:
    inputs = entry.get("inputs") if isinstance(entry, dict) else None
    if not isinstance(inputs, list) or not inputs:
        problems.append(Problem(file=file, field=f"{field}.inputs", what="no inputs", allowed=SAMPLES_ALLOWED))
        return Sample(inputs=())
    tensors = []
    for i, item in enumerate(inputs):
        try:
            tensors.append(_tensor(item))
        except ValueError as error:
            problems.append(Problem(file=file, field=f"{field}.inputs[{i}]", what=str(error)))
    return Sample(inputs=tuple(tensors))


def _tensor(item: Any) -> Tensor:
    """One input in the protocol's own JSON form. Raises ValueError."""
    missing = [key for key in ("name", "shape", "datatype", "data") if not isinstance(item, dict) or key not in item]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    datatype, shape = item["datatype"], item["shape"]
    if datatype not in DTYPES:
        raise ValueError(f"unknown datatype {datatype!r}; allowed: {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"shape {shape!r} is not a list of sizes")
    data = tensor_data(item["data"], datatype)
    if data.size != int(np.prod(shape)):
        raise ValueError(f"{data.size} values do not fill shape {shape}")
    return Tensor(name=str(item["name"]), datatype=datatype, data=data.reshape(shape))


def tensor_data(values: Any, datatype: str) -> Array:
    """A flat array from JSON values, nested or not. Raises ValueError when a value does not fit the datatype."""
    flat = list(_leaves(values))
    if datatype == "BYTES":
        if not all(isinstance(value, str) for value in flat):
            raise ValueError("BYTES data must be strings")
        return from_items([value.encode() for value in flat])
    dtype = DTYPES[datatype]
    fits = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}[dtype.kind]
    bad = next((value for value in flat if type(value) not in fits), None) if flat else None
    if bad is not None or None in flat:
        raise ValueError(f"{json.dumps(bad)} is not {datatype}")
    if dtype.kind in "iu" and flat:
        limits = np.iinfo(dtype)
        if min(flat) < limits.min or max(flat) > limits.max:
            raise ValueError(f"values outside {datatype}: {limits.min} to {limits.max}")
    return np.array(flat, dtype)


def _leaves(values: Any) -> Any:
    if isinstance(values, list):
        for value in values:
            yield from _leaves(value)
    else:
        yield values


def generate_samples(
    inputs: Sequence[TensorSpec], *, batched: bool, count: int = GENERATED_SAMPLES, seed: int = 0
) -> tuple[Sample, ...]:
    """Samples of the right shape with random content, the same ones for the same seed.

    Floats are in [0, 1) and integers 0 or 1, so that an index stays in range. Raises InputError where the shape is
    open or the content cannot be guessed. `batched` says that the first dimension is the batch.
    """
    problems = []
    for spec in inputs:
        row = spec.shape[1:] if batched else spec.shape
        if any(size < 0 for size in row):
            problems.append(Problem(field=f"input {spec.name}", what="open dimensions", found=str(list(spec.shape))))
        elif spec.datatype == "BYTES" or spec.datatype not in DTYPES:
            problems.append(Problem(field=f"input {spec.name}", what="content unknown", found=spec.datatype))
    if problems:
        raise InputError(*problems, remedy=SAMPLES_REMEDY)
    rng = np.random.default_rng(seed)
    return tuple(Sample(inputs=tuple(_random_tensor(spec, batched, rng) for spec in inputs)) for _ in range(count))


def _random_tensor(spec: TensorSpec, batched: bool, rng: np.random.Generator) -> Tensor:
    shape = (1, *spec.shape[1:]) if batched else spec.shape
    dtype = DTYPES[spec.datatype]
    data = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
    return Tensor(name=spec.name, datatype=spec.datatype, data=data.astype(dtype))


def stack(samples: Sequence[Sample], batch: int) -> tuple[Sample, ...]:
    """Requests of `batch` rows that together use every sample; samples are repeated where they run short.

    Only samples of equal inputs and shapes share a request, as in the server's own batches. Raises InputError when a
    sample is not one row.
    """
    _check_rows(samples)
    alike: dict[tuple[tuple[str, str, tuple[int, ...]], ...], list[Sample]] = {}
    for sample in samples:
        alike.setdefault(tuple((t.name, t.datatype, t.shape) for t in sample.inputs), []).append(sample)
    return tuple(request for group in alike.values() for request in _stack_alike(group, batch))


def _stack_alike(samples: Sequence[Sample], batch: int) -> Iterator[Sample]:
    requests = -(-len(samples) // batch)
    rows = list(islice(cycle(samples), requests * batch))
    for i in range(requests):
        columns = zip(*(row.inputs for row in rows[i * batch : (i + 1) * batch]), strict=True)
        yield Sample(
            inputs=tuple(
                Tensor(name=column[0].name, datatype=column[0].datatype, data=np.concatenate([t.data for t in column]))
                for column in columns
            )
        )


def _check_rows(samples: Sequence[Sample]) -> None:
    for i, sample in enumerate(samples):
        for tensor in sample.inputs:
            if not tensor.shape or tensor.shape[0] != 1:
                what = f"sample {i} is not one row: the first dimension of every input is the batch"
                raise InputError(Problem(what=what, field=f"input {tensor.name}", found=f"shape {list(tensor.shape)}"))
