"""A raw socket server in a thread: a test decides, byte by byte, what the generator gets to see."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

Handler = Callable[[socket.socket, int], None]  # the connection, and its number


class RawServer:
    """Runs `handler` for each connection that says something, in a thread of its own, until it is closed.

    A connection that ends silently is the generator's look at whether anybody listens.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.port = self._listener.getsockname()[1]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if connection.recv(1, socket.MSG_PEEK):
                self._handler(connection, next(self._numbers))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def raw_server() -> Iterator[Callable[[Handler], RawServer]]:
    """Starts raw servers, and closes them after the test."""
    servers: list[RawServer] = []

    def start(handler: Handler) -> RawServer:
        servers.append(RawServer(handler))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def read_http_request(connection: socket.socket) -> bytes:
    """One request with a Content-Length or none; empty when the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


HTTP_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


_MODEL = """
import time

import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        rows = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", {expression})]) for row in rows]
"""
_CONFIG = """
backend: "python"
max_batch_size: {max_batch}
input [ {{ name: "x", data_type: {type}, dims: [ {dims} ] }} ]
output [ {{ name: "y", data_type: {type}, dims: [ {dims} ] }} ]
instance_group [ {{ kind: KIND_CPU, count: 1 }} ]
"""
_PAIR = """
platform: "ensemble"
max_batch_size: 8
input [ { name: "in", data_type: TYPE_FP32, dims: [ 2 ] } ]
output [ { name: "out", data_type: TYPE_FP32, dims: [ 2 ] } ]
ensemble_scheduling { step [
  { model_name: "echo" model_version: -1 input_map { key: "x" value: "in" } output_map { key: "y" value: "between" } },
  { model_name: "root" model_version: -1 input_map { key: "x" value: "between" } output_map { key: "y" value: "out" } }
] }
"""
_MODELS = {  # name: what it answers for a row, batch size, type, dimensions
    "echo": ("row", 8, "TYPE_FP32", "2"),
    "root": ("np.sqrt(row)", 8, "TYPE_FP32", "2"),  # NaN below zero
    "words": ("row", 8, "TYPE_STRING", "1"),
    "wide": ("row", 8, "TYPE_FP32", "-1"),
    "slow": ("(row, time.sleep(0.2))[0]", 8, "TYPE_FP32", "2"),
    "fixed": ("row", 0, "TYPE_FP32", "1, 2"),
}


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of python models that answer at once, and an ensemble of two of them."""
    repository = tmp_path_factory.mktemp("small") / "models"
    for name, (expression, max_batch, kind, dims) in _MODELS.items():
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.py").write_text(_MODEL.format(expression=expression))
        config = _CONFIG.format(max_batch=max_batch, type=kind, dims=dims)
        (repository / name / "config.pbtxt").write_text(config)
    (repository / "pair" / "1").mkdir(parents=True)
    (repository / "pair" / "config.pbtxt").write_text(_PAIR)
    return repository


@pytest.fixture(scope="session")
def small_server(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A running server on them, none loaded."""
    with TritonServer(small_models, log_file=tmp_path_factory.mktemp("log") / "triton.log") as server:
        yield server


@pytest.fixture
def small_control(small_server: TritonServer) -> TritonControl:
    return TritonControl.of(small_server)
