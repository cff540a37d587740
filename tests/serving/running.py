"""Servers in processes of their own, started and ended by the tests."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kserve_ext.bench.target import Target, parse_target
from kserve_ext.triton.listen import choose_ports

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
_START_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One server that is ready. `process` is None where it is ended by whoever gave it."""

    process: subprocess.Popen[bytes] | None
    http: int
    grpc: int
    log: Path

    def ended(self) -> int:
        """The exit code, once it is there."""
        assert self.process is not None
        return self.process.wait(40)

    @property
    def rest(self) -> Target:
        return parse_target(f"http://127.0.0.1:{self.http}", model="m")

    @property
    def rpc(self) -> Target:
        return parse_target(f"grpc://127.0.0.1:{self.grpc}", model="m")

    def status(self, path: str) -> int:
        return status(self.http, path)


def status(port: int, path: str, secured: Path | None = None) -> int:
    """The status of a GET, 0 where nobody answers. `secured`: the certificate of a server that speaks TLS."""
    context = ssl.create_default_context(cafile=str(secured)) if secured else None
    scheme = "https" if secured else "http"
    try:
        with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}{path}", timeout=30, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)
    except OSError:
        return 0


@contextmanager
def run_server(
    command: Sequence[str], folder: Path, *, secured: Path | None = None, **environment: str
) -> Iterator[Running]:
    """`command` with ports and a log in `folder`, once its model is ready; ended with SIGTERM afterwards."""
    ports = choose_ports()
    log = folder / "server.log"
    whole = [sys.executable, "-B", *command, "--http_port", str(ports.http), "--grpc_port", str(ports.grpc)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            whole, env={**os.environ, **environment, "PYTHONPATH": PATHS}, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        end_s = time.monotonic() + _START_S
        while status(ports.http, "/v2/models/m/ready", secured) != 200:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.05)
        yield Running(process=process, http=ports.http, grpc=ports.grpc, log=log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ours(predictor: str, folder: Path, *arguments: str) -> list[str]:
    """The command that serves one of the sample predictors."""
    name = f"serving.sample_predictors:{predictor}"
    return ["-m", "kserve_ext.serving", name, "--model_name", "m", "--model_dir", str(folder), *arguments]


def run_once(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself."""
    environment = {**os.environ, "PYTHONPATH": PATHS}
    return subprocess.run(
        [sys.executable, "-B", *command], env=environment, capture_output=True, text=True, check=False, timeout=90
    )
