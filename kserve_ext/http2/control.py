"""What frames other than requests must look like: functions of one frame that raise FrameError. No state, no I/O."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from kserve_ext.http2 import frames
from kserve_ext.http2.frames import FrameError


def demand(good: bool, what: str, code: int = frames.PROTOCOL_ERROR) -> None:
    """Raise FrameError unless `good`."""
    if not good:
        raise FrameError(what, code)


_OF_CONNECTION = {frames.PING, frames.SETTINGS, frames.GOAWAY}
_OF_STREAM = {frames.RST_STREAM, frames.PRIORITY}
_SIZES = {frames.PING: 8, frames.RST_STREAM: 4, frames.PRIORITY: 5, frames.WINDOW_UPDATE: 4}


def check(received: frames.Frame) -> None:
    """The stream, the size and the content of a frame that is neither headers nor data."""
    kind, payload = received.kind, received.payload
    demand(kind != frames.PUSH_PROMISE, "a push from a client")
    demand(kind not in _OF_CONNECTION or received.stream == 0, "a frame of the connection on a stream")
    demand(kind not in _OF_STREAM or received.stream != 0, "a frame of a stream on the connection")
    size = _SIZES.get(kind)
    demand(size is None or len(payload) == size, "a frame of the wrong size", frames.FRAME_SIZE_ERROR)
    bare = kind != frames.SETTINGS or not received.flags & frames.ACK or not payload
    demand(bare, "settings in an acknowledgement", frames.FRAME_SIZE_ERROR)
    if kind == frames.PRIORITY:
        demand(number(payload[:4]) != received.stream, "a stream that depends on itself")


def check_priority(headers: frames.Frame) -> None:
    """The priority in front of a header block."""
    start = 1 if headers.flags & frames.PADDED else 0
    demand(number(headers.payload[start : start + 4]) != headers.stream, "a stream that depends on itself")


def settings(received: frames.Frame) -> Sequence[tuple[int, int]]:
    """The settings of a client, each within its bounds."""
    demand(len(received.payload) % 6 == 0, "settings cut short", frames.FRAME_SIZE_ERROR)
    found = list(struct.iter_unpack(">HL", received.payload))
    for key, value in found:
        if key == frames.SETTING_INITIAL_WINDOW:
            demand(value <= frames.MAX_WINDOW, "a window too large", frames.FLOW_CONTROL_ERROR)
        elif key == frames.SETTING_MAX_FRAME:
            demand(frames.SEND_FRAME_BYTES <= value < 2**24, "a frame size that is not allowed")
        elif key == frames.SETTING_ENABLE_PUSH:
            demand(value in (0, 1), "a push setting that is neither 0 nor 1")
    return found


def number(payload: bytes) -> int:
    """Four bytes without the first bit."""
    demand(len(payload) == 4, "a number of the wrong size", frames.FRAME_SIZE_ERROR)
    found: int = int.from_bytes(payload, "big") & frames.MAX_WINDOW
    return found
