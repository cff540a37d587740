from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.oracle.cases import Listed, table, workload

from kserve_ext.errors import InputError, MissingExtraError
from kserve_ext.simulate.oracle import count_compiled, count_reference, late_table
from kserve_ext.simulate.service_time import Constant, Lognormal

times = st.lists(st.floats(0, 30, exclude_max=True), max_size=40)
few_times = st.lists(st.floats(0, 5.9), max_size=7)


def test_a_burst_is_late_beyond_what_each_replica_finishes_within_the_slo() -> None:
    # Five at once, a second each, within two seconds: one replica answers two of them, two answer four.
    assert late_table(workload([0, 0, 0, 0, 0], 10), epoch_s=10).late.tolist() == [[5, 3, 1, 0]]


def test_a_request_that_cannot_finish_in_time_takes_no_replicas_time() -> None:
    # The third is dropped when its turn comes, so the one at 2.0 is begun at once.
    assert late_table(workload([0, 0, 0, 2.0, 2.0], 10), epoch_s=10).late.tolist() == [[5, 1, 0]]


def test_arrivals_in_the_last_slo_of_an_epoch_are_not_counted() -> None:
    assert late_table(workload([7.9, 8.1, 9.9, 17.9, 18.1], 20), epoch_s=10).late.tolist() == [[1, 0], [1, 0]]


def test_every_epoch_starts_with_an_empty_queue() -> None:
    assert late_table(workload([9.9] * 50 + [10.0], 20), epoch_s=10).late.tolist() == [[0, 0], [1, 0]]


def test_the_last_epoch_may_be_shorter() -> None:
    short = late_table(workload([0.0, 10.5, 11.5, 12.0], 13), epoch_s=10)
    assert short.lengths_s.tolist() == [10.0, 3.0]
    assert short.late.tolist() == [[1, 0], [1, 0]]
    assert short.duration_s == 13.0


def test_without_traffic_nothing_is_late_with_no_replica() -> None:
    silent = late_table(workload([], 30), epoch_s=10)
    assert silent.late.tolist() == [[0], [0], [0]]
    assert (silent.requests, silent.hopeless) == (0, 0)


def test_requests_that_take_longer_than_the_slo_are_late_with_any_number_of_replicas() -> None:
    slow = late_table(workload([0, 1, 2], 10, service=Constant(time_s=3.0)), epoch_s=10)
    assert slow.late.tolist() == [[3]]
    assert slow.hopeless == 3


@given(few_times, st.floats(0.2, 2.0))
def test_for_equal_service_times_no_choice_of_requests_to_drop_does_better(times_s: list[float], time_s: float) -> None:
    case = workload(times_s, 8, service=Constant(time_s=time_s))
    for replicas, late in enumerate(late_table(case, epoch_s=8).late[0].tolist()):
        assert late == fewest_late(sorted(times_s), time_s, replicas)


def fewest_late(times_s: list[float], time_s: float, replicas: int) -> int:
    """By trying every set of requests, the largest first."""
    for size in range(len(times_s), 0, -1):
        if any(all_in_time(chosen, time_s, replicas) for chosen in itertools.combinations(times_s, size)):
            return len(times_s) - size
    return len(times_s)


def all_in_time(times_s: tuple[float, ...], time_s: float, replicas: int) -> bool:
    free = [0.0] * replicas
    for arrival in times_s:
        if not free:
            return False
        free.sort()
        free[0] = max(free[0], arrival) + time_s
        if free[0] - arrival > 2.0:
            return False
    return True


@given(times, st.integers(0, 99))
def test_one_replica_more_is_never_worse_and_the_last_column_is_as_good_as_it_gets(
    times_s: list[float], seed: int
) -> None:
    service = Lognormal(loc_s=0.1, scale_s=0.6, shape=0.9)
    late = late_table(workload(times_s, 30, service=service), seed=seed, epoch_s=10)
    assert (np.diff(late.late) <= 0).all()
    rich = late_table(workload(times_s, 30, service=service, slo_s=2.0), seed=seed, epoch_s=10, pooled=True)
    assert (rich.late[:, -1] <= late.late[:, -1]).all()


