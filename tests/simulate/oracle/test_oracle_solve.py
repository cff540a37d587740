from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.oracle.cases import cost_s, table, workload

from kserve_ext.errors import InfeasibleError, InputError
from kserve_ext.simulate.oracle import LateTable, late_table, solve
from kserve_ext.simulate.service_time import Constant

rows = st.lists(st.integers(0, 12), min_size=4, max_size=4).map(lambda late: [*sorted(late, reverse=True), 0])
tables = st.lists(rows, min_size=1, max_size=5).map(table)
start_ups = st.sampled_from((0.0, 5.0, 10.0, 12.0, 25.0, 100.0))
shares = st.floats(0, 1)
times = st.lists(st.floats(0, 60, exclude_max=True), max_size=60)


def cheapest_s(given_table: LateTable, allowed: int, start_up_s: float) -> float:
    """By trying every path."""
    late, (epochs, columns) = given_table.late.tolist(), given_table.late.shape
    closed = sum(1 for epoch in range(1, epochs) if 10 * epoch < start_up_s)
    return min(
        cost_s(path, 10, start_up_s)
        for path in itertools.product(range(columns), repeat=epochs)
        if sum(late[epoch][replicas] for epoch, replicas in enumerate(path)) <= allowed
        and all(path[epoch] <= path[epoch - 1] for epoch in range(1, closed + 1))
    )


@given(tables, start_ups, shares)
def test_the_best_of_all_paths_lies_between_the_bound_and_the_oracles_path(
    given_table: LateTable, start_up_s: float, attainment: float
) -> None:
    oracle = solve(given_table, attainment=attainment, start_up_s=start_up_s)
    duration_s = given_table.duration_s
    best_s = cheapest_s(given_table, oracle.late_allowed, start_up_s)
    assert oracle.bound * duration_s <= best_s + 1e-6
    assert best_s <= oracle.billed * duration_s + 1e-6
    assert oracle.billed * duration_s == pytest.approx(cost_s(oracle.path, 10, start_up_s))
    assert oracle.late == sum(given_table.late[epoch, m] for epoch, m in enumerate(oracle.path)) <= oracle.late_allowed
    assert oracle.starts == sum(max(after - before, 0) for before, after in itertools.pairwise(oracle.path))


@given(tables, start_ups)
def test_where_nothing_may_be_late_the_path_is_the_best(given_table: LateTable, start_up_s: float) -> None:
    oracle = solve(given_table, attainment=1.0, start_up_s=start_up_s)
    assert oracle.billed * given_table.duration_s == pytest.approx(cheapest_s(given_table, 0, start_up_s))
    assert oracle.bound == pytest.approx(oracle.billed)


@given(tables, start_ups, shares, shares)
def test_more_in_time_never_costs_less(given_table: LateTable, start_up_s: float, one: float, other: float) -> None:
    low, high = (solve(given_table, attainment=share, start_up_s=start_up_s) for share in sorted((one, other)))
    assert low.bound <= high.bound + 1e-9


@given(tables, start_ups, start_ups, shares)
def test_a_longer_start_up_never_costs_less(given_table: LateTable, one: float, other: float, share: float) -> None:
    low, high = (solve(given_table, attainment=share, start_up_s=start_up_s) for start_up_s in sorted((one, other)))
    assert low.bound <= high.bound + 1e-9


@given(times, st.floats(1.0, 5.0), st.floats(1.0, 5.0), shares)
def test_a_looser_slo_never_costs_more(times_s: list[float], one: float, other: float, share: float) -> None:
    tight, loose = (
        solve(late_table(workload(times_s, 60, slo_s=slo_s), epoch_s=10), attainment=share, start_up_s=12.0)
        for slo_s in sorted((one, other))
    )
    assert loose.bound <= tight.bound + 1e-9


@given(times, times)
def test_more_requests_never_cost_less(times_s: list[float], more_s: list[float]) -> None:
    few, many = (
        solve(late_table(workload(of, 60), epoch_s=10), attainment=1.0, start_up_s=12.0)
        for of in (times_s, times_s + more_s)
    )
    assert few.bound <= many.bound + 1e-9
    assert few.billed <= many.billed + 1e-9


counted_times = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 8)), max_size=60)


@given(counted_times, shares, start_ups, st.floats(0.1, 2.0))
def test_no_path_costs_less_than_the_work(
    places: list[tuple[int, float]], share: float, start_up_s: float, time_s: float
) -> None:
    times_s = [10 * epoch + at_s for epoch, at_s in places]
    late = late_table(workload(times_s, 60, service=Constant(time_s=time_s)), epoch_s=10)
    oracle = solve(late, attainment=share, start_up_s=start_up_s)
    assert oracle.work <= oracle.bound <= oracle.billed + 1e-9


