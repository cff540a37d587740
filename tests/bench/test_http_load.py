from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kserve_ext.bench.arrivals import constant
from kserve_ext.bench.exchange import exchange
from kserve_ext.bench.loop import NO_ANSWER, NOT_SENT, LoadResult, run_closed_loop, run_open_loop
from kserve_ext.bench.message import Request
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.errors import UnreachableError

from .conftest import HTTP_OK, Handler, RawServer, read_http_request

StartServer = Callable[[Handler], RawServer]
REQUEST = Request(path="/v2/models/m/infer", body=b"{}")


def _target(server: RawServer) -> Target:
    return parse_target(f"http://127.0.0.1:{server.port}", model="m")


def _answer_all(connection: socket.socket, number: int) -> None:
    while read_http_request(connection):
        connection.sendall(HTTP_OK)


def _open(server: RawServer, count: int, rate_rps: float = 500, **options: float | int) -> LoadResult:
    return run_open_loop(_target(server), [REQUEST], constant(rate_rps, count / rate_rps), **options)  # type: ignore[arg-type]


def test_every_request_is_answered_and_timed(raw_server: StartServer) -> None:
    result = _open(raw_server(_answer_all), 50)
    assert result.ok.tolist() == [True] * 50
    assert result.errors == {}
    assert result.due_s.tolist() == constant(500, 0.1).tolist()
    assert np.all(result.due_s <= result.sent_s)
    assert np.all(result.sent_s < result.done_s)
    assert result.cpu_s > 0
    assert result.elapsed_s >= result.done_s.max()


def test_latency_counts_from_when_a_request_was_due_while_the_server_stalls(raw_server: StartServer) -> None:
    """One connection, and the first answer takes 0.3 s: what was due meanwhile has waited, although sent late."""

    def stall_once(connection: socket.socket, number: int) -> None:
        read_http_request(connection)
        time.sleep(0.3)
        connection.sendall(HTTP_OK)
        _answer_all(connection, number)

    result = _open(raw_server(stall_once), 20, rate_rps=100, connections=1)
    latency_s = result.done_s - result.due_s
    assert result.ok.all()
    assert latency_s[0] >= 0.29
    assert latency_s[10] >= 0.19  # due at 0.1 s, answered after 0.3 s
    assert np.all(result.sent_s[1:] >= 0.29)
    assert result.lag_s[10] < 0.19  # the generator came to it in time: it was the connection that was busy


def test_requests_beyond_the_bound_are_failures_of_their_own_kind(raw_server: StartServer) -> None:
    def never(connection: socket.socket, number: int) -> None:
        while read_http_request(connection):
            pass

    result = _open(raw_server(never), 5, connections=2, drain_s=0.1)
    assert result.errors == {NOT_SENT: 3, NO_ANSWER: 2}
    assert not result.ok.any()
    assert np.isnan(result.done_s).all()


