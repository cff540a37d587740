"""The messages of V2 streaming, which KServe's own protocol file leaves out. Importing registers them with protobuf."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

_FILE = "kserve_ext/serving/stream.proto"


def _describe() -> descriptor_pb2.FileDescriptorProto:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package="inference", syntax="proto3")
    file.dependency.append(pb.DESCRIPTOR.name)
    message = file.message_type.add(name="ModelStreamInferResponse")
    message.field.add(name="error_message", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(
        name="infer_response",
        number=2,
        type=field.TYPE_MESSAGE,
        type_name=".inference.ModelInferResponse",
        label=field.LABEL_OPTIONAL,
    )
    return file


_POOL = descriptor_pool.Default()
_POOL.Add(_describe())
ModelStreamInferResponse: Any = message_factory.GetMessageClass(
    _POOL.FindMessageTypeByName("inference.ModelStreamInferResponse")
)
