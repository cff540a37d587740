"""What a client can ask for, each as one request and the way to read its answer, the same for HTTP and gRPC. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from kserve_ext.bench.codec import decode, decode_metadata, encode, metadata_request
from kserve_ext.bench.message import Reply, Request
from kserve_ext.bench.payload import Sample, TensorSpec
from kserve_ext.bench.target import Target
from kserve_ext.bench.tensor import Array
from kserve_ext.client.answer import Answer, Outcome
from kserve_ext.client.errors import (
    AnswerError,
    DeadlineError,
    FailedError,
    InferenceError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from kserve_ext.client.tensors import check_json, to_arrays, to_tensors
from kserve_ext.domain import Protocol
from kserve_ext.errors import InputError, Problem

T = TypeVar("T")

_ERRORS: dict[Outcome, type[InferenceError]] = {
    Outcome.REFUSED: RefusedError,
    Outcome.NOT_FOUND: NotFoundError,
    Outcome.FAILED: FailedError,
    Outcome.UNAVAILABLE: UnavailableError,
    Outcome.LOST: UnavailableError,
    Outcome.LATE: DeadlineError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A model's inputs and outputs as its server tells them; -1 is an open dimension."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One question. `read` makes the result of a good reply, and raises ValueError when it cannot."""

    target: Target
    request: Request
    read: Callable[[Reply], T]

    def result(self, answer: Answer, attempts: int) -> T:
        """What the answer says. Raises InferenceError."""
        if answer.outcome is not Outcome.ANSWERED:
            raise self._error(_ERRORS[answer.outcome], answer.reply.outcome, answer.reply.detail, attempts)
        try:
            return self.read(answer.reply)
        except ValueError as error:
            raise self._error(AnswerError, "", str(error), attempts) from error

    def _error(self, kind: type[InferenceError], status: str, detail: str, attempts: int) -> InferenceError:
        return kind(
            model=self.target.model, address=self.target.address, status=status, detail=detail, attempts=attempts
        )


def inference(
    target: Target, inputs: Mapping[str, Any], datatypes: Mapping[str, str] | None, *, binary: bool
) -> Call[dict[str, Array]]:
    """One inference. Raises InputError."""
    tensors = to_tensors(inputs, datatypes)
    if target.protocol is Protocol.GRPC:
        from kserve_ext.client.grpc_codec import decode_inference, encode_inference

        request = encode_inference(target, tensors)
        return Call(target=target, request=request, read=lambda reply: to_arrays(decode_inference(reply)))
    if not binary:
        check_json(tensors)
    request = encode(Sample(inputs=tensors), _escaped(target), binary=binary)
    return Call(target=target, request=request, read=lambda reply: to_arrays(decode(reply, target)))


def metadata(target: Target) -> Call[Metadata]:
    """A model's inputs and outputs."""
    if target.protocol is Protocol.GRPC:
        from kserve_ext.client import grpc_codec

        request = grpc_codec.encode_metadata(target)
        return Call(target=target, request=request, read=lambda reply: _metadata(grpc_codec.decode_metadata(reply)))
    request = metadata_request(_escaped(target))
    return Call(target=target, request=request, read=lambda reply: _metadata(decode_metadata(reply, target)))


def _metadata(sides: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]) -> Metadata:
    return Metadata(inputs=sides[0], outputs=sides[1])


def readiness(target: Target) -> Call[bool]:
    """Whether the model, or without one the server, takes requests."""
    if target.protocol is Protocol.GRPC:
        from kserve_ext.client.grpc_codec import decode_readiness, encode_readiness

        return Call(target=target, request=encode_readiness(target), read=decode_readiness)
    named = _escaped(target)
    version = f"/versions/{named.version}" if named.version else ""
    path = f"/v2/models/{named.model}{version}/ready" if named.model else "/v2/health/ready"
    return Call(target=target, request=Request(path=path, method="GET"), read=lambda reply: True)


_NOT_ALLOWED = ("HTTP 401", "HTTP 403", "gRPC 7 PERMISSION_DENIED", "gRPC 16 UNAUTHENTICATED")


def says_not_ready(answer: Answer) -> bool:
    """Whether a readiness call was answered with no, or by nobody. One that may not be asked is neither."""
    if answer.reply.outcome in _NOT_ALLOWED:
        return False
    return answer.outcome in (Outcome.UNAVAILABLE, Outcome.NOT_FOUND, Outcome.REFUSED, Outcome.LOST)


def model_target(server: Target, model: str, version: str | None) -> Target:
    """The model on the server. Raises InputError."""
    if not model:
        raise InputError(Problem(field="model", what="no model named"))
    return replace(server, model=model, version=version)


def _escaped(target: Target) -> Target:
    """The target with names that are safe in a path."""
    version = quote(target.version, safe="") if target.version else None
    return replace(target, model=quote(target.model, safe=""), version=version)
