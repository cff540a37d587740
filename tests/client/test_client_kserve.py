"""Both clients ask KServe's own server, and the router in front of a real Triton. Needs kserve (extra `predictor`)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_ext.client import Client, NotFoundError, RefusedError, UnavailableError
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.skipif(find_spec("kserve") is None, reason="kserve is not installed")
ROOT = Path(__file__).parents[2]
START_S = 60.0

ECHO = '''
import kserve
from kserve.utils.numpy_codec import from_np_dtype


class Echo(kserve.Model):
    """Answers each input under the name of an output."""

    def __init__(self):
        super().__init__("echo")
        self.ready = True

    def predict(self, payload, headers=None):
        outputs = []
        for tensor in payload.inputs:
            array = tensor.as_numpy()
            outputs.append(kserve.InferOutput("out_" + tensor.name, list(array.shape), from_np_dtype(array.dtype)))
            outputs[-1].set_data_from_numpy(array)
        return kserve.InferResponse(payload.id or "1", "echo", outputs, use_binary_outputs=payload.use_binary_outputs)


kserve.ModelServer(enable_latency_logging=False).start([Echo()])
'''


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def serve(command: list[str], log_file: Path) -> Iterator[dict[str, str]]:
    """Runs a KServe server and gives its URLs once it is ready."""
    http, grpc = free_ports()
    with (
        log_file.open("w") as log,
        subprocess.Popen(
            [*command, "--http_port", str(http), "--grpc_port", str(grpc)], cwd=ROOT, stdout=log, stderr=log
        ) as process,
    ):
        try:
            urls = {"http": f"http://127.0.0.1:{http}", "grpc": f"grpc://127.0.0.1:{grpc}"}
            until = time.monotonic() + START_S
            for url in urls.values():
                with Client(url) as client:
                    while not client.ready(timeout_s=5):
                        assert process.poll() is None, log_file.read_text()
                        assert time.monotonic() < until, log_file.read_text()
                        time.sleep(0.1)
            yield urls
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.py").write_text(ECHO)
    yield from serve([sys.executable, str(folder / "echo.py")], folder / "log")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(4, dtype=np.int64),
        np.array([[True, False]]),
        np.arange(3, dtype=np.uint8),
        np.array([1.5], np.float16),
    ],
    ids=lambda array: str(array.dtype),
)
def test_kserve_s_server_gives_back_what_it_gets(
    echo: dict[str, str], ask: Callable[..., Any], protocol: str, array: Any
) -> None:
    answer = ask(echo[protocol], "infer", "echo", {"x": array, "z": array})
    assert answer.keys() == {"out_x", "out_z"}
    for output in answer.values():
        np.testing.assert_array_equal(output, array)
        assert output.dtype == array.dtype


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_kserve_s_server_gives_back_strings(echo: dict[str, str], ask: Callable[..., Any], protocol: str) -> None:
    assert ask(echo[protocol], "infer", "echo", {"x": ["a", "ü"]})["out_x"].tolist() == [b"a", "ü".encode()]


def test_kserve_s_server_takes_plain_json(echo: dict[str, str], ask: Callable[..., Any]) -> None:
    answer = ask(echo["http"], "infer", "echo", {"x": [1.5, 2.5]}, options={"binary": False})
    assert answer["out_x"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_kserve_s_server_says_that_a_model_is_not_there(
    echo: dict[str, str], ask: Callable[..., Any], protocol: str
) -> None:
    with pytest.raises(NotFoundError):
        ask(echo[protocol], "infer", "nothing", {"x": [1.0]})
    assert ask(echo[protocol], "ready", "nothing") is False
    assert ask(echo[protocol], "ready", "echo") is True


@pytest.fixture(scope="module")
def router(triton: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The router in front of the digits model."""
    port = triton.grpc_url.rpartition(":")[2]
    command = [sys.executable, "-m", "predictors.router", "--model_name", "digits", "--predictor_host", "127.0.0.1"]
    control = TritonControl.of(triton)
    control.load("digits")
    yield from serve([*command, "--predictor_port", port, "--retries", "0"], tmp_path_factory.mktemp("router") / "log")
    control.unload("digits")


@pytest.mark.triton
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_router_gives_its_predictor_s_answers(
    router: dict[str, str], triton: TritonServer, ask: Callable[..., Any], protocol: str
) -> None:
    images = np.random.default_rng(1).random((3, 64), np.float32)
    direct = ask(f"grpc://{triton.grpc_url}", "infer", "digits", {"image": images})
    routed = ask(router[protocol], "infer", "digits", {"image": images})
    assert routed.keys() == direct.keys()
    for name, array in routed.items():
        np.testing.assert_array_equal(array, direct[name])
    assert ask(router[protocol], "ready", "digits") is True


@pytest.mark.triton
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_router_says_whose_fault_it_was(router: dict[str, str], ask: Callable[..., Any], protocol: str) -> None:
    with pytest.raises(RefusedError, match="refuses the request"):
        ask(router[protocol], "infer", "digits", {"picture": np.zeros((1, 64), np.float32)})


@pytest.fixture(scope="module")
def lonely_router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The router in front of nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command = [sys.executable, "-m", "predictors.router", "--model_name", "digits", "--predictor_host", "127.0.0.1"]
    log_file = tmp_path_factory.mktemp("lonely") / "log"
    yield from serve([*command, "--predictor_port", port, "--retries", "0"], log_file)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_router_without_a_predictor_says_so(
    lonely_router: dict[str, str], ask: Callable[..., Any], protocol: str
) -> None:
    with pytest.raises(UnavailableError, match=r"digits at 127\.0\.0\.1"):
        ask(lonely_router[protocol], "infer", "digits", {"image": np.zeros((1, 64), np.float32)})
    assert ask(lonely_router[protocol], "ready", "digits") is False
