from __future__ import annotations

import queue
import socket
import struct
from collections.abc import Callable, Sequence

import pytest
from hpack import Decoder

from kserve_ext.bench import http2
from kserve_ext.bench.arrivals import constant
from kserve_ext.bench.exchange import exchange
from kserve_ext.bench.loop import LoadResult, run_closed_loop, run_open_loop
from kserve_ext.bench.message import Request
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.http2 import frames

from .conftest import Handler, RawServer
from .grpc_script import Peer

StartServer = Callable[[Handler], RawServer]
REQUEST = Request(path="/inference.GRPCInferenceService/ModelInfer", body=b"question")


def _target(server: RawServer) -> Target:
    return parse_target(f"grpc://127.0.0.1:{server.port}", model="m", authority="m.example.com")


def _open(server: RawServer, count: int, requests: Sequence[Request] = (REQUEST,), connections: int = 1) -> LoadResult:
    return run_open_loop(_target(server), requests, constant(500, count / 500), connections=connections, drain_s=3)


def _answer_all(connection: socket.socket, number: int) -> None:
    peer = Peer(connection)
    peer.accept()
    for stream in peer.calls():
        peer.answer(stream)


def test_every_call_is_answered(raw_server: StartServer) -> None:
    result = _open(raw_server(_answer_all), 50, connections=3)
    assert result.errors == {}
    assert result.ok.tolist() == [True] * 50


def test_a_closed_loop_runs_over_streams(raw_server: StartServer) -> None:
    result = run_closed_loop(_target(raw_server(_answer_all)), [REQUEST], 4, 0.1)
    assert result.ok.all()
    assert result.ok.size > 10


