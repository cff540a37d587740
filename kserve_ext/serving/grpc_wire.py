"""gRPC over HTTP/2 as bytes: what a head says, messages in and out of a body, statuses as header blocks. No I/O."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from kserve_ext.http2.frames import header_block
from kserve_ext.http2.heads import Fields, MalformedError
from kserve_ext.serving.faults import BadRequest, Fault, ModelFailed, TooLarge

OK = 0
STATUS_CODES = {
    "OK": 0, "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "ABORTED": 10,
    "OUT_OF_RANGE": 11, "UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14, "DATA_LOSS": 15, "UNAUTHENTICATED": 16,
}  # fmt: skip

_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_COMPRESSIONS = {"gzip": 31, "deflate": 15}  # zlib's window bits
_ENCODINGS = "identity, deflate, gzip"

HEAD = header_block([(":status", "200"), ("content-type", "application/grpc")])
GOOD_END = header_block([("grpc-status", "0")])
NOT_GRPC = header_block([(":status", "415")])


class Head(NamedTuple):
    """What the head of a request says."""

    path: str
    is_grpc: bool
    timeout_s: float | None
    encoding: str
    request_id: str
    trace: str
    metadata: tuple[tuple[str, str], ...]


class Unsupported(Fault):
    """A method, or an encoding, that this server does not have."""

    status, code = 501, "UNIMPLEMENTED"


_PSEUDO = (b":method", b":scheme", b":path", b":authority")
_OF_HTTP_1 = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")


def read_head(fields: Fields) -> Head:
    """Raises MalformedError for fields that HTTP/2 forbids in a request."""
    pseudo: dict[bytes, bytes] = {}
    others: dict[str, str] = {}
    for name, value in fields:
        if name.startswith(b":"):
            if others or name not in _PSEUDO or name in pseudo:
                raise MalformedError(name)
            pseudo[name] = value
        elif name != name.lower() or name in _OF_HTTP_1 or (name == b"te" and value != b"trailers"):
            raise MalformedError(name)
        else:
            others[name.decode("latin-1")] = value.decode("latin-1")
    if not all(pseudo.get(name) for name in _PSEUDO[:3]):
        raise MalformedError(b"a pseudo-header is missing")
    is_grpc = pseudo[b":method"] == b"POST" and others.get("content-type", "").startswith("application/grpc")
    return Head(
        path=pseudo[b":path"].decode("latin-1"),
        is_grpc=is_grpc,
        timeout_s=_timeout_s(others.pop("grpc-timeout", "")),
        encoding=others.get("grpc-encoding", "identity"),
        request_id=others.get("x-request-id", ""),
        trace=others.get("traceparent", ""),
        metadata=tuple(others.items()),
    )


def _timeout_s(text: str) -> float | None:
    match = _TIMEOUT.fullmatch(text)
    return int(match[1]) * _UNITS_S[match[2]] if match else None


def message(content: bytes) -> bytes:
    """A message with its prefix."""
    return b"\0" + len(content).to_bytes(4, "big") + content


def ending(code: int, text: str, more: Sequence[tuple[str, str]] = ()) -> bytes:
    """The trailers of an answer that has begun."""
    return header_block([*_status(code, text), *more])


def refusal(fault: Fault) -> bytes:
    """An answer that is nothing but a status."""
    more = [] if fault.retry_after_s is None else [("retry-after", str(fault.retry_after_s))]
    if isinstance(fault, Unsupported):
        more.append(("grpc-accept-encoding", _ENCODINGS))
    return only_ending(STATUS_CODES[fault.code], fault.message, more)


def only_ending(code: int, text: str, more: Sequence[tuple[str, str]] = ()) -> bytes:
    """A head and trailers in one."""
    return header_block([(":status", "200"), ("content-type", "application/grpc"), *_status(code, text), *more])


def _status(code: int, text: str) -> list[tuple[str, str]]:
    words = [("grpc-message", quote(text[:_MAX_TEXT], safe=" !#$&'()*+,/:;=?@[]"))] if text else []
    return [("grpc-status", str(code)), *words]


_MAX_TEXT = 1024  # clients refuse trailers beyond 8 KiB


class MessageReader:
    """Cuts a body into messages. `wanted` says how many bytes of a message that has begun are still to come."""

    def __init__(self, limit: int, encoding: str) -> None:
        self._limit, self._encoding = limit, encoding
        self._buffer = bytearray()
        self.wanted = 0

    def feed(self, payload: bytes) -> list[bytes]:
        """The messages that `payload` completes. Raises a Fault."""
        if not self._buffer and len(payload) >= 5:
            size = int.from_bytes(payload[1:5], "big")
            if len(payload) == size + 5 and not payload[0] and size <= self._limit:  # as is usual: all of it in a frame
                return [payload[5:]]
        self._buffer += payload
        return self._cut()

    @property
    def between(self) -> bool:
        """Whether no message has begun."""
        return not self._buffer

    def _cut(self) -> list[bytes]:
        messages: list[bytes] = []
        buffer = self._buffer
        while len(buffer) >= 5:
            size = int.from_bytes(buffer[1:5], "big")
            if size > self._limit:
                raise TooLarge(f"the request has {size} bytes; at most {self._limit} are taken")
            self.wanted = 5 + size - len(buffer)
            if self.wanted > 0:
                break
            content = bytes(memoryview(buffer)[5 : 5 + size])
            messages.append(self._inflated(content) if buffer[0] else content)
            del buffer[: 5 + size]
        return messages

    def _inflated(self, content: bytes) -> bytes:
        """Never more than the limit, whatever the bytes say of themselves."""
        window = _COMPRESSIONS.get(self._encoding)
        if window is None:
            raise Unsupported(f"messages are not taken in the encoding {self._encoding!r}; in {_ENCODINGS} they are")
        inflater = zlib.decompressobj(window)
        try:
            inflated = inflater.decompress(content, self._limit + 1)
        except zlib.error as error:
            raise BadRequest(f"the message is not {self._encoding}: {error}") from None
        if len(inflated) > self._limit:
            raise TooLarge(f"the request is inflated to more than {self._limit} bytes")
        if not inflater.eof:
            raise BadRequest(f"the message ends before its {self._encoding} does")
        return inflated


def internal() -> ModelFailed:
    """What a client is told of a failure in the server itself."""
    return ModelFailed("internal server error")
