"""The end of a server under load, and its workers: whoever follows readiness loses no request."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import orjson
from serving.running import Running, ours, run_once, run_server
from serving.sample_predictors import ROW
from tritonclient.grpc import service_pb2 as pb

from kserve_ext.triton.listen import choose_ports

BODY = orjson.dumps({"inputs": [{"name": "x", "shape": [1, ROW], "datatype": "FP32", "data": [1] * ROW}]})
CLIENTS = 8


class Load:
    """Clients that send one request after another until the server says that it is about to end."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.answered, self.lost = 0, []
        self.flowing = threading.Barrier(2 * CLIENTS + 1)
        self.unready = threading.Event()
        targets = [self._http, self._grpc] * CLIENTS
        self.threads = [threading.Thread(target=target) for target in targets]
        for thread in self.threads:
            thread.start()

    def watch(self) -> None:
        """What a balancer does: ask for readiness, and send no more when it is gone."""
        while self.server.status("/v2/health/ready") == 200:
            pass
        self.unready.set()
        for thread in self.threads:
            thread.join(60)

    def _http(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=60)
        first = True
        while not self.unready.is_set():
            try:
                connection.request("POST", "/v2/models/m/infer", BODY)
                answer = connection.getresponse()
                answer.read()
                self._count("" if answer.status == 200 else f"HTTP {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self._count(repr(error))
            if first:
                self.flowing.wait(60)
                first = False
        connection.close()

    def _grpc(self) -> None:
        request = pb.ModelInferRequest(model_name="m")
        request.inputs.add(name="x", datatype="FP32", shape=[1, ROW])
        request.raw_input_contents.append(b"\0" * 4 * ROW)
        first = True
        with grpc.insecure_channel(self.server.rpc.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer", pb.ModelInferRequest.SerializeToString
            )
            while not self.unready.is_set():
                try:
                    infer(request, timeout=60)
                    self._count("")
                except grpc.RpcError as error:
                    self._count(f"{error.code()} {error.details()}")
                if first:
                    self.flowing.wait(60)
                    first = False

    def _count(self, failure: str) -> None:
        if failure:
            self.lost.append(failure)
        else:
            self.answered += 1


def served(tmp_path: Path, workers: int) -> AbstractContextManager[Running]:
    command = ours("Slow", tmp_path, "--workers", str(workers))
    return run_server(command, tmp_path, KSERVE_EXT_DRAIN_DELAY="1s", KSERVE_EXT_MAX_BATCH_SIZE="4")


def end_under_load(server: Running) -> None:
    load = Load(server)
    load.flowing.wait(60)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    load.watch()
    assert load.lost == []
    assert load.answered >= 2 * CLIENTS
    assert server.ended() == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_no_request_is_lost_when_the_server_ends_under_load(tmp_path: Path) -> None:
    with served(tmp_path, 1) as server:
        end_under_load(server)


def test_workers_add_up_their_counters_are_replaced_when_they_die_and_lose_no_request_at_the_end(
    tmp_path: Path,
) -> None:
    with served(tmp_path, 2) as server:
        assert [post(server) for _ in range(10)] == [200] * 10
        until_counted(server, 10)
        victim = children(server)[0]
        os.kill(victim, signal.SIGKILL)
        while victim in children(server) or len(children(server)) < 2:
            time.sleep(0.01)
        assert post(server) == 200
        until_counted(server, 11)
        end_under_load(server)


def test_a_model_that_does_not_load_ends_the_server_with_its_own_words(tmp_path: Path) -> None:
    ports = choose_ports()
    arguments = ["--http_port", str(ports.http), "--grpc_port", str(ports.grpc)]
    outcome = run_once([*ours("Unloadable", tmp_path), *arguments])
    assert outcome.returncode == 2
    assert "error: m cannot be loaded: FileNotFoundError: no weights in " in outcome.stderr


def children(server: Running) -> list[int]:
    assert server.process is not None
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until_counted(server: Running, requests: int) -> None:
    """Workers show each other their sums once a second; the test's own time-out ends a wait for ever."""
    while f'nv_inference_request_success{{model="m",version="1"}} {requests}' not in metrics(server):
        time.sleep(0.05)


def post(server: Running) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    try:
        connection.request("POST", "/v2/models/m/infer", BODY)
        return connection.getresponse().status
    finally:
        connection.close()


def metrics(server: Running) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
