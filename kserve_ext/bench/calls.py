"""What this side of an HTTP/2 connection sends: the greeting, and each request as frames built once."""

from __future__ import annotations

import struct
from typing import NamedTuple

from kserve_ext.bench.message import Request
from kserve_ext.bench.target import Target
from kserve_ext.http2 import frames

GREETING = (
    frames.PREFACE
    + frames.settings(
        {
            frames.SETTING_ENABLE_PUSH: 0,
            frames.SETTING_INITIAL_WINDOW: frames.MAX_WINDOW,
            frames.SETTING_MAX_FRAME: frames.RECEIVE_FRAME_BYTES,
        }
    )
    + frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)
)


class Call(NamedTuple):
    """A request as frames: `head` before and between the two stream numbers, and the message to send as DATA."""

    head: bytes  # frame head of HEADERS without the stream number
    block: bytes  # header block
    message: bytes  # with gRPC's five-byte prefix
    tail: bytes  # frame head of the only DATA frame, without the stream number; empty when more are needed


def prepare(request: Request, target: Target) -> Call:
    """The frames of one request. Headers of the request (such as grpc-timeout) come last."""
    block = frames.header_block(
        [
            (":method", "POST"),
            (":scheme", "https" if target.tls else "http"),
            (":path", request.path),
            (":authority", target.authority or target.address),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "kserve-ext"),
            *request.headers,
        ]
    )
    message = b"\0" + struct.pack(">L", len(request.body)) + request.body
    one_frame = len(message) <= frames.SEND_FRAME_BYTES
    return Call(
        head=frames.frame(frames.HEADERS, frames.END_HEADERS, 0, block)[:5],
        block=block,
        message=message,
        tail=struct.pack(">HBBB", len(message) >> 8, len(message) & 0xFF, frames.DATA, frames.END_STREAM)
        if one_frame
        else b"",
    )