@pytest.mark.parametrize(
    ("start_up_s", "path", "billed_s"), [(15.0, (1, 0, 0, 1), 35.0), (25.0, (1, 1, 1, 1), 40.0)], ids=["start", "keep"]
)
def test_a_replica_is_kept_through_a_pause_shorter_than_its_start_up(
    start_up_s: float, path: tuple[int, ...], billed_s: float
) -> None:
    pause = table([[9, 0], [0, 0], [0, 0], [9, 0]])
    oracle = solve(pause, attainment=1.0, start_up_s=start_up_s)
    assert oracle.path == path
    assert oracle.billed == pytest.approx(billed_s / 40)


def test_the_allowance_goes_to_the_epoch_where_it_saves_most() -> None:
    # Ten late requests save the second replica of the first epoch, or of the second and the third together.
    oracle = solve(table([[99, 10, 0], [99, 5, 0], [99, 5, 0]], requests=1000), attainment=0.99, start_up_s=0.0)
    assert oracle.path == (2, 1, 1)
    assert (oracle.late, oracle.late_allowed) == (10, 10)
    assert oracle.billed == pytest.approx(40 / 30)
    assert oracle.gap == pytest.approx(0.0, abs=1e-12)


def test_of_equal_epochs_as_many_are_given_up_as_the_allowance_takes() -> None:
    # Any price gives up all four quiet epochs or none; the path is made of both.
    oracle = solve(table([[10, 0], [50, 0]] * 4, requests=1000), attainment=0.975, start_up_s=0.0)
    assert oracle.late == 20
    assert sorted(oracle.path[::2]) == [0, 0, 1, 1]
    assert oracle.billed == pytest.approx(60 / 80)
    assert oracle.bound == pytest.approx(55 / 80)
    assert oracle.gap == pytest.approx(60 / 55 - 1)


def test_where_epochs_are_short_against_the_slo_the_work_bound_stands_in() -> None:
    # Half of each epoch is not counted: one replica seems to do for the others, and there is work for two.
    times_s = [0.6 * place for place in range(100)]
    oracle = solve(late_table(workload(times_s, 60, slo_s=5.0), epoch_s=10), attainment=1.0, start_up_s=0.0)
    assert oracle.path == (1,) * 6
    assert oracle.billed == oracle.bound == oracle.work > 1.5


def test_a_quiet_epoch_may_be_given_up_whole() -> None:
    oracle = solve(table([[50, 0], [3, 0], [47, 0]]), attainment=0.97, start_up_s=0.0)
    assert oracle.path == (1, 0, 1)


def test_a_replica_cannot_be_ready_before_its_start_up_has_passed() -> None:
    late = table([[0, 0], [0, 0], [9, 0], [9, 0]])
    assert solve(late, attainment=1.0, start_up_s=19.5).path == (0, 0, 1, 1)
    assert solve(late, attainment=1.0, start_up_s=20.5).path == (1, 1, 1, 1)


def test_without_traffic_the_oracle_pays_nothing() -> None:
    oracle = solve(late_table(workload([], 30), epoch_s=10), attainment=0.99, start_up_s=35.0)
    assert (oracle.path, oracle.bound, oracle.billed, oracle.gap) == ((0, 0, 0), 0.0, 0.0, 0.0)


def test_traffic_shorter_than_the_start_up_is_served_by_what_is_there_at_first() -> None:
    oracle = solve(late_table(workload([0, 12, 12], 20), epoch_s=10), attainment=1.0, start_up_s=300.0)
    assert oracle.path == (1, 1)


def test_too_many_requests_longer_than_the_slo_are_an_answer() -> None:
    late = late_table(workload([0, 1, 2], 10, service=Constant(time_s=3.0)), epoch_s=10)
    with pytest.raises(InfeasibleError, match="3 of 3 requests take longer than the SLO") as raised:
        solve(late, attainment=0.99, start_up_s=0.0)
    assert raised.value.binding == "service time"


@pytest.mark.parametrize(
    ("attainment", "start_up_s", "field"),
    [(1.1, 0.0, "attainment"), (-0.1, 0.0, "attainment"), (float("nan"), 0.0, "attainment"), (0.99, -1.0, "start_up_s"),
     (0.99, float("inf"), "start_up_s")],
)  # fmt: skip
def test_a_nonsense_question_names_its_field(attainment: float, start_up_s: float, field: str) -> None:
    with pytest.raises(InputError, match=field):
        solve(table([[1, 0]]), attainment=attainment, start_up_s=start_up_s)