@given(times)
def test_one_fast_replica_is_never_later_than_as_many_slow_ones(times_s: list[float]) -> None:
    case = workload(times_s, 30)
    apart, pooled = late_table(case, epoch_s=10).late, late_table(case, epoch_s=10, pooled=True).late
    for column in range(apart.shape[1]):
        assert (pooled[:, min(column, pooled.shape[1] - 1)] <= apart[:, column]).all()


def test_a_replica_idles_where_one_more_would_be_worse() -> None:
    # The second replica takes two long requests that one replica drops, and then four short ones come too late.
    service = Listed(times_s=(1.0, 0.3, 1.9, 1.4, 0.3, 0.4, 1.0))
    case = workload([0.0, 0.1, 0.3, 0.4, 0.4, 0.5, 1.0], 10, service=service, slo_s=2.001)
    arrivals_s, services_s = case.arrivals.times_s, list(service.times_s)
    apart = [count_reference(arrivals_s, services_s, 7, [0.0] * replicas, replicas, 2.001) for replicas in (1, 2)]
    assert apart == [2, 3]
    assert late_table(case, epoch_s=10).late[0, :3].tolist() == [7, 2, 2]


def test_requests_without_hope_stay_late_in_epochs_that_need_fewer_replicas() -> None:
    service = Listed(times_s=(3.0, 1.0, 1.0, 1.0))
    late = late_table(workload([0.0, 10.0, 10.0, 10.0], 20, service=service), epoch_s=10)
    assert late.late.tolist() == [[1, 1, 1], [3, 1, 0]]
    assert late.hopeless == 1


def test_pooled_replicas_share_every_request() -> None:
    # A second of work each: within one second two replicas finish two, be it one by one or side by side.
    case = workload([0, 0, 0, 0], 10, slo_s=1.0)
    assert late_table(case, epoch_s=10).late.tolist() == [[4, 3, 2, 1, 0]]
    assert late_table(case, epoch_s=10, pooled=True).late.tolist() == [[4, 3, 2, 1, 0]]
    # Within one and a half, two together finish three.
    case = workload([0, 0, 0], 10, slo_s=1.5)
    assert late_table(case, epoch_s=10).late.tolist() == [[3, 2, 1, 0]]
    assert late_table(case, epoch_s=10, pooled=True).late.tolist() == [[3, 2, 0]]


@given(times, st.booleans(), st.integers(0, 99))
def test_the_compiled_count_is_the_plain_one(times_s: list[float], pooled: bool, seed: int) -> None:
    pytest.importorskip("numba")
    case = workload(times_s, 30, service=Lognormal(loc_s=0.1, scale_s=0.8, shape=0.9))
    plain = late_table(case, seed=seed, epoch_s=10, pooled=pooled)
    fast = late_table(case, seed=seed, epoch_s=10, pooled=pooled, count=count_compiled())
    assert fast.late.tolist() == plain.late.tolist()


def test_without_numba_the_compiled_count_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(MissingExtraError, match="numba") as raised:
        count_compiled.__wrapped__()
    assert "kserve-ext[fast]" in raised.value.remedy


@pytest.mark.parametrize(
    ("requests", "attainment", "allowed"),
    [(100, 0.99, 1), (1000, 0.999, 1), (10_000, 0.9999, 1), (199, 0.99, 1), (99, 0.99, 0), (7, 1.0, 0), (7, 0.0, 7)],
)
def test_so_many_may_be_late(requests: int, attainment: float, allowed: int) -> None:
    assert table([[0]], requests=requests).late_allowed(attainment) == allowed


def test_an_epoch_no_longer_than_the_slo_counts_nothing_and_is_refused() -> None:
    with pytest.raises(InputError, match="epoch_s"):
        late_table(workload([0.0], 10), epoch_s=2)
