"""Runs that others disturb are done again: what counts is the run in which they used the machine least.

Others are all programs but the server and this one, and a hypervisor that gives the cores to another machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TypeVar

from kserve_ext.triton.server import TritonServer

Result = TypeVar("Result")

QUIET_CORES = 0.15  # used by others: an idle machine shows 0.02
MOST_RUNS = 4  # of one measurement
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_USER, _NICE, _SYSTEM, _STEAL = 0, 1, 2, 7  # columns of /proc/stat; interrupts are left out, they serve us too


def foreign_cpu(server: TritonServer) -> Callable[[], float]:
    """Tells the CPU seconds that others have used so far."""

    def seconds() -> float:
        columns = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        busy = sum(int(columns[i]) for i in (_USER, _NICE, _SYSTEM, _STEAL) if i < len(columns))
        return busy * _TICK_S - server.cpu_seconds() - process_time()

    return seconds


class Quiet:
    """Repeats disturbed runs. All repetitions together take hardly longer than `patience_s`."""

    def __init__(self, foreign_s: Callable[[], float], patience_s: float = 0.0) -> None:
        self._foreign_s = foreign_s
        self.patience_s = patience_s
        self._kept_cores: list[float] = []

    @property
    def foreign_cores(self) -> float:
        """Cores others used in the middle one of the runs that count: what to think of the measurement."""
        return median(self._kept_cores) if self._kept_cores else 0.0

    def least_disturbed(self, run: Callable[[], Result]) -> Result:
        """The result of the run that others disturbed least, of one or, where they do, up to four."""
        best, least = self._watched(run)
        for _ in range(MOST_RUNS - 1):
            if least <= QUIET_CORES or self.patience_s <= 0:
                break
            start = perf_counter()
            result, foreign_cores = self._watched(run)
            self.patience_s -= perf_counter() - start
            if foreign_cores < least:
                best, least = result, foreign_cores
        self._kept_cores.append(least)
        return best

    def _watched(self, run: Callable[[], Result]) -> tuple[Result, float]:
        """What `run` gives, and how many cores others used meanwhile."""
        start, before_s = perf_counter(), self._foreign_s()
        result = run()
        return result, (self._foreign_s() - before_s) / (perf_counter() - start)
