"""Inputs and outputs of a model: names, Triton's datatypes and dimensions, read from `name:FP32:3x224x224`.

A Signature holds the dimensions as config.pbtxt wants them: of one row where the model can be batched, else of the
whole tensor. No I/O. Raises ModelError.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.errors import ModelError, Problem

DATATYPES = tuple(
    f"TYPE_{name}"
    for name in (
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
        "FP16", "FP32", "FP64", "STRING", "BF16",
    )
)  # fmt: skip
VARIABLE = -1  # a dimension whose size differs from request to request

_DIMS = re.compile(r"(-1|[1-9][0-9]{0,8})(x(-1|[1-9][0-9]{0,8}))*")
_TENSOR_ALLOWED = (
    "NAME:TYPE:DIMS, the dimensions of one row without the batch, -1 for a variable one: image:FP32:3x224x224"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorShape:
    """One input or output; `datatype` is Triton's name for it, e.g. TYPE_FP32."""

    name: str
    datatype: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What goes into a model and what comes out; `batchable` says whether `dims` leave out a batch dimension."""

    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    batchable: bool


def parse_signature(inputs: Sequence[str], outputs: Sequence[str], *, batchable: bool = True) -> Signature:
    """The signature given as `--input` and `--output` texts. Raises ModelError with every problem."""
    problems: list[Problem] = []
    read: dict[str, tuple[TensorShape, ...]] = {}
    for option, texts in (("--input", inputs), ("--output", outputs)):
        found = [_parse(text, option, problems) for text in texts]
        read[option] = tuple(tensor for tensor in found if tensor is not None)
        names = [tensor.name for tensor in read[option]]
        if not texts:
            problems.append(
                Problem(field=option, what="this kind of file does not tell its tensors", allowed=_TENSOR_ALLOWED)
            )
        problems += [
            Problem(field=option, what="a name given twice", found=name)
            for name in sorted(set(names))
            if names.count(name) > 1
        ]
    if problems:
        raise ModelError(*problems)
    return Signature(inputs=read["--input"], outputs=read["--output"], batchable=batchable)


def _parse(text: str, option: str, problems: list[Problem]) -> TensorShape | None:
    """One tensor. The name may hold colons, as TensorFlow's do."""
    parts = text.rsplit(":", 2)
    if len(parts) < 3 or not parts[0].strip():
        problems.append(Problem(field=option, what="not a tensor", found=repr(text), allowed=_TENSOR_ALLOWED))
        return None
    name, kind, dims = parts
    datatype = "TYPE_" + kind.upper().removeprefix("TYPE_").replace(
        "BYTES", "STRING"
    )  # BYTES is what the protocol says
    if datatype not in DATATYPES:
        allowed = ", ".join(known.removeprefix("TYPE_") for known in DATATYPES)
        problems.append(Problem(field=option, what=f"unknown datatype of `{name}`", found=repr(kind), allowed=allowed))
        return None
    if not _DIMS.fullmatch(dims):
        problems.append(
            Problem(field=option, what=f"no dimensions of `{name}`", found=repr(dims), allowed=_TENSOR_ALLOWED)
        )
        return None
    return TensorShape(name=name, datatype=datatype, dims=tuple(int(dim) for dim in dims.split("x")))