def test_failures_are_counted_by_kind(raw_server: StartServer) -> None:
    answers = [HTTP_OK, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", HTTP_OK, b"nonsense\r\n\r\n"]

    def by_turns(connection: socket.socket, number: int) -> None:
        while read_http_request(connection):
            connection.sendall(answers.pop(0))

    result = _open(raw_server(by_turns), 4, rate_rps=50, connections=1)
    assert result.errors == {"HTTP 503": 1, "bad HTTP response": 1}
    assert result.ok.tolist() == [True, False, True, False]
    assert np.isfinite(result.done_s).all()


def test_a_connection_closed_mid_run_costs_its_request_and_the_run_goes_on(raw_server: StartServer) -> None:
    def close_early(connection: socket.socket, number: int) -> None:
        if number == 0:
            read_http_request(connection)
            connection.sendall(HTTP_OK)
            read_http_request(connection)
            connection.sendall(HTTP_OK[:20])
        else:
            _answer_all(connection, number)

    result = _open(raw_server(close_early), 20, rate_rps=200, connections=1)
    assert result.errors == {"connection closed": 1}
    assert result.ok[5:].all()


def test_a_server_that_closes_after_each_answer_is_met_with_new_connections(raw_server: StartServer) -> None:
    def once(connection: socket.socket, number: int) -> None:
        read_http_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    result = _open(raw_server(once), 20)
    assert result.ok.all()


def test_the_pool_grows_to_what_is_in_flight(raw_server: StartServer) -> None:
    together = threading.Barrier(8)

    def wait_for_all(connection: socket.socket, number: int) -> None:
        read_http_request(connection)
        together.wait(5)
        connection.sendall(HTTP_OK)

    assert _open(raw_server(wait_for_all), 8, drain_s=5).ok.all()


def test_a_large_request_goes_out_in_pieces(raw_server: StartServer) -> None:
    sizes = []

    def slow_reader(connection: socket.socket, number: int) -> None:
        sizes.append(len(read_http_request(connection).partition(b"\r\n\r\n")[2]))
        connection.sendall(HTTP_OK)

    request = Request(path="/", body=bytes(20_000_000))
    result = run_open_loop(_target(raw_server(slow_reader)), [request], constant(10, 0.1))
    assert (sizes, result.errors) == ([20_000_000], {})


def test_a_closed_loop_keeps_its_number_in_flight(raw_server: StartServer) -> None:
    lock, in_flight, seen = threading.Lock(), [0], [0]

    def count(connection: socket.socket, number: int) -> None:
        while read_http_request(connection):
            with lock:
                in_flight[0] += 1
                seen[0] = max(seen[0], in_flight[0])
            time.sleep(0.005)
            with lock:
                in_flight[0] -= 1
            connection.sendall(HTTP_OK)

    result = run_closed_loop(_target(raw_server(count)), [REQUEST], 3, 0.2, 0.1)
    assert seen == [3]
    assert result.ok.all()
    assert result.due_s.min() >= 0  # the warm-up is cut off
    assert result.due_s.max() <= 0.2
    assert result.ok.size > 10


def test_a_closed_loop_gives_up_on_a_server_that_only_refuses(raw_server: StartServer) -> None:
    def refuse(connection: socket.socket, number: int) -> None:
        while read_http_request(connection):
            connection.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n")

    with pytest.raises(UnreachableError, match=r"requests in a row failed: \{'HTTP 500'"):
        run_closed_loop(_target(raw_server(refuse)), [REQUEST], 2, 60.0)


def test_an_unreachable_endpoint_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port} does not answer: Connection refused"):
        run_open_loop(parse_target(f"127.0.0.1:{port}", model="m"), [REQUEST], constant(10, 1))


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match=r"nowhere.invalid:80 does not answer"):
        exchange(parse_target("http://nowhere.invalid", model="m"), [REQUEST])


def test_no_answer_to_a_check_is_unreachable(raw_server: StartServer) -> None:
    server = raw_server(
        lambda connection, number: [None for _ in iter(lambda: read_http_request(connection), b"")].clear()
    )
    with pytest.raises(UnreachableError, match="no answer within"):
        exchange(_target(server), [REQUEST], timeout_s=0.05)


def test_the_host_header_is_the_authority_of_a_gateway(raw_server: StartServer) -> None:
    seen = []

    def note(connection: socket.socket, number: int) -> None:
        while data := read_http_request(connection):
            seen.append(data)
            connection.sendall(HTTP_OK)

    server = raw_server(note)
    target = parse_target(f"127.0.0.1:{server.port}", model="m", authority="m.example.com")
    exchange(target, [REQUEST])
    assert b"\r\nHost: m.example.com\r\n" in seen[0]


def test_garbage_collection_is_off_during_a_run_and_on_after_it(raw_server: StartServer) -> None:
    server = raw_server(_answer_all)
    states = []

    class Requests(list[Request]):
        def __len__(self) -> int:
            states.append(gc.isenabled())
            return super().__len__()

    run_open_loop(_target(server), Requests([REQUEST]), constant(100, 0.02))
    assert states[-1] is False
    assert gc.isenabled()


def test_ctrl_c_ends_a_run_at_once_and_leaves_nothing_behind(raw_server: StartServer) -> None:
    """The run would take 200 s; the test's own time limit says what "at once" means."""

    def interrupt(connection: socket.socket, number: int) -> None:
        read_http_request(connection)
        os.kill(os.getpid(), signal.SIGINT)

    descriptors = set(os.listdir("/proc/self/fd"))
    server = raw_server(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_open_loop(_target(server), [REQUEST], constant(0.01, 200), drain_s=200)
    server.close()
    assert gc.isenabled()
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_https_is_spoken_and_the_certificate_checked(
    raw_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def encrypted(connection: socket.socket, number: int) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            while read_http_request(wrapped):
                wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))

    server = raw_server(encrypted)
    target = parse_target(f"https://127.0.0.1:{server.port}", model="m", authority="localhost")
    refused = run_open_loop(target, [REQUEST], constant(10, 0.1))
    assert list(refused.errors) == ["certificate refused"]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    result = run_open_loop(target, [REQUEST], constant(100, 0.1))
    assert result.errors == {}
    assert result.ok.size == 10
