"""A predictor in a process of its own, for a model that holds the GIL: arrays go over a pipe and come back.

A process that dies takes only its batch along, which is tried again in parts, so the request that kills it is found
and its neighbours are answered; it is started again, a few times.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kserve_ext.serving.execution import Array
from kserve_ext.serving.faults import Fault, ModelFailed
from kserve_ext.serving.instances import LocalRunner
from kserve_ext.serving.predictor import Predictor
from kserve_ext.serving.settings import Settings

_END_S = 5.0  # what an idle process may take to end
_DEATHS = 100  # more than one batch of bad requests needs; a model that dies at every request is not started for ever


class ProcessRunner:
    """A loaded predictor on the other end of a pipe. Used by one thread."""

    def __init__(self, make: Callable[[], Predictor], artifacts: Path, settings: Settings) -> None:
        self._arguments = (make, artifacts, settings)
        self._deaths = 0
        self._start()

    def run(self, verb: str, batch: Mapping[str, Array]) -> Any:
        if self._deaths > _DEATHS:
            raise ModelFailed("the model's process died too often")
        try:
            _send(self._pipe, (verb, dict(batch)))
            answer = _receive(self._pipe)
        except (EOFError, OSError) as error:
            self._process.join(_END_S)
            code = self._process.exitcode
            self._deaths += 1
            if self._deaths <= _DEATHS:
                self._start()
            raise ModelFailed(f"the model's process ended with exit code {code}") from error
        if isinstance(answer, Fault):
            raise answer
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError):
            _send(self._pipe, None)
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a forked child of a threaded process may hang
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        try:
            told = _receive(self._pipe)
        except EOFError as error:
            raise ModelFailed("the model's process ended while loading") from error
        if isinstance(told, Fault):
            raise told
        self.signature, self.rules = told


def _serve(pipe: Connection, make: Callable[[], Predictor], artifacts: Path, settings: Settings) -> None:
    """The other process: load, tell what was loaded, answer batches until there is None or nobody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of the terminal's group; the parent ends this one
    try:
        runner = LocalRunner(make, artifacts, settings)
    except Exception as error:  # noqa: BLE001 - told to the parent, which ends with these words
        _send(pipe, ModelFailed(f"{type(error).__name__}: {error}"))
        return
    _send(pipe, (runner.signature, runner.rules))
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while (job := _receive(pipe)) is not None:
            _send(pipe, _answer(runner, *job))


def _answer(runner: LocalRunner, verb: str, batch: Mapping[str, Array]) -> Any:
    if runner.rules.writable:  # what came over the pipe is read-only
        batch = {name: array.copy() for name, array in batch.items()}
    try:
        return {str(name): value for name, value in dict(runner.run(verb, batch)).items()}
    except Fault as fault:
        return fault
    except Exception as error:  # noqa: BLE001 - whatever the user's model raises is answered
        return ModelFailed(f"the model failed: {type(error).__name__}: {error}")


def _send(pipe: Connection, content: Any) -> None:
    """Arrays travel as they are, after the pickle that names them."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    pipe.send_bytes(len(buffers).to_bytes(4, "little") + head)
    for buffer in buffers:
        pipe.send_bytes(buffer.raw())


def _receive(pipe: Connection) -> Any:
    head = pipe.recv_bytes()
    buffers = [pipe.recv_bytes() for _ in range(int.from_bytes(head[:4], "little"))]
    return pickle.loads(memoryview(head)[4:], buffers=buffers)
