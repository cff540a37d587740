from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.serving.batching import Batcher


def filled(rows: list[int], *, most: int = 8, delay_s: float = 0.0) -> Batcher[int]:
    batcher: Batcher[int] = Batcher(max_batch_size=most, max_queue_delay_s=delay_s)
    for place, count in enumerate(rows):
        batcher.add(place, kind="k", rows=count, now_s=float(place))
    return batcher


@pytest.mark.parametrize(
    ("rows", "batches"),
    [
        pytest.param([1], [[0]], id="one leaves at once"),
        pytest.param([1] * 10, [list(range(8)), [8, 9]], id="up to the batch"),
        pytest.param([5, 4, 1], [[0], [1, 2]], id="in order, not fitted together"),
        pytest.param([20, 1], [[0], [1]], id="more rows than a batch leave alone"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_what_waits_leaves_together(rows: list[int], batches: list[list[int]]) -> None:
    batcher = filled(rows)
    taken = []
    while batch := batcher.take(100.0):
        taken.append(batch)
    assert taken == batches
    assert batcher.waiting == 0


def test_requests_of_different_kinds_never_share_a_batch_and_the_oldest_kind_goes_first() -> None:
    batcher: Batcher[str] = Batcher(max_batch_size=8)
    for place, name in enumerate(["b1", "a1", "b2", "a2"]):
        batcher.add(name, kind=name[0], rows=1, now_s=float(place))
    assert [batcher.take(9.0), batcher.take(9.0), batcher.take(9.0)] == [["b1", "b2"], ["a1", "a2"], []]


def test_a_delay_holds_a_batch_that_is_not_full_and_no_other() -> None:
    batcher = filled([1, 1], most=4, delay_s=5.0)
    assert batcher.take(2.0) == []
    assert batcher.ripe_at_s() == 5.0
    batcher.add(2, kind="k", rows=2, now_s=2.0)
    assert batcher.take(2.0) == [0, 1, 2]
    batcher.add(3, kind="k", rows=1, now_s=3.0)
    assert batcher.take(8.0) == [3]
    assert batcher.ripe_at_s() is None


def test_without_a_batch_dimension_every_request_leaves_alone() -> None:
    batcher = filled([3, 3], most=0)
    assert [batcher.take(9.0), batcher.take(9.0)] == [[0], [1]]


def test_a_dropped_request_leaves_no_trace_and_dropping_one_that_left_does_nothing() -> None:
    batcher: Batcher[int] = Batcher(max_batch_size=2)
    tickets = [batcher.add(place, kind="k", rows=1, now_s=0.0) for place in range(4)]
    batcher.drop(tickets[0])
    batcher.drop(tickets[0])
    assert batcher.take(1.0) == [1, 2]
    batcher.drop(tickets[1])
    assert batcher.waiting == 1
    assert batcher.take(1.0) == [3]


actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2), st.integers(1, 5)),
        st.tuples(st.just("drop"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(actions, st.integers(0, 6), st.sampled_from([0.0, 3.0]))
def test_every_request_leaves_once_or_was_dropped(steps: list[tuple[str, int, int]], most: int, delay_s: float) -> None:
    batcher: Batcher[int] = Batcher(max_batch_size=most, max_queue_delay_s=delay_s)
    tickets, left, dropped = [], Counter[int](), set()
    for now, (action, number, rows) in enumerate(steps):
        if action == "add":
            tickets.append(batcher.add(len(tickets), kind=number, rows=rows, now_s=float(now)))
        elif action == "drop" and number < len(tickets):
            batcher.drop(tickets[number])
            if number not in left:
                dropped.add(number)
        elif action == "take":
            left.update(_checked(batcher.take(float(now)), tickets, most))
    while batch := batcher.take(1e9):
        left.update(_checked(batch, tickets, most))
    assert set(left) == set(range(len(tickets))) - dropped
    assert all(count == 1 for count in left.values())
    assert batcher.waiting == 0
    assert batcher.ripe_at_s() is None


def _checked(batch: list[int], tickets: list, most: int) -> list[int]:  # type: ignore[type-arg]
    rows = sum(tickets[place].rows for place in batch)
    assert len({tickets[place].kind for place in batch}) <= 1
    assert len(batch) <= 1 or rows <= most
    assert batch == sorted(batch)
    return batch
