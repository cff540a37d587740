"""gRPC for the load loop: unary calls as streams on a few HTTP/2 connections.

Request frames are built once; only the stream number changes. Answers are counted by their trailers' grpc-status.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from kserve_ext.bench.calls import GREETING, Call, prepare
from kserve_ext.bench.connection import Connection, Poller, Route, find_route
from kserve_ext.bench.message import ANSWERED, Reply, Request
from kserve_ext.bench.target import Target
from kserve_ext.bench.transport import Outbox
from kserve_ext.http2 import frames
from kserve_ext.http2.heads import Fields, HeaderReader

DEFAULT_CONNECTIONS = 4
BAD_FRAMES = "bad HTTP/2 frames"
_RECEIVE_WINDOW_LOW = frames.MAX_WINDOW // 2
_STATUS_NAMES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_TOLD = (b":status", b"grpc-status", b"grpc-message")


@dataclass(frozen=True, slots=True)
class Head:
    """What matters in a header block of a gRPC answer; empty where the block does not say."""

    http_status: str = ""
    grpc_status: str = ""
    grpc_message: str = ""


def read_head(fields: Fields) -> Head:
    """The parts of a decoded header block that are looked at."""
    found = dict(fields)
    return Head(*(found.get(name, b"").decode(errors="replace") for name in _TOLD))


class Http2Transport:
    """Calls spread over a few connections; one that the server winds down is replaced."""

    def __init__(self, target: Target, requests: Sequence[Request], connections: int | None, outbox: Outbox) -> None:
        self.outbox = outbox
        self._route = find_route(target, alpn="h2")
        self.poller = Poller()
        self._calls = [prepare(request, target) for request in requests]
        self._limit = connections or DEFAULT_CONNECTIONS
        self._connections: list[_Http2Connection] = []  # those that take new calls

    def start(self, ticket: int, index: int) -> bool:
        if len(self._connections) < self._limit:
            try:
                self._connections.append(_Http2Connection(self._route, self.poller, self))
            except OSError as error:
                self.outbox.finish(ticket, f"no socket: {error.strerror}")
                return True
        connection = min(self._connections, key=_Http2Connection.in_flight)
        return connection.call(ticket, self._calls[index])

    def forget(self, connection: _Http2Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)

    def close(self) -> None:
        self.poller.close()


class _Unsent:
    """A call whose message waits for the server's flow control."""

    __slots__ = ("position", "window")

    def __init__(self, window: int) -> None:
        self.position = 0
        self.window = window


