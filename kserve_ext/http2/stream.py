"""One request on an HTTP/2 connection as the application sees it: answer it at once, or piece by piece.

What the client's windows do not take yet waits here, and goes out when they open. Header blocks and bodies are bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Protocol

from kserve_ext.http2 import frames


class Receiver(Protocol):
    """Who takes what comes on a stream."""

    def data(self, payload: bytes, end: bool) -> None:
        """Bytes of the body; `end` with the last of them."""
        ...

    def gone(self) -> None:
        """The client has reset the stream, or its connection is lost. Nothing can be answered any more."""
        ...

    def late(self) -> None:
        """The body did not arrive in time."""
        ...

    def done(self) -> None:
        """The answer is out: all of it has been handed to the socket."""
        ...


class Wire(Protocol):
    """The connection under a stream."""

    send_window: int
    frame_bytes: int  # the most the client takes in one frame

    def writable(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def forget(self, stream: Stream) -> None: ...


_HEADERS = bytes((frames.HEADERS, frames.END_HEADERS))  # type and flags: after the length, before the stream number
_LAST_HEADERS = bytes((frames.HEADERS, frames.END_HEADERS | frames.END_STREAM))
_DATA = bytes((frames.DATA, 0))


class Stream:
    """Both directions of one stream. `receiver` is set by whoever opens it."""

    __slots__ = (
        "_progress", "_tail", "_waiting", "body_due_s", "ended", "moved_s", "number", "over", "receive_window",
        "receiver", "send_window", "wire",
    )  # fmt: skip

    def __init__(self, wire: Wire, number: int, send_window: int, receive_window: int) -> None:
        self.wire, self.number = wire, number
        self.send_window, self.receive_window = send_window, receive_window
        self.receiver: Receiver
        self.ended = False  # the client has sent all of it
        self.over = False  # nothing can be sent any more
        self.body_due_s = float("inf")  # when the body has to be there, on the clock of time.monotonic
        self.moved_s = 0.0  # when something last went out, while something waits
        self._waiting: deque[bytes] = deque()
        self._tail: bytes | None = None  # trailers, for after what waits
        self._progress: asyncio.Event | None = None

    # -------------------------------------------------------------------------------------------------- sending

    def answer(self, head: bytes, body: bytes, trailers: bytes) -> None:
        """A whole answer: one write where the client's windows take it."""
        wire, size = self.wire, len(body)
        if size <= wire.frame_bytes and size <= wire.send_window and size <= self.send_window and wire.writable():
            wire.send_window -= size
            number = self.number.to_bytes(4, "big")
            wire.write(
                b"".join(
                    (_length(head), _HEADERS, number, head, _length(body), _DATA, number, body,
                     _length(trailers), _LAST_HEADERS, number, trailers)
                )
            )  # fmt: skip
            self._close()
        else:
            self.start(head)
            self.send(body)
            self.finish(trailers)

    def start(self, head: bytes) -> None:
        """The answer's header block."""
        if not self.over:
            self.wire.write(b"".join((_length(head), _HEADERS, self.number.to_bytes(4, "big"), head)))

    def send(self, body: bytes) -> None:
        """A piece of the body, after `start`."""
        if not self.over:
            self._waiting.append(body)
            self.pump()

    def finish(self, trailers: bytes) -> None:
        """The end of the answer, after `start` or instead of it."""
        if self.over:
            return
        if self._waiting:
            self._tail = trailers
        else:
            self._end(trailers)

    async def drained(self) -> None:
        """Wait until what was sent is out. At once where the stream is over."""
        while self._waiting and not self.over:
            self._progress = self._progress or asyncio.Event()
            self._progress.clear()
            await self._progress.wait()

    def pump(self) -> None:
        """Send what waits as far as the windows go."""
        wire = self.wire
        self.moved_s = self.moved_s or monotonic()
        while self._waiting and wire.writable():
            first = self._waiting[0]
            size = min(len(first), wire.frame_bytes, wire.send_window, self.send_window)
            if size <= 0 and first:
                break
            wire.send_window -= size
            self.send_window -= size
            self.moved_s = monotonic()
            wire.write(frames.frame(frames.DATA, 0, self.number, first[:size]))
            if size == len(first):
                self._waiting.popleft()
            else:
                self._waiting[0] = first[size:]
        if not self._waiting:
            self.moved_s = 0.0
            if self._tail is not None:
                self._end(self._tail)
        if self._progress is not None:
            self._progress.set()

    @property
    def waiting(self) -> bool:
        """Whether something waits for the client's windows."""
        return bool(self._waiting)

    def reset(self, code: int) -> None:
        """Give up: nothing more is sent or taken."""
        if not self.over:
            self.wire.write(frames.reset(self.number, code))
            self._close()

    def _end(self, trailers: bytes) -> None:
        self.wire.write(b"".join((_length(trailers), _LAST_HEADERS, self.number.to_bytes(4, "big"), trailers)))
        if not self.ended:  # the rest of the body is not wanted
            self.wire.write(frames.reset(self.number, frames.NO_ERROR))
        self._close()

    def _close(self) -> None:
        self.lose()
        self.receiver.done()

    # ------------------------------------------------------------------------------------------------ receiving

    def grant(self, size: int) -> None:
        """Let the client send `size` bytes more."""
        if not self.over and not self.ended:
            self.receive_window += size
            self.wire.write(frames.window_update(self.number, size))

    def lose(self) -> None:
        """Nothing can be sent any more."""
        self.over = True
        self._waiting.clear()
        if self._progress is not None:
            self._progress.set()
        self.wire.forget(self)


def _length(block: bytes) -> bytes:
    return len(block).to_bytes(3, "big")
