"""gRPC calls as receivers of HTTP/2 streams: inference straight through, without a task; all other methods as grpc has them.

Every call is answered once, with a message or with a status, and gives back its place however it ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, NamedTuple

from kserve_ext.http2.connection import STREAM_WINDOW
from kserve_ext.http2.stream import Stream
from kserve_ext.serving import grpc_wire as wire
from kserve_ext.serving.admission import Admission
from kserve_ext.serving.faults import BadRequest, Fault, TooLate, TooSlow
from kserve_ext.serving.grpc_wire import Head, MessageReader

log = logging.getLogger("kserve_ext.serving")

BODY_S = 60.0  # a message must have arrived by then


class Call:
    """What all calls share. `limit` is the largest message."""

    def __init__(self, stream: Stream, head: Head, limit: int) -> None:
        self.stream, self.head = stream, head
        self.started_s = monotonic()
        self.reader = MessageReader(limit, head.encoding)

    @property
    def deadline_s(self) -> float | None:
        """On the clock of time.monotonic; None where the client names none."""
        return None if self.head.timeout_s is None else self.started_s + self.head.timeout_s

    def succeed(self, content: bytes) -> None:
        if not self.stream.over:
            self.stream.answer(wire.HEAD, wire.message(content), wire.GOOD_END)

    def fail(self, fault: Fault) -> None:
        self.stream.finish(wire.refusal(fault))

    def data(self, payload: bytes, end: bool) -> None:
        """Not looked at, unless a kind of call does."""

    def late(self) -> None:
        self.fail(TooSlow(f"the message did not arrive within {BODY_S:.0f} s"))

    def gone(self) -> None:
        self.done()

    def done(self) -> None:
        """Nothing to give back."""


class InferCall(Call):
    """One inference. It takes its place before its message is read; `future` ends in the outputs."""

    def __init__(
        self,
        stream: Stream,
        head: Head,
        limit: int,
        admission: Admission,
        begin: Callable[[InferCall, bytes], None],
        refused: Callable[[bytes], None],
    ) -> None:
        super().__init__(stream, head, limit)
        stream.body_due_s = self.started_s + BODY_S
        self.future: asyncio.Future[Any] | None = None
        self._begin, self._refused, self._admission = begin, refused, admission
        self._content: bytes | None = None
        self._refusal = admission.enter()
        self._inside = self._refusal is None

    def data(self, payload: bytes, end: bool) -> None:
        if self.stream.over:
            return
        if self._refusal is not None:
            self._refused(payload)
            self.fail(self._refusal)
            return
        try:
            for content in self.reader.feed(payload):
                if self._content is not None:
                    raise BadRequest("a second message in a call that takes one")
                self._content = content
            if end:
                self._begin(self, self._whole())
            elif (missing := self.reader.wanted - self.stream.receive_window) > 0:
                self.stream.grant(missing + STREAM_WINDOW // 2)
        except Fault as fault:
            self.fail(fault)

    def run(self, answer: Coroutine[Any, Any, bytes]) -> None:
        """Answer with what the coroutine gives or raises, within the deadline."""
        self.future = asyncio.get_running_loop().create_task(self._finish(answer))

    async def _finish(self, answer: Coroutine[Any, Any, bytes]) -> None:
        try:
            async with asyncio.timeout(self.head.timeout_s):
                content = await answer
        except Aborted as error:
            self.stream.finish(wire.only_ending(error.code, error.details))
        except TimeoutError:
            self.fail(TooLate("the deadline has passed"))
        else:
            self.future = None
            self.succeed(content)

    def done(self) -> None:
        if self._inside:
            self._inside = False
            self._admission.leave()
        if self.future is not None:
            self.future.cancel()

    def _whole(self) -> bytes:
        if self._content is None or not self.reader.between:
            raise BadRequest("the call ends before its message does")
        return self._content


class TaskCall(Call):
    """A call of a method as grpc describes it (grpc.RpcMethodHandler), run as a task of the event loop."""

    def __init__(self, stream: Stream, head: Head, limit: int, admission: Admission, handler: Any) -> None:
        super().__init__(stream, head, limit)
        self._handler, self._admission = handler, admission
        self._messages: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._ended = self._reading = False  # reading: it holds a place for a message too large to come unasked
        self._task: asyncio.Task[None] | None = None
        if handler.request_streaming:
            self._task = asyncio.get_running_loop().create_task(self._run())
        else:
            stream.body_due_s = self.started_s + BODY_S

    def data(self, payload: bytes, end: bool) -> None:
        if self.stream.over:
            return
        try:
            self._messages += self.reader.feed(payload)
            self._make_room()
        except Fault as fault:
            self._stop()
            self.fail(fault)
            return
        self._ended = end
        self._arrived.set()
        if end and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def done(self) -> None:
        self._leave()

    def gone(self) -> None:
        self._leave()
        self._stop()

    def _make_room(self) -> None:
        """A message larger than the window comes only when there is a place for it. Raises a Fault."""
        missing = self.reader.wanted - self.stream.receive_window
        if missing <= 0:
            if self.reader.between:
                self._leave()
            return
        if not self._reading:
            fault = self._admission.enter()
            if fault is not None:
                raise fault
            self._reading = True
        self.stream.grant(missing)

    def _leave(self) -> None:
        if self._reading:
            self._reading = False
            self._admission.leave()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        context = Context(self)
        code, text = wire.OK, ""
        try:
            async with asyncio.timeout(self.head.timeout_s):
                await self._answer(context)
            code, text = context.code, context.details
        except Aborted as error:
            code, text = error.code, error.details
        except Fault as fault:
            code, text = wire.STATUS_CODES[fault.code], fault.message
        except TimeoutError:
            code, text = wire.STATUS_CODES[TooLate.code], "the deadline has passed"
        except Exception:  # the top of a call: it gets an answer, and the log gets the traceback
            log.exception("%s failed in the server", self.head.path)
            code, text = wire.STATUS_CODES["INTERNAL"], wire.internal().message
        self._end(context, code, text)

    def _end(self, context: Context, code: int, text: str) -> None:
        if context.begun:
            self.stream.finish(wire.ending(code, text, context.trailing))
        else:
            self.stream.finish(wire.only_ending(code, text, context.trailing))

    async def _answer(self, context: Context) -> None:
        handler = self._handler
        asked = self._requests() if handler.request_streaming else handler.request_deserializer(self._one())
        if not handler.response_streaming:
            method = handler.stream_unary if handler.request_streaming else handler.unary_unary
            self._send(context, handler.response_serializer(await method(asked, context)))
            return
        method = handler.stream_stream if handler.request_streaming else handler.unary_stream
        async for answer in method(asked, context):
            self._send(context, handler.response_serializer(answer))
            await self.stream.drained()

    def _send(self, context: Context, content: bytes) -> None:
        if not context.begun:
            context.begun = True
            self.stream.start(wire.HEAD)
        self.stream.send(wire.message(content))

    def _one(self) -> bytes:
        if len(self._messages) != 1 or not self.reader.between:
            raise BadRequest("one whole message is expected")
        return self._messages.popleft()

    async def _requests(self) -> AsyncIterator[Any]:
        while True:
            while self._messages:
                content = self._messages.popleft()
                if self.stream.receive_window < STREAM_WINDOW:  # it was read: as much may come again
                    self.stream.grant(min(len(content) + 5, STREAM_WINDOW - self.stream.receive_window))
                yield self._handler.request_deserializer(content)
            if self._ended:
                if not self.reader.between:
                    raise BadRequest("the stream ends within a message")
                return
            self._arrived.clear()
            await self._arrived.wait()


class Metadatum(NamedTuple):
    """One header."""

    key: str
    value: str


class Aborted(Exception):  # noqa: N818 - as grpc calls it
    """How a method ends its call."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


class Context:
    """What grpc's methods are given beside the request: the part of grpc.aio.ServicerContext that servicers use."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.begun = False
        self.code, self.details = wire.OK, ""
        self.trailing: list[tuple[str, str]] = []

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        return tuple(Metadatum(name, value) for name, value in self._call.head.metadata)

    def time_remaining(self) -> float | None:
        deadline_s = self._call.deadline_s
        return None if deadline_s is None else max(0.0, deadline_s - monotonic())

    def cancelled(self) -> bool:
        return self._call.stream.over

    def set_code(self, code: Any) -> None:
        self.code = code.value[0]

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        self.trailing = [(str(name), str(value)) for name, value in metadata]

    async def abort(self, code: Any, details: str = "", trailing_metadata: Sequence[tuple[str, str]] = ()) -> None:
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        raise Aborted(code.value[0], details or "")
