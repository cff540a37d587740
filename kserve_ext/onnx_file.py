"""Looks into an .onnx file: names, datatypes and dimensions of its inputs and outputs, and whether it can be batched.

Reads the file and the names of its external data; runs nothing and loads no weights into memory twice.
Raises ModelError for what Triton's ONNX backend could not load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kserve_ext.errors import MissingExtraError, ModelError, Problem
from kserve_ext.render.tensors import VARIABLE, Signature, TensorShape

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

_DATATYPES = {
    "FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16", "BFLOAT16": "BF16", "STRING": "STRING", "BOOL": "BOOL",
    "INT8": "INT8", "INT16": "INT16", "INT32": "INT32", "INT64": "INT64",
    "UINT8": "UINT8", "UINT16": "UINT16", "UINT32": "UINT32", "UINT64": "UINT64",
}  # fmt: skip
_BATCHABLE = "every input and output has a variable first dimension"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """What an .onnx file tells. `dims` are those in the file, batch dimension included; -1 is a variable one."""

    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    batchable: bool
    why: str  # one clause: why it can be batched, or what stands in the way
    opset: int
    external_files: tuple[str, ...]  # weights beside the file, by path relative to its folder

    @property
    def signature(self) -> Signature:
        """The tensors as config.pbtxt wants them: without the batch dimension where there is one."""
        skip = 1 if self.batchable else 0
        inputs, outputs = (
            tuple(
                TensorShape(name=tensor.name, datatype=tensor.datatype, dims=tensor.dims[skip:]) for tensor in tensors
            )
            for tensors in (self.inputs, self.outputs)
        )
        return Signature(inputs=inputs, outputs=outputs, batchable=self.batchable)


def inspect_onnx(path: Path) -> OnnxModel:
    """What the file at `path` takes and gives. Raises ModelError, or MissingExtraError without the onnx package."""
    model = _load(path)
    weights = {tensor.name for tensor in model.graph.initializer}  # old files list them among the inputs
    inputs = _shapes(path, "input", (value for value in model.graph.input if value.name not in weights))
    outputs = _shapes(path, "output", model.graph.output)
    why = _fixed(inputs, outputs)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    return OnnxModel(
        inputs=inputs,
        outputs=outputs,
        batchable=not why,
        why=why or _BATCHABLE,
        opset=opset,
        external_files=_external_files(path, model.graph),
    )


def _load(path: Path) -> ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "triton") from error
    from google.protobuf.message import DecodeError

    try:
        content = path.read_bytes()
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise _error(path, "not an ONNX file, or cut off", found=_start(content)) from error
    # Protobuf takes many texts, the empty one too, for a message: ask for what every model has.
    if not (model.ir_version and model.opset_import and model.graph.node):
        raise _error(path, "not an ONNX file, or cut off: no operators in it", found=_start(content))
    return model


def _shapes(path: Path, side: str, values: Iterable[ValueInfoProto]) -> tuple[TensorShape, ...]:
    shapes = tuple(_shape(path, side, value) for value in values)
    if not shapes:
        raise _error(path, f"no {side}s")
    return shapes


def _shape(path: Path, side: str, value: ValueInfoProto) -> TensorShape:
    from onnx import TensorProto

    name = _text(path, value.name)
    if value.type.WhichOneof("value") != "tensor_type":
        found = str(value.type.WhichOneof("value") or "nothing").removesuffix("_type")
        raise _error(path, f"{side} `{name}` is not a tensor", found=found, allowed="a tensor")
    tensor = value.type.tensor_type
    known = tensor.elem_type in TensorProto.DataType.values()
    datatype = TensorProto.DataType.Name(tensor.elem_type) if known else str(tensor.elem_type)
    if datatype not in _DATATYPES:
        allowed = ", ".join(_DATATYPES)
        raise _error(path, f"{side} `{name}` has a datatype Triton lacks", found=datatype, allowed=allowed)
    if not tensor.HasField("shape"):
        raise ModelError(
            Problem(file=str(path), what=f"{side} `{name}` has no shape in the file"),
            remedy="fill it in with onnx.shape_inference.infer_shapes, or export with shapes",
        )
    dims = tuple(dim.dim_value if dim.dim_value > 0 else VARIABLE for dim in tensor.shape.dim)
    return TensorShape(name=name, datatype=f"TYPE_{_DATATYPES[datatype]}", dims=dims)


def _fixed(inputs: tuple[TensorShape, ...], outputs: tuple[TensorShape, ...]) -> str:
    """The first input or output that stands in the way of batching, or "" where none does."""
    for side, tensors in (("input", inputs), ("output", outputs)):
        for tensor in tensors:
            if not tensor.dims:
                return f"{side} `{tensor.name}` is a single value without dimensions"
            if tensor.dims[0] != VARIABLE:
                return f"{side} `{tensor.name}` has a fixed first dimension of {tensor.dims[0]}"
    return ""


def _external_files(path: Path, graph: GraphProto) -> tuple[str, ...]:
    """The files that hold weights, each checked to be beside the model, there, and long enough."""
    needed = _external_sizes(path, graph)
    for location, size in needed.items():
        if not location or PurePosixPath(location).is_absolute() or ".." in PurePosixPath(location).parts:
            raise _error(path, "weights outside the model's folder", found=repr(location), allowed="a file beside it")
        file = path.parent / location
        if not file.is_file():
            raise _error(path, f"its weights are missing: {file}", allowed="the external data file beside the model")
        if (found := file.stat().st_size) < size:
            raise _error(path, f"its weights are cut off: {file}", found=f"{found} bytes", allowed=f"at least {size}")
    return tuple(sorted(needed))


def _external_sizes(path: Path, graph: GraphProto) -> dict[str, int]:
    """How many bytes each file of weights must have."""
    from onnx import TensorProto

    needed: dict[str, int] = {}
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: _text(path, entry.value) for entry in tensor.external_data}
            try:
                end = int(entries.get("offset") or 0) + int(entries.get("length") or 0)
            except ValueError as error:
                raise _error(path, f"weights `{tensor.name}` with an offset or length that is no number") from error
            location = entries.get("location", "")
            needed[location] = max(end, needed.get(location, 0))
    return needed


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant of a graph and of the graphs inside its operators."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _tensors(inner)


def _text(path: Path, value: object) -> str:
    """A text of the file; protobuf gives bytes where it is not UTF-8."""
    if isinstance(value, str):
        return value
    raise _error(path, "a name that is not UTF-8", found=repr(value))


def _start(content: bytes) -> str:
    return f"{len(content)} bytes, starting {content[:8]!r}" if content else "an empty file"


def _error(path: Path, what: str, *, found: str = "", allowed: str = "") -> ModelError:
    return ModelError(Problem(file=str(path), what=what, found=found, allowed=allowed))
