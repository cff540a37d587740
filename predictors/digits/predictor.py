"""Runs an ONNX file with onnxruntime, on the best provider that is installed.

For digits, and for any other model that is one file: names and shapes are read from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kserve_ext.errors import ModelError, Problem
from kserve_ext.render.tensors import VARIABLE, Signature, TensorShape
from kserve_ext.serving.onnx_session import open_onnx
from kserve_ext.serving.predictor import Predictor

_DATATYPES = {
    "float": "FP32", "double": "FP64", "float16": "FP16", "string": "STRING", "bool": "BOOL",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
}  # fmt: skip


class Digits(Predictor):
    """The session of the only .onnx file in the artifacts."""

    def load(self, artifacts: Path) -> None:
        self._session = open_onnx(only_onnx_file(artifacts), threads=self.threads)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def predict(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(batch)), strict=True))

    def signature(self, artifacts: Path) -> Signature:
        inputs, outputs = _shapes(self._session.get_inputs()), _shapes(self._session.get_outputs())
        batchable = all(tensor.dims and tensor.dims[0] == VARIABLE for tensor in (*inputs, *outputs))
        return Signature(inputs=_rows(inputs, batchable), outputs=_rows(outputs, batchable), batchable=batchable)


def only_onnx_file(artifacts: Path) -> Path:
    """The model's file, in the folder or in its newest version. Raises ModelError."""
    for folder in (artifacts, *sorted((child for child in artifacts.iterdir() if child.name.isdigit()), reverse=True)):
        files = sorted(folder.glob("*.onnx"))
        if len(files) == 1:
            return files[0]
    raise ModelError(
        Problem(file=str(artifacts), what="not one model file", found="none or several", allowed="one .onnx file")
    )


def _shapes(values: Sequence[Any]) -> tuple[TensorShape, ...]:
    return tuple(
        TensorShape(
            name=value.name,
            datatype=f"TYPE_{_DATATYPES[value.type.removeprefix('tensor(').removesuffix(')')]}",
            dims=tuple(dim if isinstance(dim, int) else VARIABLE for dim in value.shape),
        )
        for value in values
    )


def _rows(tensors: tuple[TensorShape, ...], batchable: bool) -> tuple[TensorShape, ...]:
    if not batchable:
        return tensors
    return tuple(TensorShape(name=one.name, datatype=one.datatype, dims=one.dims[1:]) for one in tensors)
