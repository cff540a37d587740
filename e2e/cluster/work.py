"""Running the steps: one line of progress each, a log each, and results kept by what went into them.

An artefact is a folder `CACHE/NAME/KEY`; KEY is the hash of its inputs. It is made in a folder beside it and renamed
when it is whole, so a killed run leaves nothing that a later one would take for done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

_TAIL_LINES = 15
T = TypeVar("T")


class StepError(Exception):
    """A step that failed, with the end of its log."""


class Missing(Exception):  # noqa: N818  the exception is what it says: something that is not there
    """The machine lacks something; the text says what, and what to do."""


@dataclass(slots=True)
class Log:
    """Where the output of one step goes, and the means to run its commands."""

    path: Path
    file: IO[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *command: str | Path, **more: Any) -> None:
        """Run a command, its output into the log; `stdin` is text or a stream. Raises CalledProcessError."""
        self._run(command, stdout=self.file, **more)

    def read(self, *command: str | Path, **more: Any) -> str:
        """What a command prints. Raises CalledProcessError."""
        return str(self._run(command, stdout=subprocess.PIPE, **more).stdout)

    def works(self, *command: str | Path) -> bool:
        """Whether a command exits with 0."""
        try:
            self.run(*command)
        except (subprocess.CalledProcessError, OSError):
            return False
        return True

    def say(self, text: str) -> None:
        self.file.write(text + "\n")
        self.file.flush()

    def _run(
        self,
        command: Sequence[str | Path],
        *,
        stdout: Any,
        stdin: str | IO[bytes] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        self.say("$ " + " ".join(map(str, command)))
        given: dict[str, Any] = {"input": stdin} if isinstance(stdin, str) else {"stdin": stdin or subprocess.DEVNULL}
        return subprocess.run(
            [str(part) for part in command], check=True, text=True, cwd=cwd, stdout=stdout, stderr=self.file,
            env={**os.environ, **self.environment, **(env or {})}, **given,
        )  # fmt: skip


@dataclass(slots=True)
class Workshop:
    """One run: the cache, the logs, the lines on the terminal."""

    cache: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    _said: threading.Lock = field(default_factory=threading.Lock)
    _once: threading.RLock = field(default_factory=threading.RLock)
    _known: dict[str, Any] = field(default_factory=dict)
    _used: set[Path] = field(default_factory=set)

    @contextmanager
    def quietly(self, name: str) -> Iterator[Log]:
        """A log without a line of progress and without translation of failures."""
        path = self.cache / "log" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            yield Log(path=path, file=file, environment=self.environment)

    @contextmanager
    def step(self, name: str) -> Iterator[Log]:
        """Time one step; a failure becomes a StepError with the end of its log."""
        start = time.monotonic()
        with self.quietly(name) as log:
            try:
                yield log
            except (subprocess.CalledProcessError, OSError) as error:
                log.say(f"{type(error).__name__}: {error}")
                self.line(name, "failed", time.monotonic() - start)
                raise StepError(f"{name}: {_in_words(error)}\nthe end of {log.path}:\n{_tail(log.path)}") from error
        self.line(name, "done", time.monotonic() - start)

    def artefact(self, name: str, inputs: object, make: Callable[[Path, Log], None]) -> Path:
        """The folder that `make` fills from `inputs`: from the cache where the same inputs were used before."""
        folder = self.cache / name / key_of(inputs)
        self._used.add(folder)
        if folder.is_dir():
            self.line(name, "cached", 0.0)
            return folder
        making = folder.with_name(f"{folder.name}.making-{os.getpid()}")
        _drop_unfinished(folder.parent)
        with self.step(name) as log:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            make(making, log)
            (making / "inputs.json").write_text(json.dumps(inputs, indent=1, default=str))
            making.rename(folder)
        return folder

    def forget_older(self, cluster: str) -> None:
        """Remove the artefacts that neither this run, for this cluster, nor the last run for any other one has used."""
        uses = self.cache / "uses"
        uses.mkdir(exist_ok=True)
        (uses / f"{cluster}.json").write_text(
            json.dumps(sorted(str(each.relative_to(self.cache)) for each in self._used))
        )
        kept = {self.cache / name for file in uses.glob("*.json") for name in json.loads(file.read_text())}
        for place in {folder.parent for folder in kept}:
            for other in set(place.iterdir()) - kept:
                if ".making-" not in other.name:
                    shutil.rmtree(other)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other run works on this cache, and keep others from it."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.line("another run", "waiting", 0.0)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returns, which runs only the first time that this run asks for the name."""
        with self._once:
            if name not in self._known:
                self._known[name] = make()
            found: T = self._known[name]
            return found

    def line(self, name: str, what: str, seconds: float) -> None:
        """One line of progress."""
        with self._said:
            print(f"  {name:<26} {what:<7} {seconds:7.1f} s", file=sys.stderr, flush=True)


def key_of(inputs: object) -> str:
    """The name of what these inputs make."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:16]


def digest_of(*paths: Path) -> str:
    """The hash of files, and of every file below folders, names included."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(path.parent)}\0{os.access(file, os.X_OK)}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def until(what: str, check: Callable[[], bool], *, seconds: float, every: float = 0.5) -> None:
    """Wait until `check` holds. Raises TimeoutError that says what was waited for."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def _drop_unfinished(folder: Path) -> None:
    """Remove what killed runs were making, and leave what a running one is making."""
    for making in folder.glob("*.making-*"):
        if not Path("/proc", making.name.rsplit("-", 1)[1]).exists():
            shutil.rmtree(making, ignore_errors=True)


def _in_words(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        command = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd[:4]))
        return f"`{command}` exited with {error.returncode}"
    return str(error)


def _tail(path: Path) -> str:
    return "\n".join("  | " + line for line in path.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
