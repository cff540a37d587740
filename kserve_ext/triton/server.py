"""One embedded Triton: started in explicit mode on loopback ports, its log in a file, stopped with a drain.

In: a staged model repository. Out: addresses, and what the server's processes use. It ends with this process,
whatever ends that; models are loaded through `control.TritonControl`.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType

from kserve_ext.errors import TritonError
from kserve_ext.render.runtime import HUGE_PAGES
from kserve_ext.triton import log, process
from kserve_ext.triton.find import ServerInstall, find_server, prepare
from kserve_ext.triton.listen import LOOPBACK, Ports, PortTakenError, choose_ports

EXIT_TIMEOUT_S = 5  # for requests in flight; an idle kept-alive HTTP connection makes Triton 2.51 wait for all of it
LOAD_TIMEOUT_S = 120.0  # one model, on a busy machine: importing a runtime and reading weights
_START_TIMEOUT_S = 60.0  # 0.1 s on an idle machine
_POLL_S = 0.02
_PORT_ATTEMPTS = 3  # a free port may be taken between finding it and Triton opening it
_SHARED_MEMORY = Path("/dev/shm")


class TritonServer:
    """A running Triton server. Use it with `with`, or call `start` and `stop`.

    The thread that starts it must live as long as the server shall: Linux ends the child with that thread.
    """

    def __init__(
        self,
        repository: Path,
        *,
        log_file: Path,
        install: ServerInstall | None = None,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        exit_timeout_s: int = EXIT_TIMEOUT_S,
    ) -> None:
        self.repository = repository
        self.log_file = log_file
        self.install = install or find_server()
        self._given = {"http": http_port, "grpc": grpc_port, "metrics": metrics_port}
        self._exit_timeout_s = exit_timeout_s
        self._ports: Ports | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._token = f"kserve_ext_{uuid.uuid4().hex[:12]}_"  # starts the names of its shared memory

    def __enter__(self) -> TritonServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def http_url(self) -> str:
        return f"{LOOPBACK}:{self._running().http}"

    @property
    def grpc_url(self) -> str:
        return f"{LOOPBACK}:{self._running().grpc}"

    @property
    def metrics_url(self) -> str:
        return f"{LOOPBACK}:{self._running().metrics}"

    @property
    def pid(self) -> int:
        self._running()
        assert self._process is not None
        return self._process.pid

    def start(self) -> TritonServer:
        """Start and wait until it answers. Raises TritonError with the telling lines of its log."""
        if self._process is not None:
            raise TritonError(f"this Triton server is running already, pid {self._process.pid}")
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self._launch()
            except PortTakenError:
                self.stop()
                if attempt == _PORT_ATTEMPTS or any(self._given.values()):
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                break
        return self

    def stop(self) -> None:
        """End the server: requests in flight are answered, then it and its stubs are gone. Does nothing when ended."""
        ending, self._process, self._ports = self._process, None, None
        folder, self._folder = self._folder, None
        try:
            if ending is not None:
                process.end(ending, patience_s=self._exit_timeout_s + 5)  # unloading takes it 2 to 4 s more
        finally:
            for left in _SHARED_MEMORY.glob(f"{self._token}*"):  # a killed stub leaves its region
                left.unlink(missing_ok=True)
            if folder is not None:
                folder.cleanup()

    def alive(self) -> bool:
        """Whether the server process runs."""
        return self._process is not None and self._process.poll() is None

    def check_alive(self, *, patience_s: float = 0.0) -> None:
        """Raise TritonError when the server is not running, or ends within `patience_s`."""
        if self._process is None:
            raise TritonError("the Triton server is not running", remedy="start it first")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        if self._process.returncode is not None:
            how = process.exit_words(self._process.returncode)
            raise TritonError(f"the Triton server died: {how}{self.quote_log()}", remedy=f"its log: {self.log_file}")

    def log_position(self) -> int:
        """Where the log ends now, for `log.read_from`."""
        return self.log_file.stat().st_size

    def quote_log(self) -> str:
        """The last errors in the log, or its last lines, to be put behind a message."""
        text = log.read_from(self.log_file)
        return "".join(f"\n  {line}" for line in log.errors(text)[-5:] or log.tail(text))

    def memory_bytes(self) -> int:
        """Memory of the server and all its stubs; pages they share count once."""
        return process.memory_bytes(self.pid)

    def cpu_seconds(self) -> float:
        """CPU time the server and all its stubs have used so far."""
        return process.cpu_seconds(self.pid)

    def _running(self) -> Ports:
        if self._ports is None:
            raise TritonError("the Triton server is not running", remedy="start it first")
        return self._ports

    def _launch(self) -> None:
        self._ports = choose_ports(**self._given)
        self._folder = tempfile.TemporaryDirectory(prefix="kserve-ext-triton-")
        install = prepare(self.install, Path(self._folder.name))
        command = (str(install.binary), *self._flags(install, self._ports))
        own = {name: value for name, value in HUGE_PAGES.items() if name not in os.environ}  # as it is deployed
        self._process = process.spawn(command, {**own, **install.environment}, self.log_file)
        self._wait_until_live(self._ports)

    def _flags(self, install: ServerInstall, ports: Ports) -> tuple[str, ...]:
        """The flags that differ from Triton's defaults. Thread counts stay: they made no difference that shows."""
        return (
            f"--model-repository={self.repository}",
            f"--backend-directory={install.backends_dir}",
            "--model-control-mode=explicit",
            # The config that was planned is the one that runs; and a load takes 0.1 s, not 1.4 s, because Triton
            # otherwise starts a stub of its own only to ask the model for its config.
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={self._exit_timeout_s}",
            *(f"--{name}-address={LOOPBACK}" for name in ("http", "grpc", "metrics")),
            *(f"--{name}-port={getattr(ports, name)}" for name in ("http", "grpc", "metrics")),
            f"--backend-config=python,shm-region-prefix-name={self._token}",
        )

    def _wait_until_live(self, ports: Ports) -> None:
        """Wait for HTTP, and for metrics, which Triton opens last."""
        until = time.monotonic() + _START_TIMEOUT_S
        while not (_answers(ports.http, "/v2/health/live") and _answers(ports.metrics, "/metrics")):
            self._check_started()
            if time.monotonic() > until:
                raise TritonError(f"the Triton server is not live after {_START_TIMEOUT_S:.0f} s{self.quote_log()}")
            time.sleep(_POLL_S)
        self._check_started()  # another program may have answered on a given port

    def _check_started(self) -> None:
        if self.alive():
            return
        taken = [line for line in log.errors(log.read_from(self.log_file)) if "already in use" in line]
        if taken:
            raise PortTakenError(f"the Triton server does not start: {taken[-1]}", remedy="give other ports, or none")
        self.check_alive()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
