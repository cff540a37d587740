"""One server at work: started on ports of its own, asked until it answers rightly, watched, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.models import BenchModel
from kserve_ext.bench.codec import decode, encode
from kserve_ext.bench.exchange import exchange
from kserve_ext.bench.message import Reply, Request
from kserve_ext.bench.target import Target, parse_target
from kserve_ext.bench.tensor import Array
from kserve_ext.errors import KserveExtError, UnreachableError
from kserve_ext.triton import process

START_S = 120.0


class NotStartedError(KserveExtError):
    """A server that did not come up, or answers something else than the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to ask a server: where, with what, and how its answer is read."""

    name: str  # rest_json, rest_binary, grpc
    target: Target
    requests: tuple[Request, ...]
    read: Callable[[Reply], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server that answers."""

    name: str
    pid: int
    ways: Mapping[str, Way]
    running: subprocess.Popen[bytes] | None = None

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        return process.cpu_seconds(self.pid)

    def memory_bytes(self) -> int:
        return process.memory_bytes(self.pid)


def v2_ways(model: BenchModel, http: str, grpc: str | None, name: str = "m") -> dict[str, Way]:
    """JSON, binary extension and gRPC of a server that speaks the V2 protocol."""
    rest = parse_target(http, model=name)

    def first_output(target: Target) -> Callable[[Reply], Array]:
        return lambda reply: decode(reply, target)[0].data

    ways = {
        f"rest_{kind}": Way(
            name=f"rest_{kind}",
            target=rest,
            requests=tuple(encode(sample, rest, binary=binary) for sample in model.samples),
            read=first_output(rest),
        )
        for kind, binary in (("json", False), ("binary", True))
    }
    if grpc is not None:
        rpc = parse_target(grpc, model=name)
        requests = tuple(encode(sample, rpc) for sample in model.samples)
        ways["grpc"] = Way(name="grpc", target=rpc, requests=requests, read=first_output(rpc))
    return ways


@contextmanager
def program(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` in a session of its own, all of which is ended afterwards."""
    with log.open("wb") as stream:
        running = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=folder, stdout=stream, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            running.wait(20)
        for pid in _of_session(running.pid):
            os.kill(pid, signal.SIGKILL)
        running.wait()


def _of_session(session: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                found.append(int(folder.name))
        except (ProcessLookupError, PermissionError):
            continue
    return found


def until_right(serving: Serving, expected: Array, alive: Callable[[], bool], log: Path) -> None:
    """Wait until every way answers the first sample as onnxruntime does. Raises NotStartedError."""
    end_s = time.monotonic() + START_S
    for way in serving.ways.values():
        while (fault := _fault(way, expected)) is not None:
            if not alive() or time.monotonic() > end_s:
                told = log.read_text(errors="replace")[-2000:] if log.is_file() else ""
                raise NotStartedError(f"{serving.name} over {way.name}: {fault}\n{told}")
            time.sleep(0.25)


def _fault(way: Way, expected: Array) -> str | None:
    try:
        (reply,) = exchange(way.target, way.requests[:1], timeout_s=30)
        if reply.outcome:
            return f"{reply.outcome} {reply.detail}"
        found = way.read(reply)
    except (UnreachableError, ValueError, KeyError) as error:
        return str(error)
    if found.size != expected.size or not np.allclose(found.reshape(expected.shape), expected, atol=1e-3):
        return "another answer than onnxruntime's"
    return None
