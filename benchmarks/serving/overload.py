"""Three times what the server can do, for a minute: how much good work is left, and what memory and health say meanwhile."""

from __future__ import annotations

import multiprocessing
import time
import urllib.request
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.serving.drive import CONCURRENCY
from benchmarks.serving.running import Serving
from kserve_ext.bench.arrivals import poisson
from kserve_ext.bench.loop import run_closed_loop, run_open_loop
from kserve_ext.triton import process

TIMES = 3.0
_CAPACITY_S = 8.0
_LOOK_S = 0.1
_LOOKS_PER_MEMORY = 10
_CONNECTIONS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Overloaded:
    """What was seen."""

    capacity_rps: float
    goodput_rps: float
    offered_rps: float
    health_ms: float  # the slowest answer
    health_failures: int
    memory_growth_bytes: int  # from a fifth of the run to its end
    errors: dict[str, int]

    @property
    def goodput_share(self) -> float:
        return self.goodput_rps / self.capacity_rps


class _Watch:
    """Asks for liveness and readiness ten times a second from a process of its own, and notes the memory, until it is stopped."""

    def __init__(self, serving: Serving, address: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_look, args=(theirs, serving.pid, address), daemon=True)
        self._process.start()

    def stop(self) -> tuple[float, int, list[int]]:
        """The slowest answer in seconds, how many failed, and the memory over time."""
        self._pipe.send(None)
        seen: tuple[float, int, list[int]] = self._pipe.recv()
        self._process.join()
        return seen


def _look(pipe: Connection, pid: int, address: str) -> None:
    """In the other process: a generator that is busy would make the probes late, not the server."""
    slowest_s, failures, looks = 0.0, 0, 0
    memory: list[int] = []
    while not pipe.poll(_LOOK_S):
        for path in ("/v2/health/live", "/v2/health/ready"):
            start_s = time.perf_counter()
            try:
                with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                    answer.read()
            except OSError:
                failures += 1
            slowest_s = max(slowest_s, time.perf_counter() - start_s)
        looks += 1
        if looks % _LOOKS_PER_MEMORY == 0:
            memory.append(process.memory_bytes(pid))
    pipe.send((slowest_s, failures, memory))


def overload(serving: Serving, seconds: float, *, way: str = "rest_binary", seed: int = 5) -> Overloaded:
    """Capacity in closed loop just before and just after, then TIMES as much in open loop between."""
    asked = serving.ways[way]

    def capacity_rps() -> float:
        result = run_closed_loop(asked.target, asked.requests, CONCURRENCY, _CAPACITY_S, 1.0)
        return float(result.ok.sum()) / result.elapsed_s

    before_rps = capacity_rps()
    watch = _Watch(serving, asked.target.address)
    try:
        result = run_open_loop(
            asked.target, asked.requests, poisson(TIMES * before_rps, seconds, seed), connections=_CONNECTIONS
        )
    finally:
        slowest_s, failures, memory = watch.stop()
    after_rps = capacity_rps()
    good_s = np.sort(result.done_s[result.ok])
    settled = good_s[(good_s > 0.1 * seconds) & (good_s < seconds)]  # while the load is on
    return Overloaded(
        capacity_rps=(before_rps + after_rps) / 2,
        goodput_rps=settled.size / (0.9 * seconds),
        offered_rps=result.ok.size / seconds,
        health_ms=slowest_s * 1e3,
        health_failures=failures,
        memory_growth_bytes=max(memory[-5:]) - max(memory[: max(1, len(memory) // 5)]),
        errors=dict(result.errors),
    )
