"""Questions as gRPC messages and answers as tensors: raw contents in and out. Raises ValueError for a bad answer. Pure."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from kserve_ext.bench.codec import GRPC_SERVICE
from kserve_ext.bench.message import Reply, Request
from kserve_ext.bench.payload import TensorSpec, tensor_data
from kserve_ext.bench.target import Target
from kserve_ext.bench.tensor import Tensor, from_items, from_wire, to_wire
from kserve_ext.client import messages

_TYPED = {  # the field of a server that answers no raw contents
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def encode_inference(target: Target, tensors: tuple[Tensor, ...]) -> Request:
    """One inference."""
    message = messages.InferRequest(model_name=target.model, model_version=target.version or "")
    for tensor in tensors:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_input_contents.append(to_wire(tensor))
    return Request(path=f"{GRPC_SERVICE}/ModelInfer", body=message.SerializeToString())


def decode_inference(reply: Reply) -> tuple[Tensor, ...]:
    """The outputs."""
    message = _parse(messages.InferResponse, reply)
    raw = message.raw_output_contents
    if not raw:
        return tuple(_typed(output) for output in message.outputs)
    if len(raw) != len(message.outputs):
        raise ValueError(f"{len(message.outputs)} outputs with {len(raw)} raw contents")
    return tuple(
        from_wire(output.name, output.datatype, tuple(output.shape), content)
        for output, content in zip(message.outputs, raw, strict=True)
    )


def _typed(output: Any) -> Tensor:
    name, datatype = output.name, output.datatype
    if datatype not in _TYPED:
        raise ValueError(f"output {name} of {datatype or 'no datatype'} without raw bytes")
    values = list(getattr(output.contents, _TYPED[datatype]))
    data = from_items(values) if datatype == "BYTES" else tensor_data(values, datatype)
    return Tensor(name=name, datatype=datatype, data=data.reshape(tuple(output.shape)))


def encode_metadata(target: Target) -> Request:
    """Asks for a model's inputs and outputs."""
    return Request(path=f"{GRPC_SERVICE}/ModelMetadata", body=_model_name(target))


def decode_metadata(reply: Reply) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """A model's inputs, and its outputs."""
    message = _parse(messages.Metadata, reply)
    inputs, outputs = (
        tuple(TensorSpec(name=row.name, datatype=row.datatype, shape=tuple(row.shape)) for row in rows)
        for rows in (message.inputs, message.outputs)
    )
    return inputs, outputs


def encode_readiness(target: Target) -> Request:
    """Asks whether the model, or without one the server, is ready."""
    if not target.model:
        return Request(path=f"{GRPC_SERVICE}/ServerReady")
    return Request(path=f"{GRPC_SERVICE}/ModelReady", body=_model_name(target))


def decode_readiness(reply: Reply) -> bool:
    """Whether it is."""
    return bool(_parse(messages.Ready, reply).ready)


def _model_name(target: Target) -> bytes:
    body: bytes = messages.ModelName(name=target.model, version=target.version or "").SerializeToString()
    return body


def _parse(kind: Any, reply: Reply) -> Any:
    try:
        return kind.FromString(reply.body)
    except DecodeError as error:
        raise ValueError("the answer is not the message asked for") from error
