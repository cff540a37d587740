"""Just enough of an HTTP/2 server to script one: reads frames, answers calls, on a plain socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from hpack import Encoder

from kserve_ext.http2 import frames

MESSAGE = b"\0\0\0\0\2ok"


class Peer:
    """The server's side of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.encoder = Encoder()
        self._reader = frames.FrameReader()

    def accept(self, settings: dict[int, int] | None = None) -> None:
        """Take the preface and greet."""
        preface = b""
        while len(preface) < len(frames.PREFACE):
            preface += self.connection.recv(len(frames.PREFACE) - len(preface))
        assert preface == frames.PREFACE
        self.send(frames.settings(settings or {}))

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def frames(self) -> Iterator[frames.Frame]:
        """Frames as they come, until the client leaves."""
        while data := self.connection.recv(65536):
            yield from self._reader.feed(data)

    def calls(self) -> Iterator[int]:
        """Numbers of streams whose request is complete."""
        for frame in self.frames():
            if frame.kind == frames.DATA and frame.flags & frames.END_STREAM:
                yield frame.stream

    def head(self, stream: int, headers: list[tuple[str, str]], *, end: bool = False) -> None:
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        self.send(frames.frame(frames.HEADERS, flags, stream, self.encoder.encode(headers)))

    def answer(self, stream: int, status: str = "0") -> None:
        self.head(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.send(frames.frame(frames.DATA, 0, stream, MESSAGE))
        self.head(stream, [("grpc-status", status)], end=True)

    def goaway(self, last_stream: int) -> None:
        self.send(frames.frame(frames.GOAWAY, 0, 0, struct.pack(">LL", last_stream, 0)))

    def reset(self, stream: int, code: int) -> None:
        self.send(frames.frame(frames.RST_STREAM, 0, stream, struct.pack(">L", code)))
