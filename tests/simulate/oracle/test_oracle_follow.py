from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.oracle.cases import cost_s, workload

from kserve_ext.simulate.engine import simulate_fleet
from kserve_ext.simulate.oracle import OracleScaler, late_table, replay, solve
from kserve_ext.simulate.scaler import Tick

paths = st.lists(st.integers(0, 5), min_size=1, max_size=8)


def wanted(scaler: OracleScaler, now_s: float) -> int:
    tick = Tick(now_s=now_s, ready=0, starting=0, seconds=(), slots_per_replica=1.0)
    return scaler.step(None, tick)[1]


@pytest.mark.parametrize(
    ("now_s", "replicas"), [(1, 1), (24, 1), (25, 4), (59, 4), (60, 4), (119, 4), (120, 2), (200, 2)]
)
def test_a_replica_is_started_just_early_enough(now_s: int, replicas: int) -> None:
    assert wanted(OracleScaler(path=(1, 4, 2), epoch_s=60, start_up_s=35.0), now_s) == replicas


@pytest.mark.parametrize(("now_s", "replicas"), [(23, 1), (24, 4)])
def test_a_start_up_of_broken_seconds_is_begun_at_the_second_before(now_s: int, replicas: int) -> None:
    assert wanted(OracleScaler(path=(1, 4), epoch_s=60, start_up_s=35.5), now_s) == replicas


@given(paths, st.sampled_from((0, 7, 35, 60, 90, 150)))
def test_every_epoch_has_its_replicas_from_its_first_second_and_none_is_paid_twice(
    path: list[int], start_up_s: int
) -> None:
    early = -(-start_up_s // 60)
    path = [max(path[: early + 1])] * len(path[: early + 1]) + path[early + 1 :]
    outcome = replay(workload([], 60 * len(path), start_up_s=start_up_s), path, epoch_s=60)
    held = [minute.replicas for minute in outcome.minutes]
    assert all(have >= want - 1e-9 for have, want in zip(held, path, strict=True))
    assert outcome.billed <= cost_s(path, 60, start_up_s) / (60 * len(path)) + 1e-9


def test_the_engine_bills_what_the_oracle_was_billed() -> None:
    rng = np.random.default_rng(7)
    times_s = np.concatenate([rng.uniform(60 * k, 60 * k + 55, n) for k, n in enumerate((40, 150, 10, 0, 0, 120, 60))])
    case = workload(times_s.tolist(), 420, start_up_s=35.0)
    oracle = solve(late_table(case), attainment=1.0, start_up_s=35.0)
    outcome = replay(case, oracle.path, epoch_s=60)
    assert outcome.starts == oracle.starts > 0
    assert outcome.billed == pytest.approx(oracle.billed, rel=1e-9)
    assert outcome.attainment == 1.0


def test_what_has_waited_too_long_is_dropped_in_the_engine() -> None:
    # Five at once: the first two end at 1 s and 2 s; the others would begin after the one second that they can wait.
    outcome = replay(workload([0.0] * 5, 60), [1], epoch_s=60)
    assert (outcome.dropped, outcome.attainment) == (3, pytest.approx(2 / 5))


def test_the_scaler_runs_beside_others_in_one_fleet() -> None:
    case = workload([1.0, 61.0], 120)
    scalers = [OracleScaler(path=path, epoch_s=60, start_up_s=0.0) for path in ((1, 1), (1, 3))]
    one, other = simulate_fleet([case, case], scalers)
    assert (one.billed, other.billed) == (pytest.approx(1.0), pytest.approx(2.0))
