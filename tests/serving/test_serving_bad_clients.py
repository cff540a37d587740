"""Clients that are slow, silent, too large or gone, over HTTP and gRPC: they get what they deserve, and others their answers."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from serving.running import Running, ours, run_server
from serving.sample_predictors import ROW
from tritonclient.grpc import service_pb2 as pb

from kserve_ext.bench.exchange import exchange
from kserve_ext.bench.message import Request
from kserve_ext.http2 import frames

BODY = orjson.dumps({"inputs": [{"name": "x", "shape": [1, ROW], "datatype": "FP32", "data": [1] * ROW}]})
HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n"
WHOLE = HEAD % len(BODY) + b"\r\n" + BODY
INFER = "/inference.GRPCInferenceService/ModelInfer"
LIMIT_BYTES = 4 * 2**20


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        yield one


def answers(one: socket.socket, count: int) -> list[int]:
    """The statuses of so many answers, in their order."""
    heard = b""
    while len(
        found := re.findall(rb"HTTP/1\.1 (\d+) [^\r]*\r\n(?:[^\r]+\r\n)*?content-length: (\d+)", heard)
    ) < count or (len(heard) < sum(int(size) for _, size in found)):
        part = one.recv(65536)
        if not part:
            break
        heard += part
    return [int(status) for status, _ in found]


def in_flight(server: Running) -> int:
    (reply,) = exchange(server.rest, [Request(path="/metrics", method="GET")])
    (value,) = re.findall(rb"^kserve_ext_requests_in_flight (\d+)$", reply.body, re.MULTILINE)
    return int(value)


def is_well(server: Running) -> None:
    """Others are answered, and no place is taken for ever."""
    (reply,) = exchange(server.rest, [Request(path="/v2/models/m/infer", body=BODY)])
    assert reply.outcome == ""
    end_s = time.monotonic() + 30
    while in_flight(server):
        assert time.monotonic() < end_s
        time.sleep(0.01)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_request_in_pieces_is_answered(our_server: Running, size: int) -> None:
    with connected(our_server.http) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(WHOLE), size):
            one.sendall(WHOLE[start : start + size])
        assert answers(one, 1) == [200]


def test_requests_one_after_another_without_waiting_are_answered_in_order(our_server: Running) -> None:
    wrong = HEAD % 1 + b"\r\n{"
    with connected(our_server.http) as one:
        one.sendall(WHOLE + wrong + WHOLE)
        assert answers(one, 3) == [200, 400, 200]


def test_a_client_that_asks_first_whether_it_may_send_is_told_to(our_server: Running) -> None:
    with connected(our_server.http) as one:
        one.sendall(HEAD % len(BODY) + b"expect: 100-continue\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 100 ")
        one.sendall(BODY)
        assert answers(one, 1) == [200]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx: " + b"a" * 10**6,
        b"GET / HTTP/1.1\r\n" + b"x: aaaaaaaaaa\r\n" * 10**5,
        b"GET /" + b"a" * 10**6,
    ],
    ids=["one", "many", "path"],
)
def test_headers_without_end_are_cut_off(our_server: Running, head: bytes) -> None:
    with connected(our_server.http) as one:
        try:
            one.sendall(head)
            heard = one.recv(1000)
        except ConnectionError:  # closed while we were still sending
            heard = b""
        assert heard[:13] in (b"HTTP/1.1 431 ", b"")
    is_well(our_server)


def test_connections_that_stop_half_way_hold_nobody_up(our_server: Running) -> None:
    parts = [b"", b"POST /v2/mod", HEAD % len(BODY), HEAD % len(BODY) + b"\r\n" + BODY[:9]]
    silent = [socket.create_connection(("127.0.0.1", our_server.http), timeout=30) for _ in range(100)]
    try:
        for place, one in enumerate(silent):
            one.sendall(parts[place % len(parts)])
        (reply,) = exchange(our_server.rest, [Request(path="/v2/models/m/infer", body=BODY)])
        assert reply.outcome == ""
    finally:
        for one in silent:
            one.close()
    is_well(our_server)


def large(rows: int) -> tuple[bytes, bytes]:
    """The head of a request of bytes, and its body; it is answered in JSON, which is more than sockets hold."""
    raw = np.full((rows, ROW), np.pi, np.float32).tobytes()
    tensor = {"name": "x", "shape": [rows, ROW], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    content = orjson.dumps({"inputs": [tensor]})
    head = HEAD % (len(content) + len(raw)) + b"inference-header-content-length: %d\r\n\r\n" % len(content)
    return head, content + raw


def test_a_slow_reader_keeps_its_place_and_nobody_elses(our_server: Running) -> None:
    head, body = large(250_000)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", our_server.http))
        slow.sendall(head + body)
        slow.recv(1)  # the answer has begun
        (reply,) = exchange(our_server.rest, [Request(path="/v2/models/m/infer", body=BODY)])
        assert reply.outcome == ""
        assert in_flight(our_server) == 1
    is_well(our_server)


# ------------------------------------------------------------------------------------------------------------- gRPC


def message(rows: int = 1) -> Any:
    request = pb.ModelInferRequest(model_name="m", id="1")
    request.inputs.add(name="x", datatype="FP32", shape=[rows, ROW])
    request.raw_input_contents.append(np.ones((rows, ROW), np.float32).tobytes())
    return request


@contextmanager
def channel(server: Running, **options: Any) -> Iterator[grpc.Channel]:
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(
        server.rpc.address, [("grpc.use_local_subchannel_pool", 1), *limits], **options
    ) as opened:
        yield opened


def infer(opened: grpc.Channel, request: Any, **options: Any) -> Any:
    call = opened.unary_unary(INFER, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
    return call(request, timeout=60, **options)


def test_a_message_larger_than_every_window_goes_in_and_out(our_server: Running) -> None:
    rows = 3 * 2**20 // (4 * ROW)
    with channel(our_server) as opened:
        response = infer(opened, message(rows))
        assert set(np.frombuffer(response.raw_output_contents[0], np.float32)) == {2.0}
        with pytest.raises(grpc.RpcError) as caught:
            infer(opened, message(2 * rows))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        infer(opened, message())
    is_well(our_server)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_taken(our_server: Running, compression: grpc.Compression) -> None:
    with channel(our_server, compression=compression) as opened:
        assert infer(opened, message(1000)).outputs[0].shape == [1000, ROW]


def raw_call(server: Running, body: bytes, *more: tuple[str, str]) -> str:
    """The outcome of a call whose message is these bytes, prefix included."""
    block = frames.header_block(
        [(":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "a"), ("te", "trailers"),
         ("content-type", "application/grpc"), *more]
    )  # fmt: skip
    with connected(server.grpc) as one:
        one.sendall(
            frames.PREFACE + frames.settings({}) + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block)
            + frames.frame(frames.DATA, frames.END_STREAM, 1, body)
        )  # fmt: skip
        reader = frames.FrameReader()
        while part := one.recv(65536):
            for frame in reader.feed(part):
                if frame.kind == frames.HEADERS and frame.flags & frames.END_STREAM:
                    return re.search(rb"grpc-status.(\d+)", frame.payload)[1].decode()  # type: ignore[index]
    return "closed"


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"\1" + len(bomb := zlib.compress(b"\0" * 64 * 2**20)).to_bytes(4, "big") + bomb, "deflate", "8"),
        (b"\1\0\0\0\4abcd", "gzip", "3"),
        (b"\1\0\0\0\4abcd", "snappy", "12"),
        (b"\0\0\0\0\4abcd", "identity", "3"),
        (b"\0\0\0\0\4ab", "identity", "3"),
        (b"", "identity", "3"),
        (b"\0\xff\xff\xff\xff", "identity", "8"),
    ],
    ids=["bomb", "no gzip", "unknown", "no message", "too short", "empty", "too long"],
)
def test_a_message_that_cannot_be_read_has_its_code(
    our_server: Running, body: bytes, encoding: str, status: str
) -> None:
    assert raw_call(our_server, body, ("grpc-encoding", encoding)) == status
    is_well(our_server)


def test_a_cancelled_call_gives_its_place_back(tmp_path: Path) -> None:
    with run_server(ours("Slow", tmp_path), tmp_path, KSERVE_EXT_DRAIN_DELAY="0") as server, channel(server) as opened:
        call = opened.unary_unary(INFER, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        futures = [call.future(message()) for _ in range(50)]
        for future in futures:
            future.cancel()
        is_well(server)
        late = call.future(message(), timeout=0.001)
        assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        is_well(server)


def test_both_ports_speak_tls_with_kserves_arguments(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    arguments = ["--ssl_certfile", str(certificate), "--ssl_keyfile", str(key)]
    with run_server(ours("Doubler", tmp_path, *arguments), tmp_path, secured=certificate) as server:
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(f"localhost:{server.grpc}", credentials) as opened:
            assert infer(opened, message()).outputs[0].shape == [1, ROW]
