"""Worked by hand: s(b) = 10 ms + 2 ms x b, so 12 ms for one row and 26 ms for eight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kserve_ext.simulate.batcher import Stage, Trace, simulate
from kserve_ext.simulate.law import LEVELS, ServiceLaw

MS = 1e-3


def stage(
    *, delay_ms: float | None = 0.0, max_batch: int = 8, instances: int = 1, fixed_ms: float = 10.0,
    after_idle_extra_ms: float = 0.0,
) -> Stage:  # fmt: skip
    sizes = tuple(range(1, 9))
    times = tuple(((fixed_ms + 2 * batch) * MS,) * LEVELS for batch in sizes)
    return Stage(
        law=ServiceLaw(
            batches=sizes, values_s=(times,) * instances, after_idle_extra_s=(after_idle_extra_ms * MS,) * len(sizes)
        ),
        max_batch_size=max_batch,
        max_queue_delay_s=None if delay_ms is None else delay_ms * MS,
        instances=instances,
    )


def answered(arrivals_ms: Sequence[float], *stages: Stage, limit: int | None = None) -> tuple[list[float], list[int]]:
    """When each request is answered, in milliseconds, and the batches of the first stage."""
    trace = simulate(np.array(arrivals_ms, np.float64) * MS, stages, concurrency_limit=limit)
    return [round(float(done) / MS, 6) for done in trace.done_s], list(trace.batch_sizes[0])


def endless(clients: int, requests: int, *stages: Stage) -> Trace:
    """So many requests in flight at all times: all are there at the start, and a limiter lets them in."""
    return simulate(np.zeros(requests), stages, concurrency_limit=clients)


def test_a_single_request_takes_one_service_time() -> None:
    assert answered([5], stage()) == ([17], [1])


def test_nothing_comes_of_nothing() -> None:
    assert answered([], stage()) == ([], [])


def test_a_request_that_comes_1_ms_after_another_waits_for_it_and_then_runs_alone() -> None:
    assert answered([0, 1], stage()) == ([12, 24], [1, 1])


def test_requests_that_come_while_the_instance_is_busy_are_one_batch() -> None:
    assert answered([0, 1, 5, 11], stage()) == ([12, 28, 28, 28], [1, 3])


def test_a_request_that_comes_at_the_moment_of_an_answer_finds_the_instance_free() -> None:
    assert answered([0, 12], stage()) == ([12, 24], [1, 1])


def test_a_batch_is_never_larger_than_the_maximum_and_the_rest_is_the_next_one() -> None:
    assert answered([0, 1, 2, 3, 4, 5], stage(max_batch=2)) == ([12, 26, 26, 40, 40, 52], [1, 2, 2, 1])


def test_a_request_that_comes_when_two_payloads_are_formed_ahead_still_shares_a_batch_with_the_next_one() -> None:
    # while 0 runs, 1-2 and 3-4 are formed and 5 waits; its payload is begun when 1-2 is taken, and 13 joins it
    assert answered([0, 1, 2, 3, 4, 5, 13], stage(max_batch=2)) == ([12, 26, 26, 40, 40, 54, 54], [1, 2, 2, 2])


def test_a_delay_holds_a_lone_request_back_for_all_of_it() -> None:
    assert answered([0], stage(delay_ms=30)) == ([42], [1])


def test_a_delay_counts_from_the_oldest_request_and_takes_what_has_come_until_then() -> None:
    assert answered([0, 10, 29, 31], stage(delay_ms=30)) == ([46, 46, 46, 73], [3, 1])


def test_a_batch_that_becomes_full_leaves_at_once_whatever_the_delay() -> None:
    assert answered([0, 1, 2], stage(max_batch=3, delay_ms=30)) == ([18, 18, 18], [3])


def test_a_request_held_back_longer_than_its_delay_by_a_busy_instance_leaves_when_the_instance_is_free() -> None:
    assert answered([0, 6, 7], stage(delay_ms=5)) == ([17, 31, 31], [1, 2])


def test_two_instances_serve_two_requests_side_by_side() -> None:
    assert answered([0, 1, 2], stage(instances=2)) == ([12, 13, 24], [1, 1, 1])


def test_an_instance_is_slower_after_idling_in_proportion_and_at_most_by_what_was_measured_after_10_ms() -> None:
    # the first is answered at 12 + 4; after 5 ms of nothing half of the extra is due, after 10 ms and more all of it
    arrivals_ms = [0, 16 + 5, 21 + 14 + 10, 45 + 16 + 1000]
    assert answered(arrivals_ms, stage(after_idle_extra_ms=4)) == ([16, 35, 61, 1077], [1, 1, 1, 1])


def test_an_instance_that_goes_on_without_a_pause_is_not_slower() -> None:
    assert answered([0, 1, 2], stage(after_idle_extra_ms=4)) == ([16, 30, 30], [1, 2])


def test_of_two_idle_instances_the_one_that_has_been_idle_longest_takes_the_request() -> None:
    # at 0 and 2 both start cold; at 20 the one free since 16 is taken, 4 ms cold; at 21 the one free since 18
    done_ms, _ = answered([0, 2, 20, 21], stage(after_idle_extra_ms=4, instances=2))
    assert done_ms == pytest.approx([16, 18, 20 + 12 + 4 * 0.4, 21 + 12 + 4 * 0.3])


def test_without_dynamic_batching_every_request_runs_alone_in_order() -> None:
    assert answered([0, 1, 2], stage(delay_ms=None)) == ([12, 24, 36], [1, 1, 1])


@pytest.mark.parametrize("max_batch", [0, 1])
def test_a_batch_size_of_one_or_none_runs_every_request_alone(max_batch: int) -> None:
    assert answered([0, 1, 2], stage(max_batch=max_batch)) == ([12, 24, 36], [1, 1, 1])


def test_a_limit_of_one_keeps_the_second_request_outside_until_the_first_is_answered() -> None:
    assert answered([0, 1, 2], stage(), limit=1) == ([12, 24, 36], [1, 1, 1])


def test_a_limit_of_three_lets_two_wait_inside_where_they_become_a_batch() -> None:
    assert answered([0, 1, 2, 3], stage(), limit=3) == ([12, 26, 26, 38], [1, 2, 1])


def test_a_second_stage_gets_the_requests_of_a_batch_when_the_batch_is_done() -> None:
    done_ms, batches = answered([0, 1, 2], stage(), stage(fixed_ms=20))
    assert (done_ms, batches) == ([34, 58, 58], [1, 2])


def test_a_stage_without_batching_behind_one_with_it_answers_one_after_the_other() -> None:
    trace = simulate(np.array([0.0, 1 * MS, 2 * MS]), [stage(), stage(delay_ms=None)])
    assert trace.done_s / MS == pytest.approx([24, 38, 50])
    assert trace.batch_sizes == ((1, 2), (1, 1, 1))


def test_five_requests_in_flight_at_a_maximum_of_eight_alternate_between_one_and_four() -> None:
    """What a real server does by default (Triton 2.51, closed loop), and not batches of five."""
    assert set(endless(5, 500, stage()).batch_sizes[0][::2]) == {1}
    assert set(endless(5, 500, stage()).batch_sizes[0][1:-1:2]) == {4}


def test_a_batch_that_was_not_measured_is_an_error() -> None:
    wide = Stage(law=stage().law, max_batch_size=16, max_queue_delay_s=0.0, instances=1)
    with pytest.raises(ValueError, match="batch 11 with 1 busy instances was not measured"):
        simulate(np.arange(12) * MS / 10, [wide])
