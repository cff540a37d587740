"""Places in a fleet: nodes that have to come, and what placeholders keep until they do."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from kserve_ext.simulate.arrivals import Rates
from kserve_ext.simulate.engine import ColdStart, Fleet, Workload, simulate_fleet
from kserve_ext.simulate.scaler import Tick
from kserve_ext.simulate.service_time import Constant

NODE_S, LOAD_S, DURATION_S = 60, 5, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """So many replicas from each moment on."""

    wanted: tuple[tuple[float, int], ...]
    interval_s: float = 10.0

    def start(self, replicas: int) -> None:
        del replicas

    def step(self, state: None, tick: Tick) -> tuple[None, int]:
        del state
        return None, [count for at_s, count in self.wanted if at_s <= tick.now_s][-1]


def replica_seconds(kept: int, *wanted: tuple[float, int]) -> float:
    """Of ready replicas, with one place that is there from the beginning."""
    workload = Workload(
        name="w", arrivals=Rates(rates_rps=(1.0,), step_s=DURATION_S), service=Constant(time_s=0.1), slo_s=1.0,
        cold_start=ColdStart(node_s=NODE_S, load_s=LOAD_S),
    )  # fmt: skip
    fleet = Fleet(warm=1, kept=kept)
    (found,) = simulate_fleet([workload], [Steps(wanted=((0.0, 1), *wanted))], fleet=fleet)
    return found.active * DURATION_S


def test_a_replica_that_takes_a_kept_place_is_there_a_node_earlier() -> None:
    seconds = [replica_seconds(kept, (100.0, 3)) for kept in range(4)]
    assert seconds[0] == pytest.approx(DURATION_S + 2 * (DURATION_S - 100 - LOAD_S - NODE_S))
    assert [after - before for before, after in itertools.pairwise(seconds)] == pytest.approx([NODE_S, NODE_S, 0])


@pytest.mark.parametrize(("later_s", "gained_s"), [(30.0, 0.0), (NODE_S, NODE_S)], ids=["too early", "in time"])
def test_a_place_is_kept_again_once_its_own_node_has_come(later_s: float, gained_s: float) -> None:
    """One placeholder, two replicas one after the other."""
    twice = replica_seconds(1, (100.0, 2), (100.0 + later_s, 3))
    without = replica_seconds(0, (100.0, 2), (100.0 + later_s, 3))
    assert twice - without == pytest.approx(NODE_S + gained_s)
