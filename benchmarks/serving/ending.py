"""SIGTERM under full load, again and again: clients that follow readiness, as a Service's endpoints do, lose nothing.

Each time a fresh server, clients over HTTP and gRPC that send one request after another, and a signal once all of them
are answered. Readiness is looked at every tenth of a second; refusals begin a second after the signal.
"""

from __future__ import annotations

import http.client
import signal
import threading
import time
from dataclasses import dataclass, field

from benchmarks.serving.models import BenchModel
from benchmarks.serving.peers import ours
from benchmarks.serving.running import Serving

CLIENTS = 16  # of each protocol
_LOOK_S = 0.1
_LOADED_S = 1.0
_END_S = 40.0


@dataclass(slots=True)
class Ended:
    """One server's end."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    exit_code: int | None = None
    took_s: float = 0.0


class _Load:
    """Clients until told to stop. What fails before that, or while the server may still take it, is lost."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.ended = Ended()
        self._threads = [threading.Thread(target=target) for target in (self._rest, self._grpc) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Ended:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.ended

    def _count(self, failure: str) -> None:
        with self._lock:
            if failure:
                self.ended.lost.append(failure)
            else:
                self.ended.answered += 1

    def _rest(self) -> None:
        asked = self._serving.ways["rest_binary"]
        request = asked.requests[0]
        connection = http.client.HTTPConnection(asked.target.host, asked.target.port, timeout=60)
        while not self._stop.is_set():
            try:
                connection.request("POST", request.path, request.body, dict(request.headers))
                answer = connection.getresponse()
                answer.read()
                self._count("" if answer.status == 200 else f"HTTP {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self._count(f"HTTP {error!r}")
        connection.close()

    def _grpc(self) -> None:
        import grpc

        asked = self._serving.ways["grpc"]
        request = asked.requests[0]
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(asked.target.address, options) as channel:
            call = channel.unary_unary(request.path)
            while not self._stop.is_set():
                try:
                    call(request.body, timeout=60)
                    self._count("")
                except grpc.RpcError as error:
                    self._count(f"gRPC {error.code()} {error.details()}")


def end_under_load(model: BenchModel, workers: int) -> Ended:
    """Start, load, SIGTERM, follow readiness, and look at what was lost."""
    with ours(model, {"KSERVE_EXT_DRAIN_DELAY": "1s"}, workers=workers) as serving:
        assert serving.running is not None
        load = _Load(serving)
        time.sleep(_LOADED_S)
        start_s = time.monotonic()
        serving.running.send_signal(signal.SIGTERM)
        target = serving.ways["rest_json"].target
        while _ready(target.host, target.port):
            time.sleep(_LOOK_S)
        ended = load.stop()
        ended.exit_code = serving.running.wait(_END_S)
        ended.took_s = time.monotonic() - start_s
        return ended


def _ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
