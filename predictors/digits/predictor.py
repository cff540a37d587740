"""Runs an ONNX file with onnxruntime, on the best provider that is installed.

For digits, and for any other model that is one file: names and shapes are read from it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kserve_ext.errors import ModelError, Problem
from kserve_ext.render.tensors import VARIABLE, Signature, TensorShape
from kserve_ext.serving.predictor import Predictor

log = logging.getLogger("kserve_ext.serving")

# Quickest first. TensorRT is left out: it builds an engine for every shape at the first request.
PREFERRED_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_DATATYPES = {
    "float": "FP32", "double": "FP64", "float16": "FP16", "string": "STRING", "bool": "BOOL",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
}  # fmt: skip


class Digits(Predictor):
    """The session of the only .onnx file in the artifacts."""

    def load(self, artifacts: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would burn a core
        available = onnxruntime.get_available_providers()
        providers = [provider for provider in PREFERRED_PROVIDERS if provider in available]
        file = only_onnx_file(artifacts)
        self._session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        self._outputs = [output.name for output in self._session.get_outputs()]
        log.info("%s runs on %s", file.name, ", ".join(self._session.get_providers()))

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
