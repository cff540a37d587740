"""The processes of one server: start them in a group of their own, end the group, read memory and CPU time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kserve_ext.errors import KserveExtError, MissingExtraError, TritonError

if TYPE_CHECKING:
    import psutil

_Number = TypeVar("_Number", int, float)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)  # looked up before the fork: the child may not take locks


def spawn(command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> subprocess.Popen[bytes]:
    """The program, leading a session of its own (no Ctrl-C from the terminal), its output going to `log_file`.

    It gets SIGTERM when the thread that called this ends, so it cannot outlive this process, not even after kill -9.
    """
    parent = os.getpid()

    def end_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the line above
            os._exit(1)

    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log = log_file.open("wb", buffering=0)
    except OSError as error:
        raise KserveExtError(f"{log_file}: the server's log cannot be written: {error.strerror}") from error
    with log:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            raise TritonError(f"{command[0]} cannot be started: {error.strerror}") from error
    threading.Thread(target=_end_group_after, args=(process,), daemon=True, name="triton-watch").start()
    return process


def end(process: subprocess.Popen[bytes], *, patience_s: float) -> None:
    """SIGTERM, up to `patience_s` for an orderly end, then SIGKILL to what is left of its group, stubs included.

    An exception while waiting, such as a second Ctrl-C, kills at once.
    """
    if process.poll() is not None:  # its group is gone too, and the number may be another's by now
        return
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    finally:
        _kill_group(process)
        process.wait()


def _end_group_after(process: subprocess.Popen[bytes]) -> None:
    """Take the stubs along when the server dies: they hold its sockets, and its clients would wait for ever."""
    process.wait()
    _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # nobody is left in it
        os.killpg(process.pid, signal.SIGKILL)


def exit_words(code: int) -> str:
    """An exit status in words: `exit code 1`, `killed by SIGKILL`."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def memory_bytes(pid: int) -> int:
    """Memory of a process and all below it: proportional set size, so pages shared among them count once."""
    return sum(_of_each(pid, lambda process: int(process.memory_full_info().pss)))


def cpu_seconds(pid: int) -> float:
    """CPU time spent so far by a process and all below it, those that have ended included."""
    return sum(_of_each(pid, lambda process: float(sum(process.cpu_times()[:4]))))  # own and ended children's


def _of_each(pid: int, read: Callable[[psutil.Process], _Number]) -> list[_Number]:
    """What `read` says of a process and of all below it; those that end meanwhile are left out."""
    try:
        import psutil
    except ModuleNotFoundError as error:
        raise MissingExtraError("psutil", "triton") from error
    found: list[_Number] = []
    try:
        above: psutil.Process = psutil.Process(pid)
        processes = [above, *above.children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(read(process))
    return found
