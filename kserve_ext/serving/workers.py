"""Several worker processes for one server: the same command run again in each, on one HTTP socket and one gRPC port.

Every worker loads its own copy of the model and serves HTTP and gRPC alike. The parent loads nothing: it starts them,
starts again what dies, and hands a signal on, so all workers end gracefully at the same time.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from kserve_ext.errors import KserveExtError
from kserve_ext.serving.port import take_port

log = logging.getLogger("kserve_ext.serving")

_NUMBER, _LISTENER, _FOLDER, _PARENT = (
    "KSERVE_EXT_WORKER", "KSERVE_EXT_LISTENER", "KSERVE_EXT_TALLIES", "KSERVE_EXT_PARENT"
)  # fmt: skip
_SHORT_LIFE_S = 30.0  # a worker that dies before did not serve
_SHORT_LIVES = 3  # in a row: the next would not serve either
_LOOK_S = 0.2
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_SIGNALLED = (0, *(-number for number in _SIGNALS))  # a worker that is still starting has nothing to finish


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Worker:
    """What a worker was given by its parent."""

    number: int
    parent: int
    listener: socket.socket
    folder: Path

    @classmethod
    def here(cls, environment: Mapping[str, str]) -> Worker | None:
        """This process as a worker, or None for one that is none."""
        if _NUMBER not in environment:
            return None
        return cls(
            number=int(environment[_NUMBER]),
            parent=int(environment[_PARENT]),
            listener=socket.socket(fileno=int(environment[_LISTENER])),
            folder=Path(environment[_FOLDER]),
        )


def supervise(command: Sequence[str], count: int, port: int) -> int:
    """Run `count` workers until a signal ends them; the exit code of the server. Raises KserveExtError."""
    with tempfile.TemporaryDirectory(prefix="kserve-ext-") as folder, take_port(port) as listener:
        crew = _Crew(command, count, listener, Path(folder))
        for number in _SIGNALS:
            signal.signal(number, crew.end)
        return crew.run()


class _Crew:
    def __init__(self, command: Sequence[str], count: int, listener: socket.socket, folder: Path) -> None:
        self._command, self._listener, self._folder = list(command), listener, folder
        self._ending = False
        self._short_lives = 0
        self._born_s: dict[int, float] = {}
        self._processes = {number: self._start(number) for number in range(count)}

    def run(self) -> int:
        code = 0
        while self._processes:
            for number, process in list(self._processes.items()):
                try:
                    ended = process.wait(_LOOK_S / len(self._processes))
                except subprocess.TimeoutExpired:
                    continue
                del self._processes[number]
                if not self._ending:
                    self._again(number, ended)
                elif ended not in _SIGNALLED:
                    code = code or ended
        if self._short_lives >= _SHORT_LIVES:
            raise KserveExtError("the workers end as soon as they start", remedy="the lines above say why")
        return abs(code)

    def end(self, number: int, _: object) -> None:
        """A signal: on to every worker."""
        self._ending = True
        for process in self._processes.values():
            process.send_signal(number)

    def _again(self, number: int, code: int) -> None:
        short = monotonic() - self._born_s[number] < _SHORT_LIFE_S
        self._short_lives = self._short_lives + 1 if short else 0
        log.error("worker %d ended with exit code %d", number, code)
        if self._short_lives >= _SHORT_LIVES:
            self.end(signal.SIGTERM, None)
        else:
            self._processes[number] = self._start(number)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        self._born_s[number] = monotonic()
        environment = {
            **os.environ,
            _NUMBER: str(number),
            _LISTENER: str(descriptor),
            _FOLDER: str(self._folder),
            _PARENT: str(os.getpid()),
            "PROMETHEUS_MULTIPROC_DIR": str(self._folder),  # KServe's own histograms, added up
        }
        return subprocess.Popen(self._command, env=environment, pass_fds=[descriptor])


def this_command() -> list[str]:
    """The command line that started this process."""
    return [sys.executable, *sys.orig_argv[1:]]
