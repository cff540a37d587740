"""What becomes of a stateful model's running sequences when a real Triton is told to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException

from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

COUNTER = Path(__file__).parents[2] / "e2e/data/counter"  # adds up what a sequence sends
_CLIENTS = {"grpc": over_grpc, "http": over_http}


class Sequence:
    """One sequence of ones, over a connection of its own."""

    def __init__(self, server: TritonServer, protocol: str, name: int) -> None:
        self._library = _CLIENTS[protocol]
        url = server.grpc_url if protocol == "grpc" else server.http_url
        self._client, self._name = self._library.InferenceServerClient(url), name

    def send(self, **flags: bool) -> float:
        """The sum with one more."""
        tensor = self._library.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
        options: dict[str, Any] = {"sequence_id": self._name, **flags}
        return float(self._client.infer("counter", [tensor], **options).as_numpy("y")[0, 0])

    def close(self) -> None:
        """Close its connection."""
        self._client.close()


@pytest.fixture
def counting(add_model: Callable[..., Path], start: Callable[..., TritonServer]) -> TritonServer:
    """A server with a stateful model."""
    program, config = (COUNTER / "1/model.py").read_text(), (COUNTER / "config.pbtxt").read_text()
    server = start(add_model("counter", program, config), exit_timeout_s=30)
    TritonControl.of(server).load("counter")
    return server


def new_ones(server: TritonServer, protocol: str) -> None:
    """One sequence after the other, each over a connection of its own, until the signal has been taken."""
    for name in range(2, 1000):
        Sequence(server, protocol, name).send(sequence_start=True, sequence_end=True)


def test_a_running_sequence_ends_over_grpc_a_new_one_is_refused_and_the_server_waits(
    counting: TritonServer, processes: SimpleNamespace
) -> None:
    family = processes.family(counting.pid)
    running = Sequence(counting, "grpc", 1)
    assert running.send(sequence_start=True) == 1
    os.kill(counting.pid, signal.SIGTERM)
    with pytest.raises(InferenceServerException, match=r"UNAVAILABLE.*stopped accepting new inference requests"):
        new_ones(counting, "grpc")
    assert [running.send(), running.send(sequence_end=True)] == [2, 3]
    assert not processes.still_running(family)


def test_a_running_sequence_ends_over_http_on_its_own_connection_alone(
    counting: TritonServer, processes: SimpleNamespace
) -> None:
    family = processes.family(counting.pid)
    running = Sequence(counting, "http", 1)
    assert running.send(sequence_start=True) == 1
    os.kill(counting.pid, signal.SIGTERM)
    with pytest.raises((OSError, HTTPConnectionClosed)):
        new_ones(counting, "http")
    assert [running.send(), running.send(sequence_end=True)] == [2, 3]
    running.close()  # open connections are waited for as well, whatever goes over them
    assert not processes.still_running(family)
