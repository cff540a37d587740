"""HTTP/1.1 responses cut out of a byte stream: by length, by chunks, or by the end of the stream. No sockets.

Bodies are counted and kept as they are, not decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 65536
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) (\d{3})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
_JSON_LENGTH = re.compile(rb"\r\ninference-header-content-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")


class FramingError(ValueError):
    """Bytes that are not an HTTP/1.1 response."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response as framed; `head` is everything up to and with the empty line."""

    status: int
    head: bytes
    body: bytes
    keep_alive: bool

    @property
    def json_bytes(self) -> int | None:
        """Length of the JSON in front of raw tensors, where the head tells one."""
        length = _JSON_LENGTH.search(self.head)
        return int(length[1]) if length else None


class ResponseReader:
    """Cuts a byte stream into responses, however the stream was split."""

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def idle(self) -> bool:
        """Nothing of a response has come yet."""
        return not self._buffer

    def feed(self, data: bytes) -> list[Response]:
        """The responses that `data` completes. Raises FramingError."""
        self._buffer = self._buffer + data if self._buffer else data
        responses = []
        while self._buffer and (taken := self._take()) is not None:
            response, size = taken
            self._buffer = self._buffer[size:]
            if response.status >= 200:  # 1xx only announces the response
                responses.append(response)
        return responses

    def finish(self) -> Response | None:
        """The response whose body ends where the stream ends, if that is what was being read."""
        head_size = self._buffer.find(b"\r\n\r\n") + 4
        if head_size < 4:
            return None
        head = self._buffer[:head_size]
        if _LENGTH.search(head) or _CHUNKED.search(head):
            return None  # cut short
        status, _ = _status(head)
        return Response(status, head, self._buffer[head_size:], keep_alive=False)

    def _take(self) -> tuple[Response, int] | None:
        buffer = self._buffer
        head_size = buffer.find(b"\r\n\r\n") + 4
        if head_size < 4:
            if len(buffer) > MAX_HEAD_BYTES:
                raise FramingError("head too long")
            return None
        head = buffer[:head_size]
        status, keep_alive = _status(head)
        if status < 200 or status in (204, 304):
            return Response(status, head, b"", keep_alive), head_size
        if _CHUNKED.search(head):
            chunks = _take_chunks(buffer, head_size)
            return None if chunks is None else (Response(status, head, chunks[0], keep_alive), chunks[1])
        length = _LENGTH.search(head)
        if length is None:
            return None  # the body ends with the connection
        end = head_size + int(length[1])
        if len(buffer) < end:
            return None
        return Response(status, head, buffer[head_size:end], keep_alive), end


def _status(head: bytes) -> tuple[int, bool]:
    line = _STATUS_LINE.match(head)
    if line is None:
        raise FramingError("no status line")
    connection = _CONNECTION.search(head)
    wish = connection[1].lower() if connection else b""
    return int(line[2]), b"close" not in wish and (line[1] == b"1" or b"keep-alive" in wish)


def _take_chunks(buffer: bytes, position: int) -> tuple[bytes, int] | None:
    """The body that starts at `position` and where it ends; None while the last chunk has not come."""
    parts: list[bytes] = []
    while True:
        if buffer.find(b"\r\n", position) < 0:
            return None
        line = _CHUNK_SIZE.match(buffer, position)
        if line is None:
            raise FramingError("no chunk size")
        size, start = int(line[1], 16), line.end()
        if size == 0:
            return _skip_trailers(buffer, start, b"".join(parts))
        if len(buffer) < start + size + 2:
            return None
        parts.append(buffer[start : start + size])
        position = start + size + 2


def _skip_trailers(buffer: bytes, position: int, body: bytes) -> tuple[bytes, int] | None:
    while (end := buffer.find(b"\r\n", position)) >= 0:
        if end == position:
            return body, end + 2
        position = end + 2
    return None
