"""The messages that KServe's protocol file leaves out: V2 streaming, and Triton's statistics and repository index.

Written as tables of fields; importing registers them with protobuf. Numbers and types are those of Triton's protocol.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

_FILE = "kserve_ext/serving/extensions.proto"
_PACKAGE = "inference"

# message: its fields as (number, name, type); a type in capitals is another message, * stands for many
_MESSAGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    "ModelStreamInferResponse": ((1, "error_message", "string"), (2, "infer_response", "ModelInferResponse")),
    "StatisticDuration": ((1, "count", "uint64"), (2, "ns", "uint64")),
    "InferStatistics": tuple(
        (number, name, "StatisticDuration")
        for number, name in enumerate(
            ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"), start=1
        )
    ),
    "InferBatchStatistics": (
        (1, "batch_size", "uint64"), (2, "compute_input", "StatisticDuration"),
        (3, "compute_infer", "StatisticDuration"), (4, "compute_output", "StatisticDuration"),
    ),
    "ModelStatistics": (
        (1, "name", "string"), (2, "version", "string"), (3, "last_inference", "uint64"),
        (4, "inference_count", "uint64"), (5, "execution_count", "uint64"), (6, "inference_stats", "InferStatistics"),
        (7, "batch_stats", "*InferBatchStatistics"),
    ),
    "ModelStatisticsRequest": ((1, "name", "string"), (2, "version", "string")),
    "ModelStatisticsResponse": ((1, "model_stats", "*ModelStatistics"),),
    "RepositoryIndexRequest": ((1, "repository_name", "string"), (2, "ready", "bool")),
    "RepositoryModelIndex": ((1, "name", "string"), (2, "version", "string"), (3, "state", "string"), (4, "reason", "string")),
    "RepositoryIndexResponse": ((1, "models", "*RepositoryModelIndex"),),
}  # fmt: skip
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {"string": _FIELD.TYPE_STRING, "uint64": _FIELD.TYPE_UINT64, "bool": _FIELD.TYPE_BOOL}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto3")
    file.dependency.append(pb.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, name, kind in fields:
            label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            if (plain := _TYPES.get(kind)) is not None:
                field.type = plain
            else:
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind.removeprefix('*')}"
    return file


_POOL = descriptor_pool.Default()
_POOL.Add(_describe())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


ModelStreamInferResponse = _message("ModelStreamInferResponse")
ModelStatisticsRequest, ModelStatisticsResponse = (_message(f"ModelStatistics{end}") for end in ("Request", "Response"))
RepositoryIndexRequest, RepositoryIndexResponse = (_message(f"RepositoryIndex{end}") for end in ("Request", "Response"))
