"""One queue-proxy process in front of a server on this machine, as in a pod."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from kserve_ext.errors import UnreachableError

_START_S = 10.0
_PROBE = {"User-Agent": "Knative-Activator-Probe", "K-Network-Probe": "queue"}  # as the activator asks


@contextlib.contextmanager
def queue_proxy(binary: Path, *, user_port: int, limit: int, log_file: Path, timeout_s: int = 300) -> Iterator[int]:
    """A queue-proxy with containerConcurrency `limit` before 127.0.0.1:`user_port`; its port. Killed at the end: a
    drain would take its 30 s."""
    port, tls_port = _free_port(), _free_port()
    environment = os.environ | {
        "CONTAINER_CONCURRENCY": str(limit), "QUEUE_SERVING_PORT": str(port), "QUEUE_SERVING_TLS_PORT": str(tls_port),
        "USER_PORT": str(user_port), "REVISION_TIMEOUT_SECONDS": str(timeout_s), "SERVING_LOGGING_CONFIG": "",
        "SERVING_LOGGING_LEVEL": "error", "SERVING_NAMESPACE": "bench", "SERVING_CONFIGURATION": "bench",
        "SERVING_REVISION": "bench-1", "SERVING_POD": "bench-1-pod", "SERVING_POD_IP": "127.0.0.1",
    }  # fmt: skip
    with log_file.open("wb") as log:
        process = subprocess.Popen([binary], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(port, process, log_file)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log_file: Path) -> None:
    stop = time.monotonic() + _START_S
    while time.monotonic() < stop and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        try:
            connection.request("GET", "/", headers=_PROBE)
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise UnreachableError(f"queue-proxy does not answer: {log_file.read_text(errors='replace')[-1000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
