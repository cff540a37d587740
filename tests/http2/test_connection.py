"""The server's side of a connection without a socket: bytes in, frames out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hpack import Encoder
from http2.plain_server import Echo
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.http2 import frames
from kserve_ext.http2.connection import ServerConnection
from kserve_ext.http2.heads import MAX_LIST_BYTES
from kserve_ext.http2.stream import Stream
from kserve_ext.serving.grpc_wire import Head, read_head

FIELDS = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "x"), ("te", "trailers")]
BLOCK = frames.header_block(FIELDS)
GREETING = frames.PREFACE + frames.settings({})


class Wire:
    """A transport that remembers what was written."""

    def __init__(self) -> None:
        self.sent, self.closed = b"", False

    def get_extra_info(self, name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def frames(self, *kinds: int) -> list[frames.Frame]:
        return [frame for frame in frames.FrameReader().feed(self.sent) if not kinds or frame.kind in kinds]

    @property
    def goaway(self) -> int | None:
        """The code the client was told at the end."""
        told = self.frames(frames.GOAWAY)
        return int.from_bytes(told[-1].payload[4:8], "big") if told else None


class Silent(Echo):
    """Never asks for more than it was sent."""

    def data(self, payload: bytes, end: bool) -> None:
        pass


class Talk:
    """One client with the server; `echoes` has all its streams."""

    def __init__(self, max_streams: int = 100, echo: type[Echo] = Echo) -> None:
        self._echo = echo
        self.wire, self.echoes = Wire(), dict[int, Echo]()
        self.lost = 0
        self.server: ServerConnection[Head] = ServerConnection(
            read_head, self._open, self._closed, max_streams=max_streams
        )
        self.server.connection_made(self.wire)

    def _open(self, stream: Stream, head: Head) -> Echo:
        echo = self.echoes[stream.number] = self._echo(stream)
        return echo

    def _closed(self, _: object) -> None:
        self.lost += 1

    def hear(self, *parts: bytes) -> Wire:
        for part in parts:
            self.server.data_received(part)
        return self.wire

    def answer(self, number: int, body: bytes) -> None:
        self.echoes[number].stream.answer(BLOCK, body, BLOCK)


def talk(use: Callable[[Talk], Any], **options: Any) -> Any:
    async def main() -> Any:
        with_client = Talk(**options)
        try:
            return use(with_client)
        finally:
            with_client.server.connection_lost(None)

    return asyncio.run(main())


def ask(number: int, body: bytes = b"", *, end: bool = True) -> bytes:
    head = frames.frame(frames.HEADERS, frames.END_HEADERS, number, BLOCK)
    return head + frames.frame(frames.DATA, frames.END_STREAM if end else 0, number, body)


def headers(number: int, block: bytes, flags: int = frames.END_HEADERS | frames.END_STREAM) -> bytes:
    return frames.frame(frames.HEADERS, flags, number, block)


@given(
    bodies=st.lists(st.binary(max_size=50), max_size=6), cuts=st.lists(st.integers(0, 900), max_size=9),
    padded=st.booleans(),
)  # fmt: skip
def test_however_the_bytes_are_split_each_stream_gets_its_own_body(
    bodies: list[bytes], cuts: list[int], padded: bool
) -> None:
    def one(number: int, body: bytes) -> bytes:
        if not padded:
            return ask(number, body)
        flags = frames.END_STREAM | frames.PADDED
        return headers(number, BLOCK, frames.END_HEADERS) + frames.frame(
            frames.DATA, flags, number, b"\x03" + body + b"\0" * 3
        )

    sent = GREETING + b"".join(one(2 * place + 1, body) for place, body in enumerate(bodies))
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]

    def use(client: Talk) -> list[bytes]:
        client.hear(*(sent[a:b] for a, b in itertools.pairwise(edges)))
        return [client.echoes[2 * place + 1].body for place in range(len(bodies))]

    assert talk(use) == bodies


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_no_bytes_after_the_greeting_are_a_failure_of_the_server(parts: list[bytes]) -> None:
    talk(lambda client: client.hear(GREETING, *parts))


@given(
    st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40)).map(
            lambda one: frames.frame(*one)
        ),
        max_size=12,
    )
)
def test_no_frames_are_a_failure_of_the_server(parts: list[bytes]) -> None:
    talk(lambda client: client.hear(GREETING, *parts))


def test_an_answer_is_one_write_of_head_data_and_trailers() -> None:
    def use(client: Talk) -> None:
        client.hear(GREETING, ask(1, b"abc"))
        before = len(client.wire.sent)
        client.answer(1, b"abcdef")
        sent = frames.FrameReader().feed(client.wire.sent[before:])
        assert [(frame.kind, frame.flags, frame.stream) for frame in sent] == [
            (frames.HEADERS, frames.END_HEADERS, 1), (frames.DATA, 0, 1),
            (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1),
        ]  # fmt: skip
        assert sent[1].payload == b"abcdef"
        assert client.echoes[1].told == ["done"]

    talk(use)


@pytest.mark.parametrize("of_connection", [True, False])
def test_an_answer_waits_for_the_clients_windows(of_connection: bool) -> None:
    body = bytes(range(256)) * 400

    def use(client: Talk) -> None:
        window = {frames.SETTING_INITIAL_WINDOW: frames.MAX_WINDOW if of_connection else 1000}
        client.hear(frames.PREFACE + frames.settings(window), ask(1))
        client.answer(1, body)
        first = sum(len(frame.payload) for frame in client.wire.frames(frames.DATA))
        assert first == (frames.DEFAULT_WINDOW if of_connection else 1000)
        assert client.echoes[1].told == []
        client.hear(frames.window_update(0 if of_connection else 1, 10_000))
        assert sum(len(frame.payload) for frame in client.wire.frames(frames.DATA)) == first + 10_000
        client.hear(frames.window_update(0, len(body)), frames.window_update(1, len(body)))
        assert b"".join(frame.payload for frame in client.wire.frames(frames.DATA)) == body
        assert client.echoes[1].told == ["done"]

    talk(use)


def test_a_client_that_does_not_read_holds_the_answer_back() -> None:
    def use(client: Talk) -> None:
        client.hear(GREETING, ask(1))
        client.server.pause_writing()
        client.answer(1, b"abc")
        assert client.wire.frames(frames.DATA) == []
        client.server.resume_writing()
        assert [frame.payload for frame in client.wire.frames(frames.DATA)] == [b"abc"]
        assert client.echoes[1].told == ["done"]

    talk(use)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", frames.PROTOCOL_ERROR),
        (GREETING + b"\xff\xff\xff\0\0\0\0\0\1", frames.FRAME_SIZE_ERROR),
        (GREETING + headers(2, BLOCK), frames.PROTOCOL_ERROR),
        (GREETING + ask(3) + ask(1), frames.STREAM_CLOSED),
        (GREETING + headers(1, BLOCK) + frames.frame(frames.DATA, 0, 1, b"a"), frames.STREAM_CLOSED),
        (GREETING + frames.frame(frames.DATA, 0, 1, b"a"), frames.PROTOCOL_ERROR),
        (GREETING + headers(1, b"\xff\xff\xff\xff\xff\xff\xff"), frames.COMPRESSION_ERROR),
        (GREETING + headers(1, BLOCK, 0) + ask(3), frames.PROTOCOL_ERROR),
        (GREETING + frames.frame(frames.CONTINUATION, 0, 1, b""), frames.PROTOCOL_ERROR),
        (GREETING + headers(1, Encoder().encode([("x", "y" * MAX_LIST_BYTES)])), frames.ENHANCE_YOUR_CALM),
        (GREETING + headers(1, BLOCK, 0) + frames.frame(9, 0, 1, b"a" * 2**18), frames.ENHANCE_YOUR_CALM),
        (GREETING + frames.settings({frames.SETTING_INITIAL_WINDOW: 2**31}), frames.FLOW_CONTROL_ERROR),
        (GREETING + frames.settings({frames.SETTING_MAX_FRAME: 1}), frames.PROTOCOL_ERROR),
        (GREETING + frames.frame(frames.SETTINGS, 0, 0, b"12345"), frames.FRAME_SIZE_ERROR),
        (GREETING + frames.window_update(0, frames.MAX_WINDOW), frames.FLOW_CONTROL_ERROR),
        (GREETING + frames.window_update(0, 0), frames.PROTOCOL_ERROR),
        (GREETING + frames.frame(frames.PING, 0, 0, b"123"), frames.FRAME_SIZE_ERROR),
        (GREETING + frames.reset(1, 8), frames.PROTOCOL_ERROR),
        (GREETING + ask(1, end=False) + b"".join(frames.frame(0, 0, 1, b"a" * 2**17) for _ in range(9)),
         frames.FLOW_CONTROL_ERROR),
        (GREETING + frames.frame(frames.PUSH_PROMISE, 0, 1, b"1234"), frames.PROTOCOL_ERROR),
    ],
)  # fmt: skip
def test_a_client_that_breaks_the_protocol_is_told_and_cut_off(sent: bytes, code: int) -> None:
    def use(client: Talk) -> None:
        client.hear(sent)
        assert (client.wire.goaway, client.wire.closed) == (code, True)

    talk(use, echo=Silent)


@pytest.mark.parametrize(
    "fields",
    [
        [*FIELDS, (":path", "/b")],
        [*FIELDS[:2], ("a", "b"), *FIELDS[2:]],
        [*FIELDS, ("UPPER", "x")],
        [*FIELDS, ("connection", "close")],
        [(":method", "POST"), (":scheme", "http")],
        [*FIELDS, (":odd", "x")],
    ],
)
def test_a_malformed_request_is_reset_and_the_connection_stays(fields: list[tuple[str, str]]) -> None:
    def use(client: Talk) -> None:
        client.hear(GREETING, headers(1, frames.header_block(fields)), ask(3, b"a"))
        assert [(frame.stream, frame.payload[-1]) for frame in client.wire.frames(frames.RST_STREAM)] == [(1, 1)]
        assert client.echoes[3].body == b"a"

    talk(use)


def test_one_stream_too_many_is_refused() -> None:
    def use(client: Talk) -> None:
        client.hear(GREETING, ask(1), ask(3), ask(5))
        refused = client.wire.frames(frames.RST_STREAM)[0]
        assert (refused.stream, refused.payload[-1]) == (5, frames.REFUSED_STREAM)

    talk(use, max_streams=2)


def test_a_client_that_hangs_up_or_resets_is_told_to_its_streams() -> None:
    def use(client: Talk) -> Talk:
        client.hear(GREETING, ask(1), ask(3), frames.reset(1, 8))
        assert client.echoes[1].told == ["gone"]
        assert client.echoes[3].told == []
        return client

    client = talk(use)
    assert client.echoes[3].told == ["gone"]
    assert client.lost == 1


def test_a_flood_of_resets_is_cut_off_and_ordinary_cancelling_is_not() -> None:
    def use(client: Talk) -> None:
        client.hear(GREETING)
        for number in range(1, 1999, 2):
            client.hear(ask(number), frames.reset(number, 8))
        assert client.wire.goaway is None
        for number in range(1999, 2099, 2):
            client.hear(ask(number), frames.reset(number, 8))
        assert client.wire.goaway == frames.ENHANCE_YOUR_CALM

    talk(use)


def test_a_flood_of_pings_is_cut_off() -> None:
    ping = frames.frame(frames.PING, 0, 0, b"12345678")

    def use(client: Talk) -> None:
        client.hear(GREETING, ping * 20_000)
        assert client.wire.goaway == frames.ENHANCE_YOUR_CALM

    talk(use)


def test_the_end_is_announced_first_and_what_is_open_is_answered() -> None:
    def use(client: Talk) -> None:
        client.hear(GREETING, ask(1))
        client.server.wind_down()
        client.hear(ask(3))  # was on its way
        assert client.wire.goaway == frames.NO_ERROR
        client.server.drain()
        client.hear(ask(5))
        assert client.wire.frames(frames.RST_STREAM)[0].payload[-1] == frames.REFUSED_STREAM
        client.answer(1, b"a")
        assert not client.wire.closed
        client.answer(3, b"b")
        assert client.wire.closed

    talk(use)


def test_pings_are_answered_and_settings_acknowledged() -> None:
    def use(client: Talk) -> None:
        wire = client.hear(GREETING, frames.frame(frames.PING, 0, 0, b"12345678"))
        assert [frame.payload for frame in wire.frames(frames.PING)] == [b"12345678"]
        assert [frame.flags for frame in wire.frames(frames.SETTINGS)] == [0, frames.ACK]

    talk(use)