class _Http2Connection(Connection):
    def __init__(self, route: Route, poller: Poller, pool: Http2Transport) -> None:
        self._pool = pool
        self._frames = frames.FrameReader()
        self._heads = HeaderReader(read_head)
        self._tickets: dict[int, int] = {}  # by stream
        self._bodies: dict[int, bytes] = {}  # by stream, only where replies are kept
        self._unsent_calls: dict[int, tuple[_Unsent, bytes]] = {}  # by stream, oldest first
        self._next_stream = 1
        self._block: tuple[int, int, bytes] | None = None  # a header block whose end has not come
        self._max_streams = frames.MAX_WINDOW
        self._stream_window = frames.DEFAULT_WINDOW  # the server's, for each new stream
        self._send_window = frames.DEFAULT_WINDOW  # the server's, for the connection
        self._receive_window = frames.MAX_WINDOW
        self._draining = False
        super().__init__(route, poller)
        self.send(GREETING)

    def in_flight(self) -> int:
        return len(self._tickets)

    def call(self, ticket: int, call: Call) -> bool:
        """Start a call. False when the server allows no more streams."""
        if len(self._tickets) >= self._max_streams:
            return False
        number = self._next_stream
        self._next_stream = number + 2
        self._tickets[number] = ticket
        stream = number.to_bytes(4, "big")
        size = len(call.message)
        if call.tail and size <= self._send_window and size <= self._stream_window and not self._unsent_calls:
            self._send_window -= size
            self.send(b"".join((call.head, stream, call.block, call.tail, stream, call.message)))
        else:
            self.send(call.head + stream + call.block)
            self._unsent_calls[number] = (_Unsent(self._stream_window), call.message)
            self._send_more()
        if self._next_stream > frames.MAX_WINDOW:  # out of stream numbers
            self._retire()
        return True

    def _send_more(self) -> None:
        """Send as much of the waiting messages as the windows allow."""
        for number, (unsent, message) in list(self._unsent_calls.items()):
            while unsent.position < len(message):
                size = min(len(message) - unsent.position, frames.SEND_FRAME_BYTES, unsent.window, self._send_window)
                if size <= 0:
                    break
                part = message[unsent.position : unsent.position + size]
                unsent.position += size
                unsent.window -= size
                self._send_window -= size
                end = frames.END_STREAM if unsent.position == len(message) else 0
                self.send(frames.frame(frames.DATA, end, number, part))
            if unsent.position == len(message):
                self._unsent_calls.pop(number, None)  # a failed send has dropped all of them
            if self._send_window <= 0:
                return

    def received(self, data: bytes) -> None:
        try:
            for received in self._frames.feed(data):
                self._handle(received)
        except frames.FrameError:
            self._break(BAD_FRAMES)

    def lost(self, kind: str) -> None:
        self._break(kind)

    def _break(self, kind: str) -> None:
        """Close, and fail every call that waits here."""
        self.close()
        self._pool.forget(self)
        self._unsent_calls.clear()
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            self._pool.outbox.finish(ticket, kind)

    def _retire(self) -> None:
        """Take no new calls; close when the last one is over."""
        self._draining = True
        self._pool.forget(self)
        if not self._tickets:
            self.close()

    def _handle(self, received: frames.Frame) -> None:
        kind = received.kind
        if self._block is not None and kind != frames.CONTINUATION:
            raise frames.FrameError("a header block that does not end")
        if kind == frames.DATA:
            self._on_data(received)
        elif kind == frames.HEADERS:
            end = received.flags & frames.END_STREAM
            self._on_headers(received.stream, received.flags, frames.unpadded(received), end)
        elif kind == frames.CONTINUATION:
            if self._block is None or self._block[0] != received.stream:
                raise frames.FrameError("a continuation of nothing")
            stream, end, block = self._block
            self._on_headers(stream, received.flags, block + received.payload, end)
        elif kind == frames.SETTINGS:
            self._on_settings(received)
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(received.stream, _number(received.payload))
        elif kind == frames.PING:
            if not received.flags & frames.ACK:
                self.send(frames.frame(frames.PING, frames.ACK, 0, received.payload))
        elif kind == frames.RST_STREAM:
            self._on_reset(received.stream, _number(received.payload))
        elif kind == frames.GOAWAY:
            self._on_goaway(_number(received.payload[:4]))
        elif kind == frames.PUSH_PROMISE:
            raise frames.FrameError("a push that was forbidden")

    def _on_headers(self, stream: int, flags: int, block: bytes, end: int) -> None:
        if not flags & frames.END_HEADERS:
            if len(block) > frames.MAX_HEADER_BLOCK_BYTES:
                raise frames.FrameError("a header block too long")
            self._block = (stream, end, block)
            return
        self._block = None
        head = self._heads.read(block)
        if head.http_status not in ("", "200") and not head.grpc_status:
            self._finish(stream, Reply(outcome=f"HTTP {head.http_status}"))
        elif end:
            self._finish(stream, self._reply(stream, head))

    def _on_data(self, received: frames.Frame) -> None:
        self._receive_window -= len(received.payload)
        if self._receive_window < _RECEIVE_WINDOW_LOW:
            self.send(frames.window_update(0, frames.MAX_WINDOW - self._receive_window))
            self._receive_window = frames.MAX_WINDOW
        if self._pool.outbox.keep_replies and received.stream in self._tickets:
            self._bodies[received.stream] = self._bodies.get(received.stream, b"") + frames.unpadded(received)
        if received.flags & frames.END_STREAM:
            self._finish(received.stream, Reply(outcome="no gRPC status"))

    def _reply(self, stream: int, head: Head) -> Reply:
        if head.grpc_status == "0":
            body = self._bodies.get(stream, b"")
            return Reply(outcome=ANSWERED, body=body[5:]) if body else _GOOD
        code = int(head.grpc_status) if head.grpc_status.isdecimal() else 2
        name = _STATUS_NAMES[code] if code < len(_STATUS_NAMES) else ""
        outcome = f"gRPC {head.grpc_status or 'without status'} {name}".strip()
        return Reply(outcome=outcome, detail=unquote(head.grpc_message))

    def _finish(self, stream: int, reply: Reply) -> None:
        ticket = self._tickets.pop(stream, None)
        self._bodies.pop(stream, None)
        if self._unsent_calls.pop(stream, None) is not None:  # answered before it was all sent
            self.send(frames.reset(stream, frames.CANCEL))
        if ticket is not None:
            self._pool.outbox.reply(ticket, reply)
        if self._draining and not self._tickets:
            self.close()

    def _on_settings(self, received: frames.Frame) -> None:
        if received.flags & frames.ACK:
            return
        if len(received.payload) % 6:
            raise frames.FrameError("settings cut short")
        for key, value in struct.iter_unpack(">HL", received.payload):
            if key == frames.SETTING_MAX_STREAMS:
                self._max_streams = value
            elif key == frames.SETTING_INITIAL_WINDOW:
                for unsent, _ in self._unsent_calls.values():
                    unsent.window += value - self._stream_window
                self._stream_window = value
        self.send(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._send_more()

    def _on_window_update(self, stream: int, increment: int) -> None:
        if stream == 0:
            self._send_window += increment
        elif stream in self._unsent_calls:
            self._unsent_calls[stream][0].window += increment
        if self._unsent_calls:
            self._send_more()

    def _on_reset(self, stream: int, code: int) -> None:
        if code == frames.REFUSED_STREAM and stream in self._tickets:
            self._give_back(stream)
        else:
            self._finish(stream, Reply(outcome=f"stream reset {code}"))

    def _on_goaway(self, last_stream: int) -> None:
        for stream in [stream for stream in self._tickets if stream > last_stream]:
            self._give_back(stream)
        self._retire()

    def _give_back(self, stream: int) -> None:
        """The server did not look at this call: the loop sends it again."""
        self._unsent_calls.pop(stream, None)
        self._bodies.pop(stream, None)
        self._pool.outbox.refused.append(self._tickets.pop(stream))


_GOOD = Reply(outcome=ANSWERED)


def _number(payload: bytes) -> int:
    if len(payload) != 4:
        raise frames.FrameError("a number of the wrong size")
    number: int = int.from_bytes(payload, "big") & frames.MAX_WINDOW
    return number
