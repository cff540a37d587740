"""HTTP/1.1 for the load loop: keep-alive connections, one request at a time on each.

The pool grows when every connection is busy, up to a bound. A response is framed and counted, not decoded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_ext.bench.connection import Connection, Poller, Route, find_route
from kserve_ext.bench.message import ANSWERED, Reply, Request
from kserve_ext.bench.target import Target
from kserve_ext.bench.transport import Outbox

MAX_CONNECTIONS = 512
MAX_HEAD_BYTES = 65536
BAD_RESPONSE = "bad HTTP response"
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
    parts = []
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


def request_bytes(request: Request, authority: str) -> bytes:
    """The whole request as it goes over the wire."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {authority}", "User-Agent: kserve-ext"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if request.method != "GET":
        lines.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + request.body


class Http1Transport:
    """Requests over a pool of keep-alive connections."""

    def __init__(self, target: Target, requests: Sequence[Request], connections: int | None, outbox: Outbox) -> None:
        self.outbox = outbox
        self._route = find_route(target, alpn="http/1.1")
        self.poller = Poller()
        self._requests = [request_bytes(request, target.authority or target.address) for request in requests]
        self._limit = connections or MAX_CONNECTIONS
        self._idle: list[_Http1Connection] = []
        self._connections: set[_Http1Connection] = set()

    def start(self, ticket: int, index: int) -> bool:
        if self._idle:
            connection = self._idle.pop()  # the last one used: its socket and parser are warm
        elif len(self._connections) < self._limit:
            try:
                connection = _Http1Connection(self._route, self.poller, self)
            except OSError as error:
                self.outbox.finish(ticket, f"no socket: {error.strerror}")
                return True
            self._connections.add(connection)
        else:
            return False
        connection.request(ticket, self._requests[index])
        return True

    def release(self, connection: _Http1Connection) -> None:
        self._idle.append(connection)

    def forget(self, connection: _Http1Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        self.poller.close()


class _Http1Connection(Connection):
    def __init__(self, route: Route, poller: Poller, pool: Http1Transport) -> None:
        self._pool = pool
        self._reader = ResponseReader()
        self._ticket: int | None = None
        super().__init__(route, poller)

    def request(self, ticket: int, data: bytes) -> None:
        self._ticket = ticket
        self.send(data)

    def received(self, data: bytes) -> None:
        try:
            responses = self._reader.feed(data)
        except FramingError:
            self._drop(BAD_RESPONSE)
            return
        for response in responses:
            self._answer(response)

    def lost(self, kind: str) -> None:
        try:
            response = self._reader.finish() if kind == "connection closed" else None
        except FramingError:
            response, kind = None, BAD_RESPONSE
        if response is not None and self._ticket is not None:
            self._answer(response)
        else:
            self._drop(kind)

    def _answer(self, response: Response) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is None:  # an answer to nothing
            self._drop(BAD_RESPONSE)
            return
        outbox = self._pool.outbox
        if outbox.keep_replies:
            outbox.reply(ticket, _reply(response))
        else:
            outbox.finish(ticket, ANSWERED if response.status == 200 else f"HTTP {response.status}")
        if response.keep_alive and not self.closed:
            self._pool.release(self)
        else:
            self._drop("")

    def _drop(self, kind: str) -> None:
        """Close, and fail the request that waits here."""
        self.close()
        self._pool.forget(self)
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._pool.outbox.finish(ticket, kind)


def _reply(response: Response) -> Reply:
    json_length = _JSON_LENGTH.search(response.head)
    good = response.status == 200
    return Reply(
        outcome=ANSWERED if good else f"HTTP {response.status}",
        detail="" if good else response.body[:500].decode(errors="replace").strip(),
        json_bytes=int(json_length[1]) if json_length else None,
        body=response.body,
    )
