"""Every client with every server: ours, KServe's and Triton's clients get the same from ours, KServe's and Triton."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from serving.running import HERE, Running
from tritonclient.utils import InferenceServerException

from kserve_ext.client import AsyncClient, Client

X = np.arange(8, dtype=np.float32).reshape(2, 4)
DOUBLED = (2 * X).tolist()
SERVERS = {"ours": "our_server", "kserve": "plain_server", "triton": "triton_server"}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Running:
    running: Running = request.getfixturevalue(SERVERS[request.param])
    return running


def url(server: Running, protocol: str) -> str:
    return f"{protocol}://127.0.0.1:{server.http if protocol == 'http' else server.grpc}"


@pytest.mark.triton
def test_kserves_clients(server: Running) -> None:
    command = [sys.executable, str(HERE / "kserve_clients.py"), str(server.http), str(server.grpc)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    answer = ["m", "7", "y", DOUBLED]
    ready: list[Any] = [True] * 3
    if server.process is None:  # Triton's health is a status without a body, which KServe's REST client cannot read
        ready = ["no JSON", "no JSON", True]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "rest json": answer, "rest binary": answer, "grpc": answer, "rest ready": ready, "grpc ready": [True] * 3,
    }  # fmt: skip


@pytest.mark.triton
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_our_clients(server: Running, protocol: str, binary: bool) -> None:
    with Client(url(server, protocol), binary=binary) as client:
        assert (client.ready(), client.ready("m")) == (True, True)
        assert client.infer("m", {"x": X})["y"].tolist() == DOUBLED

    async def many() -> list[Any]:
        async with AsyncClient(url(server, protocol), binary=binary) as client:
            return list(await asyncio.gather(*(client.infer("m", {"x": X + place}) for place in range(8))))

    assert [answer["y"].tolist() for answer in asyncio.run(many())] == [
        (2 * (X + place)).tolist() for place in range(8)
    ]


# what does not go together, in the server's words: Triton's client calls JSON bytes, which KServe takes at its word
REFUSED = {"kserve-HTTP JSON": "inference-header-content-length"}


def ask_triton_http(server: Running, *, binary: bool) -> Any:
    with triton_http.InferenceServerClient(f"127.0.0.1:{server.http}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("m")
        tensor = triton_http.InferInput("x", list(X.shape), "FP32")
        tensor.set_data_from_numpy(X, binary_data=binary)
        wanted = [triton_http.InferRequestedOutput("y", binary_data=binary)]
        return client.infer("m", [tensor], outputs=wanted, request_id="7").as_numpy("y")


def ask_triton_grpc(server: Running, **options: Any) -> Any:
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("m")
        tensor = triton_grpc.InferInput("x", list(X.shape), "FP32")
        tensor.set_data_from_numpy(X)
        return client.infer("m", [tensor], request_id="7", **options).as_numpy("y")


@pytest.mark.triton
@pytest.mark.parametrize(
    "ask",
    [
        lambda server: ask_triton_http(server, binary=True),
        lambda server: ask_triton_http(server, binary=False),
        ask_triton_grpc,
        lambda server: ask_triton_grpc(server, client_timeout=30.0, compression_algorithm="gzip"),
    ],
    ids=["HTTP binary", "HTTP JSON", "gRPC", "gRPC compressed"],
)
def test_tritons_clients(server: Running, ask: Callable[[Running], Any], request: pytest.FixtureRequest) -> None:
    if request.node.callspec.id in REFUSED:
        with pytest.raises(InferenceServerException, match=REFUSED[request.node.callspec.id]):
            ask(server)
    else:
        assert ask(server).tolist() == DOUBLED


@pytest.mark.triton
@pytest.mark.parametrize("name", ["our_server", "triton_server"])
def test_tritons_client_reads_statistics_index_and_streams(name: str, request: pytest.FixtureRequest) -> None:
    """Of KServe's server it cannot: these are Triton's extensions."""
    server: Running = request.getfixturevalue(name)
    answers: list[Any] = []
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}") as client:
        before = client.get_inference_statistics("m").model_stats[0].inference_count
        client.start_stream(lambda result, error: answers.append(error or result.as_numpy("y").tolist()))
        tensor = triton_grpc.InferInput("x", list(X.shape), "FP32")
        tensor.set_data_from_numpy(X)
        for _ in range(3):
            client.async_stream_infer("m", [tensor])
        client.stop_stream()
        assert answers == [DOUBLED] * 3
        assert client.get_inference_statistics("m").model_stats[0].inference_count == before + 3 * len(X)
        assert [model.name for model in client.get_model_repository_index().models] == ["m"]
