from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.oracle.cases import workload

from kserve_ext.simulate.oracle import achieve, count_compiled, late_table, replay, solve, walk
from kserve_ext.simulate.service_time import Lognormal

times = st.lists(st.floats(0, 60, exclude_max=True), max_size=60)
shares = st.floats(0.3, 1)
start_ups = st.sampled_from((0.0, 5.0, 12.0, 25.0, 100.0))


def test_a_queue_crosses_into_the_next_epoch() -> None:
    # Three at 9.5 on one replica: begun at 9.5 and 10.5, the third would end at 12.5 and is late.
    # So is the one at 10.0: the replica is free at 11.5, too late to end by 12.0.
    walked = walk(workload([9.5, 9.5, 9.5, 10.0, 13.0], 20), (1, 1), epoch_s=10)
    assert walked.late.tolist() == [1, 1]
    assert walked.attainment == pytest.approx(3 / 5)
    assert walked.billed == pytest.approx(1.0)


def test_a_replica_that_is_taken_away_finishes_first_and_is_paid_until_then() -> None:
    walked = walk(workload([9.5, 9.6], 20), (2, 1), epoch_s=10)
    assert walked.late.tolist() == [0, 0]
    assert walked.billed == pytest.approx((20 + 10 + 0.5) / 20)


def test_the_replica_that_is_free_first_goes_first() -> None:
    # Free at 10.1, 10.3 and 10.2, in the order of the heap: the ones that finish at 10.1 and 10.2 go.
    walked = walk(workload([8.0, 9.1, 9.2, 9.3], 20), (3, 1), epoch_s=10)
    assert walked.billed == pytest.approx((30 + 10 + 0.1 + 0.2) / 20)


def test_start_up_is_paid_for_each_replica_that_is_added() -> None:
    assert walk(workload([], 30, start_up_s=7.0), (1, 3, 0), epoch_s=10).billed == pytest.approx((10 + 30 + 14) / 30)


def test_without_replicas_everything_is_late() -> None:
    walked = walk(workload([1.0, 2.0, 15.0], 20), (0, 1), epoch_s=10)
    assert walked.late.tolist() == [2, 0]


@given(times, st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_a_walk_is_never_better_than_the_table_says(times_s: list[float], path: list[int]) -> None:
    case = workload(times_s, 60)
    late = late_table(case, epoch_s=10).late
    said = [int(row[min(replicas, len(row) - 1)]) for row, replicas in zip(late, path, strict=True)]
    assert (walk(case, path, epoch_s=10).late >= said).all()


@given(times, shares, start_ups)
def test_what_is_achieved_attains_what_was_asked_and_costs_no_less_than_the_bound(
    times_s: list[float], share: float, start_up_s: float
) -> None:
    case = workload(times_s, 60, start_up_s=start_up_s)
    late = late_table(case, epoch_s=10)
    oracle = solve(late, attainment=share, start_up_s=start_up_s)
    achieved = achieve(case, late, oracle)
    assert achieved.late.sum() <= oracle.late_allowed
    assert achieved.attainment >= share - 1e-9
    assert oracle.bound <= achieved.billed + 1e-9
    early = achieved.path[: max(1, math.ceil(start_up_s / 10))]
    assert list(early) == sorted(early, reverse=True)  # nothing is ready before a start-up has passed


@given(times, start_ups, st.integers(0, 9))
def test_a_path_on_which_nothing_waits_too_long_does_the_same_in_the_engine(
    times_s: list[float], start_up_s: float, seed: int
) -> None:
    service = Lognormal(loc_s=0.1, scale_s=0.2, shape=0.3)
    case = workload(times_s, 60, service=service, slo_s=5.0, start_up_s=start_up_s)
    late = late_table(case, epoch_s=10, seed=seed)
    path = np.array(solve(late, attainment=1.0, start_up_s=start_up_s).path) + 2
    walked = walk(case, path.tolist(), epoch_s=10, seed=seed)
    outcome = replay(case, path.tolist(), epoch_s=10, seed=seed)
    assert outcome.attainment == walked.attainment == 1.0
    assert outcome.billed == pytest.approx(walked.billed, abs=0.15)  # drain


def test_the_compiled_walk_is_the_plain_one() -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(5)
    case = workload(rng.uniform(0, 100, 400).tolist(), 100, service=Lognormal(loc_s=0.1, scale_s=0.5, shape=0.6))
    path = rng.integers(0, 6, 10).tolist()
    plain, fast = (walk(case, path, epoch_s=10, **count) for count in ({}, {"count": count_compiled()}))
    assert plain.late.tolist() == fast.late.tolist()
    assert plain.billed == fast.billed
