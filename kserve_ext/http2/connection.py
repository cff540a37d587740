"""The server's side of one HTTP/2 connection, as an asyncio protocol: frames in, streams opened, answers out.

`open_stream` gets a new stream and its parsed head, and gives back who takes the rest. Clients that break the protocol,
or do what only wastes our time, are told so and cut off. Knows no gRPC.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

from kserve_ext.http2 import control, frames
from kserve_ext.http2.frames import FrameError
from kserve_ext.http2.heads import MAX_LIST_BYTES, Fields, HeaderReader, MalformedError
from kserve_ext.http2.stream import Receiver, Stream

Head = TypeVar("Head")

STREAM_WINDOW = 2**20  # a body up to this size needs no window of its own
_GREETING_S = 20.0
_TICK_S = 5.0
_PING_AFTER_S = 30.0  # of silence, while something is asked
_PONG_S = 20.0
_STALLED_S = 60.0  # an answer of which the client takes nothing
_RESETS = 1000  # in a tick, beyond the streams that were answered in it: more is an attack
_CONTROLS = 20_000  # in a tick, and a few more for each stream that was answered in it
_CONTROLS_EACH = 4
_MAX_BLOCK_BYTES = 2 * MAX_LIST_BYTES


class ServerConnection(asyncio.Protocol, Generic[Head]):
    """One client. `parse` makes a head of a header block's fields, `open_stream` a receiver of a stream and its head."""

    def __init__(
        self,
        parse: Callable[[Fields], Head],
        open_stream: Callable[[Stream, Head], Receiver],
        closed: Callable[[ServerConnection[Head]], None],
        *,
        max_streams: int,
    ) -> None:
        self._heads = HeaderReader(parse)
        self._open_stream, self._closed, self._max_streams = open_stream, closed, max_streams
        self._frames = frames.FrameReader()
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        self._block: tuple[int, int, bytes] | None = None  # stream, flags, and what has come of a header block
        self._preface = b""
        self.greeted = False
        self.send_window = self._stream_send_window = frames.DEFAULT_WINDOW
        self._receive_window = frames.MAX_WINDOW
        self.frame_bytes = frames.SEND_FRAME_BYTES
        self._paused = self._over = self._draining = self._wound_down = False
        self._heard_s = self._born_s = monotonic()
        self._pinged_s = 0.0
        self._resets = self._controls = self._answered = 0

    # ------------------------------------------------------------------------------------------------ asyncio's

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if (raw := transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        self.write(
            frames.settings(
                {
                    frames.SETTING_MAX_STREAMS: self._max_streams,
                    frames.SETTING_INITIAL_WINDOW: STREAM_WINDOW,
                    frames.SETTING_MAX_FRAME: frames.RECEIVE_FRAME_BYTES,
                    frames.SETTING_MAX_HEADERS: MAX_LIST_BYTES,
                }
            )
            + frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)
        )

    def data_received(self, data: bytes) -> None:
        self._heard_s = monotonic()
        self._pinged_s = 0.0
        try:
            if not self.greeted:
                data = self._greet(data)
            for received in self._frames.feed(data):
                if self._over:
                    return
                self._handle(received)
        except FrameError as error:
            self.abort(error.code, str(error))

    def connection_lost(self, error: Exception | None) -> None:
        self._over = True
        self._timer.cancel()
        for stream in list(self._streams.values()):
            stream.lose()
            stream.receiver.gone()
        self._closed(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    # ------------------------------------------------------------------------------------------- for the streams

    def writable(self) -> bool:
        return not self._paused

    def write(self, data: bytes) -> None:
        if not self._over:
            self._transport.write(data)

    def forget(self, stream: Stream) -> None:
        if self._streams.pop(stream.number, None) is not None:
            self._answered += 1
        if self._draining and not self._streams:
            self._end()

    # ------------------------------------------------------------------------------------------------- its end

    def wind_down(self) -> None:
        """Ask the client to connect elsewhere; what it still sends is answered."""
        if not self._wound_down:
            self._wound_down = True
            self.write(frames.goaway(frames.MAX_WINDOW))

    def drain(self) -> None:
        """Take no new streams, and close when those that are open are answered."""
        self._draining = True
        self.write(frames.goaway(self._last_stream))
        if not self._streams:
            self._end()

    def abort(self, code: int = frames.NO_ERROR, why: str = "") -> None:
        """Close now, and tell the client why."""
        if not self._over:
            self.write(frames.goaway(self._last_stream, code, why))
            self._end()

    def _end(self) -> None:
        self._over = True
        self._transport.close()

    # ------------------------------------------------------------------------------------------------ frames in

    def _greet(self, data: bytes) -> bytes:
        data = self._preface + data
        size = len(frames.PREFACE)
        if not frames.PREFACE.startswith(data[:size]):
            raise FrameError("this port speaks HTTP/2 without upgrade")
        if len(data) < size:
            self._preface = data
            return b""
        self.greeted, self._preface = True, b""
        return data[size:]

    def _handle(self, received: frames.Frame) -> None:
        kind = received.kind
        if self._block is not None and kind != frames.CONTINUATION:
            raise FrameError("a header block that does not end")
        if kind == frames.DATA:
            self._on_data(received)
        elif kind == frames.HEADERS:
            self._on_headers(received)
        elif kind == frames.CONTINUATION:
            self._on_continuation(received)
        else:
            self._controls += 1
            if self._controls > _CONTROLS + _CONTROLS_EACH * self._answered:
                raise FrameError("too many control frames", frames.ENHANCE_YOUR_CALM)
            self._on_control(received)

    def _on_headers(self, received: frames.Frame) -> None:
        number, flags = received.stream, received.flags
        if not number & 1:
            raise FrameError("a stream number that is not a client's")
        if flags & frames.HAS_PRIORITY:
            control.check_priority(received)
        self._on_block(number, flags, frames.unpadded(received))

    def _on_continuation(self, received: frames.Frame) -> None:
        if self._block is None or self._block[0] != received.stream:
            raise FrameError("a continuation of nothing")
        number, flags, block = self._block
        self._controls += 1
        if len(block) + len(received.payload) > _MAX_BLOCK_BYTES or self._controls > _CONTROLS:
            raise FrameError("a header block too long", frames.ENHANCE_YOUR_CALM)
        self._on_block(number, flags | received.flags & frames.END_HEADERS, block + received.payload)

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        if not flags & frames.END_HEADERS:
            self._block = (number, flags, block)
            return
        self._block = None
        end = bool(flags & frames.END_STREAM)
        stream = self._streams.get(number)
        if stream is not None:
            self._on_trailers(stream, block, end)
        elif number <= self._last_stream:
            raise FrameError("headers on a closed stream", frames.STREAM_CLOSED)
        else:
            self._on_request(number, block, end)

    def _on_trailers(self, stream: Stream, block: bytes, end: bool) -> None:
        if stream.ended:
            raise FrameError("headers after the end of a stream", frames.STREAM_CLOSED)
        if not end:
            raise FrameError("trailers that do not end their stream")
        if any(name.startswith(b":") for name, _ in self._heads.skip(block)):
            self.write(frames.reset(stream.number, frames.PROTOCOL_ERROR))
            self._drop(stream)
            return
        stream.ended = True
        stream.receiver.data(b"", True)

    def _on_request(self, number: int, block: bytes, end: bool) -> None:
        self._last_stream = number
        try:
            head = self._heads.read(block)
        except MalformedError:
            self.write(frames.reset(number, frames.PROTOCOL_ERROR))
            return
        if self._draining or len(self._streams) >= self._max_streams:
            self.write(frames.reset(number, frames.REFUSED_STREAM))
            self._resets += 1
            return
        stream = Stream(self, number, self._stream_send_window, STREAM_WINDOW)
        stream.ended = end
        self._streams[number] = stream
        stream.receiver = self._open_stream(stream, head)
        if end and not stream.over:
            stream.receiver.data(b"", True)

    def _on_data(self, received: frames.Frame) -> None:
        size, number = len(received.payload), received.stream
        self._receive_window -= size
        if self._receive_window < frames.MAX_WINDOW // 2:
            self.write(frames.window_update(0, frames.MAX_WINDOW - self._receive_window))
            self._receive_window = frames.MAX_WINDOW
        stream = self._streams.get(number)
        if stream is None:
            self._on_data_of_nobody(number)
            return
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise FrameError("more bytes than the window allows", frames.FLOW_CONTROL_ERROR)
        if stream.ended:
            raise FrameError("data after the end of a stream", frames.STREAM_CLOSED)
        stream.ended = bool(received.flags & frames.END_STREAM)
        payload = frames.unpadded(received) if received.flags & frames.PADDED else received.payload
        if not payload and not stream.ended:
            self._controls += 1
        stream.receiver.data(payload, stream.ended)

    def _on_data_of_nobody(self, number: int) -> None:
        """Of a stream that was answered already; else the client is wrong."""
        if number == 0 or number > self._last_stream or not number & 1:
            raise FrameError("data of a stream that is not open")
        self._controls += 1
        self.write(frames.reset(number, frames.STREAM_CLOSED))

    def _on_control(self, received: frames.Frame) -> None:
        kind = received.kind
        control.check(received)
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(received.stream, control.number(received.payload))
        elif kind == frames.RST_STREAM:
            self._on_reset(received.stream)
        elif kind == frames.SETTINGS and not received.flags & frames.ACK:
            self._on_settings(received)
        elif kind == frames.PING and not received.flags & frames.ACK:
            self.write(frames.frame(frames.PING, frames.ACK, 0, received.payload))

    def _on_window_update(self, number: int, increment: int) -> None:
        if number == 0:
            control.demand(increment > 0, "a window that opens by nothing")
            self.send_window += increment
            control.demand(self.send_window <= frames.MAX_WINDOW, "a window too large", frames.FLOW_CONTROL_ERROR)
            self._pump()
            return
        control.demand(number <= self._last_stream, "a window of a stream that is not open")
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.send_window += increment
        if increment == 0 or stream.send_window > frames.MAX_WINDOW:
            code = frames.FLOW_CONTROL_ERROR if increment else frames.PROTOCOL_ERROR
            self.write(frames.reset(number, code))
            self._drop(stream)
        elif stream.waiting:
            stream.pump()

    def _on_reset(self, number: int) -> None:
        control.demand(number <= self._last_stream, "a reset of a stream that is not open")
        self._resets += 1
        if self._resets > _RESETS + self._answered:
            raise FrameError("too many resets", frames.ENHANCE_YOUR_CALM)
        if (stream := self._streams.get(number)) is not None:
            self._answered -= 1  # `forget` counts it as answered
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        stream.lose()
        stream.receiver.gone()

    def _on_settings(self, received: frames.Frame) -> None:
        for key, value in control.settings(received):
            if key == frames.SETTING_INITIAL_WINDOW:
                for stream in self._streams.values():
                    stream.send_window += value - self._stream_send_window
                    too_large = stream.send_window > frames.MAX_WINDOW
                    control.demand(not too_large, "a window too large", frames.FLOW_CONTROL_ERROR)
                self._stream_send_window = value
            elif key == frames.SETTING_MAX_FRAME:
                self.frame_bytes = min(value, frames.RECEIVE_FRAME_BYTES)
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._pump()

    def _pump(self) -> None:
        """Send what waits on any stream, in their order."""
        for stream in [stream for stream in self._streams.values() if stream.waiting]:
            stream.pump()

    # ----------------------------------------------------------------------------------------------------- time

    def _tick(self) -> None:
        """Look for a client that is silent, slow, or gone without a word."""
        now_s = monotonic()
        self._resets = self._controls = self._answered = 0
        for stream in list(self._streams.values()):
            if not stream.ended and now_s > stream.body_due_s:
                stream.receiver.late()
            elif stream.waiting and now_s - stream.moved_s > _STALLED_S:
                stream.reset(frames.CANCEL)
        if not self.greeted and now_s - self._born_s > _GREETING_S:
            self.abort()
        elif self._pinged_s and now_s - self._pinged_s > _PONG_S:
            self._transport.abort()
        elif self._streams and not self._pinged_s and now_s - self._heard_s > _PING_AFTER_S:
            self._pinged_s = now_s
            self.write(frames.frame(frames.PING, 0, 0, b"\0" * 8))
        if not self._over:
            self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
