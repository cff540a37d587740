"""The oracle's path in the engine: a scaler that follows it, and what it attains when requests cross from epoch to epoch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from kserve_ext.simulate.engine import Workload, simulate_fleet
from kserve_ext.simulate.oracle.solve import Oracle
from kserve_ext.simulate.outcome import Outcome
from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.slots import Serve, serve_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleScaler:
    """Follows a path of replicas: starts each one so that it is ready when its epoch begins, never later."""

    path: tuple[int, ...]
    epoch_s: int
    start_up_s: float
    interval_s: float = 1.0

    def start(self, replicas: int) -> None:
        """The path is all there is to know; `replicas` should be path[0]."""

    def step(self, state: None, tick: Tick) -> tuple[None, int]:
        """As many as any epoch needs from now until what is started at the next step would be ready."""
        first = min(int(tick.now_s // self.epoch_s), len(self.path) - 1)
        until = math.ceil((tick.now_s + self.start_up_s + self.interval_s) / self.epoch_s)
        return None, max(self.path[first : max(until, first + 1)])


def replay(workload: Workload, oracle: Oracle, *, seed: int = 0, serve: Serve = serve_reference) -> Outcome:
    """Run the oracle's path over the same requests. What has waited too long to be in time is dropped, as the oracle does.

    Unlike the oracle's own count, queues carry over from epoch to epoch, and the queue knows nothing of the single
    request: it drops by the least service time there is.
    """
    patient = dataclasses.replace(
        workload, initial_replicas=oracle.path[0],
        timeout_s=max(workload.slo_s - workload.service.least_s, 0.0) + 1e-9,
    )  # fmt: skip
    scaler = OracleScaler(
        path=oracle.path, epoch_s=oracle.epoch_s, start_up_s=workload.cold_start.on_node_s
    )  # fmt: skip
    return simulate_fleet([patient], [scaler], seed=seed, serve=serve)[0]
