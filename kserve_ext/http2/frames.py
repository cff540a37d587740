"""HTTP/2 frames and header blocks as bytes: pure framing, no sockets and no streams."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from hpack import Encoder, NeverIndexedHeaderTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20
SETTING_ENABLE_PUSH, SETTING_MAX_STREAMS, SETTING_INITIAL_WINDOW, SETTING_MAX_FRAME, SETTING_MAX_HEADERS = 2, 3, 4, 5, 6
NO_ERROR, PROTOCOL_ERROR, _, FLOW_CONTROL_ERROR, _, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM = range(8)
CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 8, 9, 11
DEFAULT_WINDOW = 65535
MAX_WINDOW = 2**31 - 1
SEND_FRAME_BYTES = 16384  # every peer takes this much
RECEIVE_FRAME_BYTES = 2**20  # what this side announces: fewer, larger frames
MAX_HEADER_BLOCK_BYTES = 2**18

_HEAD = struct.Struct(">HBBBL")  # length in 16 + 8 bits, type, flags, stream


class FrameError(ValueError):
    """Bytes that are not HTTP/2 as announced; `code` is what the peer is told of it."""

    def __init__(self, message: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Frame(NamedTuple):
    """One frame, its payload as it came (padding included)."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", key, value) for key, value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


def reset(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def goaway(last_stream: int, code: int = NO_ERROR, why: str = "") -> bytes:
    """A GOAWAY frame: streams above `last_stream` are not looked at."""
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream, code) + why.encode())


class FrameReader:
    """Cuts a byte stream into frames, however the stream was split."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Raises FrameError for a frame longer than announced."""
        buffer = self._buffer + data if self._buffer else data
        frames, position, available = [], 0, len(buffer)
        while available - position >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(buffer, position)
            length = high << 8 | low
            if length > RECEIVE_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes", FRAME_SIZE_ERROR)
            end = position + 9 + length
            if available < end:
                break
            frames.append(Frame(kind, flags, stream & MAX_WINDOW, buffer[position + 9 : end]))
            position = end
        self._buffer = buffer[position:]
        return frames


def unpadded(received: Frame) -> bytes:
    """The payload of DATA or HEADERS without padding and priority. Raises FrameError."""
    payload, padding = received.payload, 0
    if received.flags & PADDED:
        if not payload or payload[0] >= len(payload):
            raise FrameError("padding longer than its frame")
        padding, payload = payload[0], payload[1:]
    if received.kind == HEADERS and received.flags & HAS_PRIORITY:
        if len(payload) < 5 + padding:
            raise FrameError("a priority cut short", FRAME_SIZE_ERROR)
        payload = payload[5:]
    return payload[: len(payload) - padding]


def header_block(headers: Sequence[tuple[str, str]]) -> bytes:
    """A block that leaves the receiver's table as it was, so that the same bytes can be sent for every request.

    It begins by setting the table's size to 0, which stays valid whatever size the peer allows later.
    """
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode([NeverIndexedHeaderTuple(name, value) for name, value in headers], huffman=False)
