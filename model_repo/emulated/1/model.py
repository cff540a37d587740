"""A GPU's latency without a GPU, for Triton's python backend: y = x + 1, answered after s(rows of the batch).

`curve.json` gives s as measured points; between them s is a straight line. The instances of one server take turns, as
executions on one device do: a second instance adds next to no capacity, and the published numbers agree.
"""

from __future__ import annotations

import bisect
import fcntl
import itertools
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

SPIN_S = 200e-6  # slept up to here, then spun: a sleep ends up to 100 us late

Point = tuple[float, float]  # rows, seconds


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        path = Path(args["model_repository"], args["model_version"], "curve.json")
        self.points = checked([(rows, seconds) for rows, seconds in json.loads(path.read_text())["points"]], path)
        max_batch = json.loads(args["model_config"])["max_batch_size"]
        if max_batch > self.points[-1][0]:
            last = self.points[-1][0]
            raise pb_utils.TritonModelException(f"max_batch_size {max_batch}: {path} ends at {last} rows")
        # Locked while an instance executes: each instance is a process of its own, and the server is what they share.
        # Not the model's folder, which replicas on one node may share too.
        self.turn = os.open(f"/proc/{os.getppid()}", os.O_RDONLY)

    def execute(self, requests: list[Any]) -> list[Any]:
        fcntl.flock(self.turn, fcntl.LOCK_EX)
        try:
            start_s = time.perf_counter()
            inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
            wait_until(start_s + service_s(self.points, sum(len(rows) for rows in inputs)))
        finally:
            fcntl.flock(self.turn, fcntl.LOCK_UN)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", rows + np.float32(1))]) for rows in inputs]

    def finalize(self) -> None:
        os.close(self.turn)


def checked(points: list[Point], path: Path) -> list[Point]:
    """The points, if they start at one row, rows ascend and seconds never fall."""
    ascending = all(a[0] < b[0] and a[1] <= b[1] for a, b in itertools.pairwise(points))
    if not points or points[0][0] != 1 or points[0][1] <= 0 or not ascending:
        raise pb_utils.TritonModelException(f"{path}: points: from 1 row upwards, with seconds that never fall")
    return points


def service_s(points: Sequence[Point], rows: int) -> float:
    """Seconds for a batch of `rows`: the point there, or the straight line between its neighbours."""
    index = bisect.bisect_left(points, (rows, 0.0))
    rows_1, seconds_1 = points[index]
    if rows_1 == rows:
        return seconds_1
    rows_0, seconds_0 = points[index - 1]
    return seconds_0 + (seconds_1 - seconds_0) * (rows - rows_0) / (rows_1 - rows_0)


def wait_until(moment_s: float) -> None:
    if (left_s := moment_s - time.perf_counter() - SPIN_S) > 0:
        time.sleep(left_s)
    while time.perf_counter() < moment_s:
        pass