def test_a_call_says_all_that_grpc_asks_for(raw_server: StartServer) -> None:
    seen: list[frames.Frame] = []

    def note(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for frame in peer.frames():
            seen.append(frame)
            if frame.kind == frames.DATA:
                peer.answer(frame.stream)

    request = Request(path=REQUEST.path, body=b"question", headers=(("grpc-timeout", "500m"),))
    (reply,) = exchange(_target(raw_server(note)), [request])
    assert (reply.outcome, reply.body) == ("", b"ok")
    head = next(frame for frame in seen if frame.kind == frames.HEADERS)
    assert dict(Decoder().decode(head.payload)) == {
        ":method": "POST",
        ":scheme": "http",
        ":path": REQUEST.path,
        ":authority": "m.example.com",
        "content-type": "application/grpc",
        "te": "trailers",
        "user-agent": "kserve-ext",
        "grpc-timeout": "500m",
    }
    assert next(frame.payload for frame in seen if frame.kind == frames.DATA) == b"\0\0\0\0\x08question"


@pytest.mark.parametrize(
    ("headers", "outcome", "detail"),
    [
        ([(":status", "200"), ("grpc-status", "14"), ("grpc-message", "no%20GPU")], "gRPC 14 UNAVAILABLE", "no GPU"),
        ([(":status", "200"), ("grpc-status", "99")], "gRPC 99", ""),
        ([(":status", "200")], "gRPC without status UNKNOWN", ""),
        ([(":status", "503"), ("content-type", "text/html")], "HTTP 503", ""),
    ],
)
def test_a_refusal_is_told_by_its_status(
    raw_server: StartServer, headers: list[tuple[str, str]], outcome: str, detail: str
) -> None:
    def refuse(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for stream in peer.calls():
            peer.head(stream, headers, end=True)

    (reply,) = exchange(_target(raw_server(refuse)), [REQUEST])
    assert (reply.outcome, reply.detail) == (outcome, detail)


def test_an_answer_that_ends_without_trailers_is_a_failure(raw_server: StartServer) -> None:
    def no_trailers(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for stream in peer.calls():
            peer.head(stream, [(":status", "200")])
            peer.send(frames.frame(frames.DATA, frames.END_STREAM, stream, b""))

    assert _open(raw_server(no_trailers), 3).errors == {"no gRPC status": 3}


def test_a_large_message_waits_for_the_servers_windows(raw_server: StartServer) -> None:
    """The server grants what it has taken, so a stream has 1000 bytes on its way once the settings are known."""
    body, received = bytes(range(256)) * 1000, []

    def grudging(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept({frames.SETTING_INITIAL_WINDOW: 1000})
        parts = b""
        for frame in peer.frames():
            if frame.kind != frames.DATA:
                continue
            parts += frame.payload
            if frame.flags & frames.END_STREAM:
                received.append(parts)
                peer.answer(frame.stream)
            else:
                grant = len(frame.payload)
                peer.send(frames.window_update(0, grant) + frames.window_update(frame.stream, grant))

    result = _open(raw_server(grudging), 1, [Request(path="/", body=body)])
    assert result.errors == {}
    assert received == [b"\0" + struct.pack(">L", len(body)) + body]


def test_a_window_that_shrinks_below_zero_stops_the_sender_until_it_grows(raw_server: StartServer) -> None:
    body, early = bytes(100_000), []

    def shrink(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        taken, granted = 0, False
        for frame in peer.frames():
            if frame.kind == frames.DATA:
                taken += len(frame.payload)
                if taken == 65535:  # all that the first window allows
                    peer.send(frames.settings({frames.SETTING_INITIAL_WINDOW: 10}) + frames.window_update(0, 10**6))
                elif taken > 65535 and not granted:
                    early.append(taken)
                if frame.flags & frames.END_STREAM:
                    peer.answer(frame.stream)
            elif frame.kind == frames.SETTINGS and frame.flags & frames.ACK and taken == 65535:
                peer.send(frames.frame(frames.PING, 0, 0, b"anything"))  # its answer comes after what is sent too early
            elif frame.kind == frames.PING:
                granted = True
                peer.send(frames.window_update(1, 65525 + 40_000))

    result = _open(raw_server(shrink), 1, [Request(path="/", body=body)])
    assert (result.errors, early) == ({}, [])


def test_no_more_streams_are_opened_than_the_server_allows(raw_server: StartServer) -> None:
    """Answers wait until a ping has come back, and with it all that the client would send meanwhile."""
    most = [0]

    def two_at_a_time(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept({frames.SETTING_MAX_STREAMS: 2})
        settled, waiting = False, []
        for frame in peer.frames():
            if frame.kind == frames.SETTINGS and frame.flags & frames.ACK:
                settled = True
            elif frame.kind == frames.DATA and not settled:  # sent before it could know
                peer.reset(frame.stream, frames.REFUSED_STREAM)
            elif frame.kind == frames.DATA:
                waiting.append(frame.stream)
                most[0] = max(most[0], len(waiting))
                if len(waiting) == 1:
                    peer.send(frames.frame(frames.PING, 0, 0, b"anything"))
            elif frame.kind == frames.PING:
                for stream in waiting:
                    peer.answer(stream)
                waiting = []

    result = run_closed_loop(_target(raw_server(two_at_a_time)), [REQUEST], 6, 0.1, connections=1)
    assert result.ok.sum() > 5
    assert most[0] == 2


def test_calls_that_a_departing_server_did_not_look_at_are_sent_again(raw_server: StartServer) -> None:
    def leave_after_two(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for i, stream in enumerate(peer.calls()):
            if number == 0 and i == 2:
                peer.goaway(last_stream=3)
            elif number > 0 or i < 2:
                peer.answer(stream)

    result = _open(raw_server(leave_after_two), 30)
    assert result.errors == {}
    assert result.ok.all()


def test_a_graceful_goaway_lets_running_calls_end(raw_server: StartServer) -> None:
    def last_words(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for i, stream in enumerate(peer.calls()):
            if number == 0 and i == 0:
                peer.goaway(last_stream=2**31 - 1)
            peer.answer(stream)

    assert _open(raw_server(last_words), 20).ok.all()


def test_a_reset_call_is_a_failure_and_a_refused_one_is_sent_again(raw_server: StartServer) -> None:
    codes = [2, frames.REFUSED_STREAM]

    def reset_some(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for stream in peer.calls():
            if codes:
                peer.reset(stream, codes.pop(0))
            else:
                peer.answer(stream)

    result = _open(raw_server(reset_some), 10)
    assert result.errors == {"stream reset 2": 1}
    assert result.ok.sum() == 9


def test_a_lost_connection_costs_its_calls_and_the_run_goes_on(raw_server: StartServer) -> None:
    def drop_first(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for stream in peer.calls():
            if number == 0:
                return
            peer.answer(stream)

    result = _open(raw_server(drop_first), 40)
    assert result.ok[-10:].all()
    assert 1 <= sum(result.errors.values()) <= 20
    assert set(result.errors) <= {"connection closed", "connection reset"}


def test_pings_are_answered_and_what_is_unknown_is_ignored(raw_server: StartServer) -> None:
    pongs: queue.Queue[tuple[int, bytes]] = queue.Queue()

    def chatty(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for frame in peer.frames():
            if frame.kind == frames.PING:
                pongs.put((frame.flags, frame.payload))
            elif frame.kind == frames.DATA:
                peer.send(frames.frame(frames.PING, 0, 0, b"12345678"))
                peer.send(frames.frame(0x77, 0, 0, b"an extension"))
                peer.send(frames.frame(frames.PRIORITY, 0, frame.stream, b"\0\0\0\0\1"))
                peer.reset(99, 0)
                peer.answer(frame.stream)

    result = _open(raw_server(chatty), 5)
    assert result.ok.all()
    assert pongs.get(timeout=5) == (frames.ACK, b"12345678")


def test_header_blocks_in_pieces_and_padding_are_put_together(raw_server: StartServer) -> None:
    def in_pieces(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for stream in peer.calls():
            block = peer.encoder.encode([(":status", "200"), ("x", "y" * 50), ("grpc-status", "0")])
            first = frames.frame(frames.HEADERS, frames.END_STREAM | frames.PADDED, stream, b"\2" + block[:9] + b"\0\0")
            middle = frames.frame(frames.CONTINUATION, 0, stream, block[9:20])
            peer.send(first + middle + frames.frame(frames.CONTINUATION, frames.END_HEADERS, stream, block[20:]))

    assert _open(raw_server(in_pieces), 5).ok.all()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frames.frame(frames.CONTINUATION, 0, 1, b""),
        frames.frame(frames.PUSH_PROMISE, 0, 1, b"\0\0\0\2"),
        frames.frame(frames.SETTINGS, 0, 0, b"123"),
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff"),
        frames.frame(frames.HEADERS, 0, 1, b"\x88") + frames.frame(frames.PING, 0, 0, b"12345678"),
        frames.frame(frames.WINDOW_UPDATE, 0, 0, b"12"),
    ],
)
def test_a_server_that_talks_nonsense_is_left(raw_server: StartServer, nonsense: bytes) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for _ in peer.calls():
            peer.send(nonsense)

    result = _open(raw_server(talk), 2)
    assert result.errors == {"bad HTTP/2 frames": 2}


def test_received_bytes_are_granted_again(raw_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a low mark of 100 bytes below the window, each second answer of 64 bytes is followed by a grant of 128."""
    monkeypatch.setattr(http2, "_RECEIVE_WINDOW_LOW", frames.MAX_WINDOW - 100)
    grants = []

    def generous(connection: socket.socket, number: int) -> None:
        peer = Peer(connection)
        peer.accept()
        for frame in peer.frames():
            if frame.kind == frames.WINDOW_UPDATE and frame.stream == 0:
                grants.append(struct.unpack(">L", frame.payload)[0])
            elif frame.kind == frames.DATA:
                peer.send(frames.frame(frames.DATA, 0, frame.stream, bytes(64)))
                peer.head(frame.stream, [(":status", "200"), ("grpc-status", "0")], end=True)

    result = _open(raw_server(generous), 5)
    assert result.errors == {}
    assert grants[:3] == [frames.MAX_WINDOW - 65535, 128, 128]
