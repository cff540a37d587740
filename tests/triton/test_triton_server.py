"""The server's life: start, stop, and what is left of it whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from kserve_ext.errors import KserveExtError, TritonError
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.find import find_server
from kserve_ext.triton.server import TritonServer

pytestmark = pytest.mark.triton

DRIVER = """
import json, signal, sys
from pathlib import Path
from kserve_ext.triton.control import TritonControl
from kserve_ext.triton.server import TritonServer

repository, log_file = map(Path, sys.argv[1:])
with TritonServer(repository, log_file=log_file) as server:
    TritonControl.of(server).load("plus")
    print(json.dumps(server.pid), flush=True)
    signal.pause()
"""
WAITS = """
import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        with open({fifo!r}, "w"):  # opens when the test does: it is running now
            pass
        time.sleep(0.5)
        x = pb_utils.get_input_tensor_by_name(requests[0], "x")
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x.as_numpy())])]
"""


@pytest.fixture
def driver(add_model: Callable[..., Path], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs a server; it has printed the server's pid when it is ready."""
    command = [sys.executable, "-c", DRIVER, str(add_model()), str(tmp_path / "driver.log")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # a killed parent leaves the private folder behind
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        yield process
        process.kill()


def shared_memory() -> set[str]:
    return {entry.name for entry in Path("/dev/shm").iterdir()}


def test_stopping_leaves_no_process_no_shared_memory_and_no_folder(
    plus: TritonServer, processes: SimpleNamespace
) -> None:
    TritonControl.of(plus).load("plus")
    mine = {name for name in shared_memory() if name.startswith(plus._token)}
    folder = Path(str(plus._folder and plus._folder.name))
    running = processes.family(plus.pid)
    assert mine
    assert folder.is_dir()
    assert len(running) == 2
    plus.stop()
    assert not processes.still_running(running, 0)
    assert not mine & shared_memory()
    assert not folder.exists()


def test_stopping_twice_is_the_same_as_once(plus: TritonServer) -> None:
    plus.stop()
    plus.stop()
    assert not plus.alive()
    with pytest.raises(TritonError, match="not running"):
        _ = plus.http_url


def test_a_stopped_server_starts_again(plus: TritonServer) -> None:
    plus.stop()
    plus.start()
    assert TritonControl.of(plus).load("plus") > 0


def test_starting_a_running_server_is_refused(plus: TritonServer) -> None:
    with pytest.raises(TritonError, match=rf"running already, pid {plus.pid}"):
        plus.start()


def test_a_request_in_flight_is_answered_before_the_server_ends(
    add_model: Callable[..., Path], start: Callable[..., TritonServer], infer: Callable[..., Any], tmp_path: Path
) -> None:
    fifo = tmp_path / "running"
    os.mkfifo(fifo)
    server = start(add_model("waits", WAITS.format(fifo=str(fifo))))
    TritonControl.of(server).load("waits")
    address, answers = server.http_url, []
    client = threading.Thread(target=lambda: answers.append(infer(address, "waits", [[1.0, 2.0]])))
    client.start()
    fifo.read_text()
    server.stop()
    client.join()
    assert answers == [(200, [[1.0, 2.0]])]


def test_ctrl_c_in_the_program_that_runs_it_stops_it(driver: subprocess.Popen[str], processes: SimpleNamespace) -> None:
    assert driver.stdout
    running = processes.family(json.loads(driver.stdout.readline()))
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert not processes.still_running(running, 0)


def test_ctrl_c_of_the_terminal_does_not_reach_the_server_itself(driver: subprocess.Popen[str]) -> None:
    assert driver.stdout
    server = json.loads(driver.stdout.readline())
    assert os.getsid(server) == os.getpgid(server) == server != os.getsid(driver.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: signal.Signals(number).name)
def test_the_server_ends_with_a_parent_that_is_killed(
    driver: subprocess.Popen[str], processes: SimpleNamespace, number: signal.Signals
) -> None:
    assert driver.stdout
    running = processes.family(json.loads(driver.stdout.readline()))
    driver.send_signal(number)
    assert driver.wait(timeout=60) == -number
    assert not processes.still_running(running)


def test_an_exception_inside_the_with_block_stops_the_server(
    add_model: Callable[..., Path], tmp_path: Path, processes: SimpleNamespace
) -> None:
    running: list[psutil.Process] = []

    def fail() -> None:
        with TritonServer(add_model(), log_file=tmp_path / "triton.log") as server:
            running.extend(processes.family(server.pid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert running
    assert not processes.still_running(running, 0)


def test_the_log_is_written_while_the_server_runs(plus: TritonServer) -> None:
    assert "Started HTTPService" in plus.log_file.read_text()
    before = plus.log_position()
    TritonControl.of(plus).load("plus")
    assert plus.log_position() > before


def test_a_log_that_cannot_be_written_is_named(add_model: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = TritonServer(add_model(), log_file=tmp_path / "file" / "triton.log")
    with pytest.raises(KserveExtError, match=r"file/triton\.log: the server's log cannot be written"):
        server.start()
    assert not server.alive()


def test_only_the_loopback_address_is_opened(plus: TritonServer) -> None:
    ours = (connection for connection in psutil.net_connections("inet") if connection.pid == plus.pid)
    listening = [connection.laddr for connection in ours if connection.status == psutil.CONN_LISTEN]
    addresses = {f"{at.ip.removeprefix('::ffff:')}:{at.port}" for at in listening}
    assert addresses == {plus.http_url, plus.grpc_url, plus.metrics_url}


def test_two_servers_run_at_once(
    add_model: Callable[..., Path], start: Callable[..., TritonServer], infer: Callable[..., Any]
) -> None:
    repository = add_model()
    servers = start(repository, "one.log"), start(repository, "two.log")
    for server in servers:
        TritonControl.of(server).load("plus")
    servers[0].stop()
    assert infer(servers[1].http_url, "plus", [[1.0, 2.0]]) == (200, [[2.0, 3.0]])


@pytest.mark.parametrize("name", ["http", "grpc", "metrics"])
def test_a_given_port_that_is_taken_is_named_before_the_start(
    add_model: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = TritonServer(add_model(), log_file=tmp_path / "triton.log", **{f"{name}_port": port})
        with pytest.raises(TritonError, match=f"the {name} port {port} cannot be used: Address already in use"):
            server.start()
    assert not (tmp_path / "triton.log").exists()


@pytest.mark.parametrize("name", ["http", "grpc", "metrics"])
def test_a_port_taken_after_the_check_is_named_from_tritons_log(
    add_model: Callable[..., Path], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr("kserve_ext.triton.listen._bind", lambda held, which, given: given or free_port())
        server = TritonServer(add_model(), log_file=tmp_path / "triton.log", **{f"{name}_port": port})
        with pytest.raises(TritonError, match=rf"does not start: .*127\.0\.0\.1:{port}' already in use"):
            server.start()
    assert not server.alive()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_free_port_lost_to_another_program_is_replaced(
    add_model: Callable[..., Path], start: Callable[..., TritonServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        lost = iter([other.getsockname()[1]])
        monkeypatch.setattr("kserve_ext.triton.listen._bind", lambda *_: next(lost, 0) or free_port())
        assert TritonControl.of(start(add_model())).version()


def test_a_port_out_of_range_is_refused(add_model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(TritonError, match="http port cannot be 99999") as caught:
        TritonServer(add_model(), log_file=tmp_path / "triton.log", http_port=99999).start()
    assert "1 to 65535" in caught.value.remedy


def test_a_server_that_ends_at_its_start_is_quoted(tmp_path: Path) -> None:
    server = TritonServer(tmp_path / "nowhere", log_file=tmp_path / "triton.log")
    with pytest.raises(TritonError, match=r"died: exit code 1\n.*nowhere") as caught:
        server.start()
    assert str(tmp_path / "triton.log") in caught.value.remedy


def test_memory_and_cpu_grow_with_what_the_server_does(plus: TritonServer) -> None:
    memory, cpu = plus.memory_bytes(), plus.cpu_seconds()
    TritonControl.of(plus).load("plus")
    assert plus.memory_bytes() > memory + 5e6  # a Python with numpy
    assert plus.cpu_seconds() > cpu


def test_the_installed_server_is_found() -> None:
    assert "python" in find_server().backends
