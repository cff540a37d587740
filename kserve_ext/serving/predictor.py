"""The base class of a custom predictor: what a user writes, and what follows from it by itself.

    class Digits(Predictor):
        def load(self, artifacts): ...                      # once for each instance
        def predict(self, batch): return {"label": ...}     # dict of arrays in, dict of arrays out

The leading dimension is the batch. Arrays are read-only: they are the request's own bytes; set `writes_inputs` to get copies.
BYTES tensors are object arrays of `bytes`. A predictor imports no kserve and runs on Triton's python backend too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kserve_ext.errors import InputError, MissingExtraError, Problem
from kserve_ext.render.tensors import VARIABLE, Signature
from kserve_ext.serving.datatypes import DTYPES, signature_datatype
from kserve_ext.serving.execution import Array

_WARM_DIMENSION = 16  # what a variable dimension is warmed up with


class Predictor:
    """One model. `load` and `predict` are to be written; the rest has defaults.

    `threads` is set before `load`: how many threads one execution may use. Raise `faults.BadRequest` for input that is
    wrong; anything else raised is a 500 for the request that caused it, and for no other.
    """

    version: ClassVar[str] = "1"
    allow_nan: ClassVar[bool] = False  # True: NaN is an answer
    writes_inputs: ClassVar[bool] = False
    threads: int = 1

    def load(self, artifacts: Path) -> None:
        """Make the model ready from the files in `artifacts`."""

    def predict(self, batch: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs for all rows of `batch`."""
        raise NotImplementedError(f"{type(self).__name__}.predict")

    def signature(self, artifacts: Path) -> Signature | None:
        """Names, datatypes and dimensions; asked after `load`. Read from the only .onnx file in `artifacts`.

        None: unknown, and requests are passed on unchecked.
        """
        files = sorted(artifacts.glob("*.onnx"))
        if len(files) != 1:
            return None
        from kserve_ext.onnx_file import inspect_onnx

        try:
            return inspect_onnx(files[0]).signature
        except MissingExtraError:  # the package `onnx` is not in a slim image
            return None

    def warmup(self, rows: int, signature: Signature | None) -> Mapping[str, Array] | None:
        """A batch of `rows` to warm up with; zeros of the signature's shapes. None: no warm-up."""
        if signature is None:
            return None
        return {
            tensor.name: _blank(signature_datatype(tensor), _dims(tensor.dims, rows, signature.batchable))
            for tensor in signature.inputs
        }

    explain: Any = None  # a method like `predict`, served at V1 `:explain`
    decode: Any = None  # decode(payload) -> tensors: V1 bodies that are no tensors; `payload` is the parsed JSON
    encode: Any = None  # encode(outputs) -> what the V1 answer holds as JSON


def _dims(dims: tuple[int, ...], rows: int, batchable: bool) -> tuple[int, ...]:
    known = tuple(_WARM_DIMENSION if dim == VARIABLE else dim for dim in dims)
    return (rows, *known) if batchable else known


def _blank(datatype: str, shape: tuple[int, ...]) -> Array:
    if datatype == "BYTES":
        blank = np.empty(shape, np.object_)
        blank.fill(b"")
        return blank
    return np.zeros(shape, DTYPES[datatype])


def find_predictor(target: str) -> type[Predictor]:
    """The class named `module:Class`. Raises InputError."""
    import importlib

    module_name, colon, class_name = target.partition(":")
    if not (module_name and colon and class_name):
        raise InputError(Problem(what="which predictor is meant is not clear", found=target, allowed="module:Class"))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            Problem(what=f"the module `{module_name}` cannot be imported: {error}", found=target),
            remedy="run from the folder that holds the package, or set PYTHONPATH",
        ) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Predictor)):
        names = [
            name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, Predictor)
        ]
        raise InputError(
            Problem(
                what=f"`{class_name}` in {module_name} is not a Predictor",
                found=type(found).__name__ if found is not None else "nothing",
                allowed=", ".join(name for name in names if name != "Predictor") or "a subclass of Predictor",
            )
        )
    return found
