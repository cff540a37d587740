"""The oracle's path in the engine: a scaler that follows it, and a run of it over the same requests."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kserve_ext.simulate.engine import Workload, simulate_fleet
from kserve_ext.simulate.outcome import Outcome
from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.slots import Serve, serve_reference

_DRAWS = 20_000
_LONG = 0.999  # all but one request in a thousand take no longer
_JUST_S = 1e-9  # the engine drops what has waited so long; what could just be in time is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleScaler:
    """Follows a path of replicas: starts each one so that it is ready when its epoch begins."""

    path: tuple[int, ...]
    epoch_s: int
    start_up_s: float
    interval_s: float = 1.0

    def start(self, replicas: int) -> None:
        """The path is all there is to know. The workload should begin with path[0] replicas."""

    def step(self, state: None, tick: Tick) -> tuple[None, int]:
        """The most that any epoch needs from now until what is started at the next step would be ready."""
        first = min(int(tick.now_s // self.epoch_s), len(self.path) - 1)
        until = math.ceil((tick.now_s + self.start_up_s + self.interval_s) / self.epoch_s)
        return None, max(self.path[first : max(until, first + 1)])


def replay(
    workload: Workload, path: Sequence[int], *, epoch_s: int, seed: int = 0, serve: Serve = serve_reference
) -> Outcome:
    """Run a path in the engine, over the same requests.

    The engine's queue does not know how long a request will take, so it drops those that have waited so long that one
    in a thousand would be late. Where replicas are short this attains less than a `walk`, which drops only the late.
    """
    drawn = workload.service_time.draw_s(np.random.default_rng(0), _DRAWS)
    longest_wait_s = workload.slo_s - workload.service_time.least_s
    patience_s = max(workload.slo_s - float(np.quantile(drawn, _LONG)), longest_wait_s / 2.0, 0.0) + _JUST_S
    impatient = dataclasses.replace(workload, initial_replicas=path[0], timeout_s=patience_s)
    scaler = OracleScaler(path=tuple(path), epoch_s=epoch_s, start_up_s=workload.cold_start.on_node_s)
    return simulate_fleet([impatient], [scaler], seed=seed, serve=serve)[0]
