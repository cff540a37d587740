"""The gRPC messages of the Open Inference Protocol V2, as far as a client needs them.

They live in a descriptor pool of their own: tritonclient and kserve each register theirs with protobuf's default pool,
under the same names, so a process can import only one of the two. These work beside both, and load in milliseconds.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "kserve_ext"  # not on the wire
_FIELD = descriptor_pb2.FieldDescriptorProto

# message: its fields with number and type; `*` is repeated, a capital letter starts another message
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Contents": {
        "bool_contents": (1, "bool*"), "int_contents": (2, "int32*"), "int64_contents": (3, "int64*"),
        "uint_contents": (4, "uint32*"), "uint64_contents": (5, "uint64*"), "fp32_contents": (6, "float*"),
        "fp64_contents": (7, "double*"), "bytes_contents": (8, "bytes*"),
    },
    "Tensor": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*"), "contents": (5, "Contents")},
    "InferRequest": {
        "model_name": (1, "string"), "model_version": (2, "string"), "inputs": (5, "Tensor*"),
        "raw_input_contents": (7, "bytes*"),
    },
    "InferResponse": {"outputs": (5, "Tensor*"), "raw_output_contents": (6, "bytes*")},
    "ModelName": {"name": (1, "string"), "version": (2, "string")},
    "Metadata": {"inputs": (4, "Tensor*"), "outputs": (5, "Tensor*")},
    "Ready": {"ready": (1, "bool")},
}  # fmt: skip


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="kserve_ext/client.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, written) in fields.items():
            kind = written.rstrip("*")
            label = _FIELD.LABEL_REPEATED if kind != written else _FIELD.LABEL_OPTIONAL
            if kind[0].isupper():
                message.field.add(
                    name=field, number=number, label=label, type=_FIELD.TYPE_MESSAGE, type_name=f".{_PACKAGE}.{kind}"
                )
            else:
                message.field.add(
                    name=field, number=number, label=label, type=_FIELD.Type.Value(f"TYPE_{kind.upper()}")
                )
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


InferRequest = _message("InferRequest")
InferResponse = _message("InferResponse")
ModelName = _message("ModelName")
Metadata = _message("Metadata")
Ready = _message("Ready")
