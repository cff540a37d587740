"""Whether a request's tensors fit the model's signature, and which kind they are: kinds are what batches are made of.

A kind that was found good is remembered, so all but the first request of a kind cost one look-up.
"""

from __future__ import annotations

from collections.abc import Hashable

from kserve_ext.render.tensors import VARIABLE, Signature, TensorShape
from kserve_ext.serving.datatypes import DTYPES, datatype_of, signature_datatype
from kserve_ext.serving.execution import Array, Tensors
from kserve_ext.serving.faults import BadRequest

_REMEMBERED = 1024  # variable dimensions make many kinds


class Kinds:
    """The kinds of one model's requests. Without a signature only the leading dimension is checked."""

    def __init__(self, signature: Signature | None, *, batched: bool) -> None:
        self._batched = signature.batchable if signature else batched
        self._inputs = {tensor.name: tensor for tensor in signature.inputs} if signature else None
        self._good: set[Hashable] = set()

    def check(self, tensors: Tensors) -> Hashable:
        """The kind: name, datatype and the shape of a row, for each tensor. Raises BadRequest."""
        skip = 1 if self._batched else 0
        kind = tuple((name, array.dtype.char, array.shape[skip:]) for name, array in tensors.items())
        if self._batched:
            self._check_rows(tensors)
        if kind not in self._good:
            self._check_signature(tensors)
            if len(self._good) >= _REMEMBERED:
                self._good.clear()
            self._good.add(kind)
        return kind

    def _check_rows(self, tensors: Tensors) -> None:
        rows = -1
        for name, array in tensors.items():
            if array.ndim == 0:
                raise BadRequest(f"input `{name}` has no dimensions; the first one is the batch")
            if rows == -1:
                rows = array.shape[0]
            elif array.shape[0] != rows:
                raise BadRequest(f"input `{name}` has {array.shape[0]} rows, another has {rows}")
        if rows < 1:
            raise BadRequest("no rows" if tensors else "no inputs")

    def _check_signature(self, tensors: Tensors) -> None:
        if self._inputs is None:
            return
        allowed = ", ".join(f"`{name}`" for name in self._inputs)
        for name in tensors:
            if name not in self._inputs:
                raise BadRequest(f"the model has no input `{name}`; it has {allowed}")
        for name, wanted in self._inputs.items():
            if name not in tensors:
                raise BadRequest(f"input `{name}` is missing")
            self._check_tensor(wanted, tensors[name])

    def _check_tensor(self, wanted: TensorShape, array: Array) -> None:
        datatype = signature_datatype(wanted)
        if array.dtype != DTYPES[datatype]:
            raise BadRequest(f"input `{wanted.name}` is {datatype_of(array.dtype)}, not {datatype}")
        dims = array.shape[1:] if self._batched else array.shape
        fits = len(dims) == len(wanted.dims) and all(
            want in (VARIABLE, dim) for want, dim in zip(wanted.dims, dims, strict=True)
        )
        if not fits:
            head = ["batch"] if self._batched else []
            shape = ", ".join([*head, *("any" if dim == VARIABLE else str(dim) for dim in wanted.dims)])
            raise BadRequest(f"input `{wanted.name}` has shape {list(array.shape)}, not [{shape}]")
