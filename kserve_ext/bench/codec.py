"""Inference requests as bytes, and answers as tensors: HTTP with the binary extension or plain JSON, and gRPC.

Requests are serialised once, before a run. Answers are decoded only when they are checked, not under load.
"""

from __future__ import annotations

import json
from typing import Any

from kserve_ext.bench.message import Reply, Request
from kserve_ext.bench.payload import Sample, TensorSpec, tensor_data
from kserve_ext.bench.target import Target
from kserve_ext.bench.tensor import Tensor, from_wire, to_wire
from kserve_ext.domain import Protocol

GRPC_SERVICE = "/inference.GRPCInferenceService"


def encode(sample: Sample, target: Target, *, binary: bool = True) -> Request:
    """The request that carries `sample` to `target`. `binary=False` writes plain JSON; gRPC is always binary."""
    if target.protocol is Protocol.GRPC:
        return _encode_grpc(sample, target)
    return _encode_binary(sample, target) if binary else _encode_json(sample, target)


def _model_path(target: Target) -> str:
    version = f"/versions/{target.version}" if target.version else ""
    return f"/v2/models/{target.model}{version}"


def _encode_binary(sample: Sample, target: Target) -> Request:
    raw = [to_wire(tensor) for tensor in sample.inputs]
    inputs = [
        {**_head(tensor), "parameters": {"binary_data_size": len(data)}}
        for tensor, data in zip(sample.inputs, raw, strict=True)
    ]
    head = _compact({"inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = (("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(len(head))))
    return Request(path=f"{_model_path(target)}/infer", body=head + b"".join(raw), headers=headers)


def _encode_json(sample: Sample, target: Target) -> Request:
    inputs = [{**_head(tensor), "data": _json_data(tensor)} for tensor in sample.inputs]
    headers = (("Content-Type", "application/json"),)
    return Request(path=f"{_model_path(target)}/infer", body=_compact({"inputs": inputs}), headers=headers)


def _head(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}


def _json_data(tensor: Tensor) -> list[Any]:
    if tensor.datatype == "BYTES":
        return [item.decode() for item in tensor.data.ravel()]
    values: list[Any] = tensor.data.ravel().tolist()
    return values


def _compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _encode_grpc(sample: Sample, target: Target) -> Request:
    from tritonclient.grpc import service_pb2  # 0.3 s to import

    message = service_pb2.ModelInferRequest(model_name=target.model, model_version=target.version or "")
    for tensor in sample.inputs:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_input_contents.append(to_wire(tensor))
    return Request(path=f"{GRPC_SERVICE}/ModelInfer", body=message.SerializeToString())


def decode(reply: Reply, target: Target) -> tuple[Tensor, ...]:
    """The outputs in a good answer. Raises ValueError when they cannot be read."""
    return _decode_grpc(reply) if target.protocol is Protocol.GRPC else _decode_http(reply)


def _decode_http(reply: Reply) -> tuple[Tensor, ...]:
    size = len(reply.body) if reply.json_bytes is None else reply.json_bytes
    content = json.loads(reply.body[:size])
    if not isinstance(content, dict) or not isinstance(content.get("outputs"), list):
        raise ValueError("the answer has no outputs")
    tensors, position = [], size
    for output in content["outputs"]:
        try:
            name, datatype, shape = str(output["name"]), str(output["datatype"]), tuple(map(int, output["shape"]))
            raw_bytes = (output.get("parameters") or {}).get("binary_data_size")  # KServe writes null
            if raw_bytes is None:
                data = tensor_data(_nan_for_null(output["data"]), datatype).reshape(shape)
                tensors.append(Tensor(name=name, datatype=datatype, data=data))
            else:
                tensors.append(from_wire(name, datatype, shape, reply.body[position : position + raw_bytes]))
                position += raw_bytes
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"an output without {error}") from error
    return tuple(tensors)


def _nan_for_null(values: Any) -> Any:
    """JSON has no NaN, so some servers write null."""
    if isinstance(values, list):
        return [_nan_for_null(value) for value in values]
    return float("nan") if values is None else values


_TYPED_CONTENTS = {  # field of InferTensorContents for servers that do not answer raw bytes
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip


def _decode_grpc(reply: Reply) -> tuple[Tensor, ...]:
    from google.protobuf.message import DecodeError
    from tritonclient.grpc import service_pb2

    try:
        message = service_pb2.ModelInferResponse.FromString(reply.body)
    except DecodeError as error:
        raise ValueError("the answer is not a ModelInferResponse") from error
    raw = message.raw_output_contents
    if raw and len(raw) != len(message.outputs):
        raise ValueError(f"{len(message.outputs)} outputs with {len(raw)} raw contents")
    tensors = []
    for i, output in enumerate(message.outputs):
        shape = tuple(output.shape)
        if raw:
            tensors.append(from_wire(output.name, output.datatype, shape, raw[i]))
        elif output.datatype in _TYPED_CONTENTS:
            values = list(getattr(output.contents, _TYPED_CONTENTS[output.datatype]))
            data = tensor_data(values, output.datatype).reshape(shape)
            tensors.append(Tensor(name=output.name, datatype=output.datatype, data=data))
        else:
            raise ValueError(f"output {output.name} of {output.datatype} without raw bytes")
    return tuple(tensors)


def metadata_request(target: Target) -> Request:
    """Asks for the model's inputs and outputs."""
    if target.protocol is Protocol.REST:
        return Request(path=_model_path(target), method="GET")
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelMetadataRequest(name=target.model, version=target.version or "")
    return Request(path=f"{GRPC_SERVICE}/ModelMetadata", body=message.SerializeToString())


def decode_metadata(reply: Reply, target: Target) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The model's inputs and outputs. Raises ValueError."""
    if target.protocol is Protocol.GRPC:
        from tritonclient.grpc import service_pb2

        message = service_pb2.ModelMetadataResponse.FromString(reply.body)
        rows = [[(t.name, t.datatype, t.shape) for t in side] for side in (message.inputs, message.outputs)]
    else:
        content = json.loads(reply.body)
        try:
            rows = [[(t["name"], t["datatype"], t["shape"]) for t in content[key]] for key in ("inputs", "outputs")]
        except (KeyError, TypeError) as error:
            raise ValueError(f"metadata without {error}") from error
    inputs, outputs = (
        tuple(TensorSpec(name=str(n), datatype=str(d), shape=tuple(map(int, s))) for n, d, s in side) for side in rows
    )
    return inputs, outputs
