"""The path worked by hand: what queue-proxy and the activator let through, hold back, refuse and give up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from simulate.path.stages import one_by_one, stage

from kserve_ext.errors import InputError
from kserve_ext.simulate.batcher import Stage
from kserve_ext.simulate.kpa import Config
from kserve_ext.simulate.path import Balancing, Ending, Presence, Served, serve_path
from kserve_ext.simulate.path.burst import BurstWatch

OK, FULL, LATE = Ending.ANSWERED, Ending.REFUSED, Ending.TIMED_OUT
TWO = Balancing.TWO_CHOICES


def served(
    times_s: Sequence[float], replicas: Any = 1, limit: int = 1, *, each: Stage | None = None, **how: Any
) -> Served:
    return serve_path(np.array(times_s, np.float64), replicas, limit, stages=[each or one_by_one()], **how)


# ------------------------------------------------------------------------------------------------------------ queue-proxy


@pytest.mark.parametrize(
    ("limit", "sent", "refused"), [(1, 11, 0), (1, 12, 1), (2, 22, 0), (2, 30, 8), (8, 100, 12), (0, 500, 0)]
)
def test_a_burst_is_refused_beyond_the_limit_and_ten_times_as_many(limit: int, sent: int, refused: int) -> None:
    seen = served([0.0] * sent, limit=limit, timeout_s=1000.0)
    assert seen.rejected == refused
    assert seen.endings.tolist() == [OK] * (sent - refused) + [FULL] * refused
    assert seen.ended_s[seen.endings == FULL].tolist() == [0.0] * refused


def test_a_place_is_free_again_at_the_moment_of_an_answer() -> None:
    seen = served([0.0] * 11 + [0.5, 1.0])
    assert seen.endings[-2:].tolist() == [FULL, OK]
    assert seen.ended_s[-1] == 12.0


@pytest.mark.parametrize(("limit", "batches"), [(1, [1, 1, 1, 1]), (2, [1, 1, 1, 1]), (3, [1, 2, 1]), (0, [1, 3])])
def test_the_limit_bounds_what_can_be_in_a_batch(limit: int, batches: list[int]) -> None:
    """One is running, so of a limit of 3 two can be waiting for it at Triton."""
    seen = served([0.0, 0.001, 0.002, 0.003], limit=limit, each=stage())
    assert list(seen.batch_sizes[0][0]) == batches


def test_waiting_requests_go_in_first_come_first_served() -> None:
    seen = served([0.0, 0.1, 0.2, 0.3], limit=2, each=one_by_one(instances=2))
    assert seen.ended_s.tolist() == [1.0, 1.1, 2.0, 2.1]


def test_pods_in_turn_do_not_know_that_one_of_them_is_full() -> None:
    """In Serve mode nobody looks at free places: every other request goes to either pod, full or not."""
    seen = served([0.0] * 22 + [0.1] * 2, replicas=[Presence(), Presence(ready_s=0.05)])
    assert seen.replicas.tolist() == [0] * 22 + [1, 0]
    assert seen.rejected == 12


# -------------------------------------------------------------------------------------------------------------- timeouts


def test_a_request_that_waits_in_the_pod_longer_than_the_timeout_is_given_up_and_frees_its_place() -> None:
    seen = served([0.0, 0.0, 0.0, 2.6], timeout_s=2.5)
    assert seen.endings.tolist() == [OK, OK, LATE, OK]
    assert seen.ended_s.tolist() == [1.0, 2.0, 2.5, 4.0]  # the server goes on with the third until 3.0


def test_a_request_given_up_at_the_server_frees_the_limit_but_not_the_instance() -> None:
    seen = served([0.0, 0.2, 0.3], timeout_s=0.9, limit=1)
    assert seen.endings.tolist() == [LATE, LATE, LATE]
    assert seen.ended_s.tolist() == pytest.approx([0.9, 1.1, 1.2])
    assert list(seen.batch_sizes[0][0]) == [1, 1, 1]  # each was at Triton: the places were free


def test_an_answer_at_the_moment_of_the_timeout_is_an_answer() -> None:
    assert served([0.0], timeout_s=1.0).endings.tolist() == [OK]


def test_a_start_that_takes_longer_than_the_timeout_fails_every_request_that_waits() -> None:
    seen = served([0.0, 1.0, 4.0], replicas=[Presence(ready_s=10.0)], timeout_s=7.0)
    assert seen.endings.tolist() == [LATE, LATE, OK]
    assert seen.replicas.tolist() == [-1, -1, 0]
    assert seen.timed_out == 2


# ------------------------------------------------------------------------------------------------------------- activator


def test_at_zero_pods_the_activator_holds_everything_without_bound_and_lets_in_as_many_as_the_limit() -> None:
    seen = served([0.0] * 50, replicas=[Presence(ready_s=5.0)], limit=2, each=one_by_one(instances=2))
    assert (seen.rejected, seen.timed_out) == (0, 0)
    assert seen.ended_s.tolist() == [6.0 + index // 2 for index in range(50)]


def test_without_a_limit_the_activator_lets_everything_in_when_a_pod_is_there() -> None:
    seen = served([0.0] * 8, replicas=[Presence(ready_s=5.0)], limit=0, each=stage(fixed_s=1.0, row_s=0.0))
    assert seen.ended_s.tolist() == [6.0] + [7.0] * 7


def test_an_activator_never_fills_a_pod_beyond_its_limit() -> None:
    held, direct = (served([0.0] * 40, replicas=2, proxied=into) for into in (True, False))
    assert (held.rejected, direct.rejected) == (0, 18)
    assert held.ended_s.tolist() == [1.0 + index // 2 for index in range(40)]


def test_more_activators_than_pods_over_fill_the_pod_and_its_queue_takes_the_rest() -> None:
    """Each of three takes the only pod with its full limit: one executes, two wait in the pod."""
    seen = served([0.0] * 3 + [0.5], proxied=True, activators=3)
    assert seen.ended_s.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert seen.rejected == 0
    assert served([0.0] * 30, limit=1, proxied=True, activators=20).rejected == 9  # 20 at once on 11 places


def test_two_activators_share_the_pods_out_and_know_nothing_of_each_other() -> None:
    """Requests go to the activators in turn, so one has both long waits while the other's pod is idle."""
    seen = served([0.0, 0.1, 0.2, 0.3, 0.4], replicas=2, proxied=True, activators=2)
    assert seen.replicas.tolist() == [0, 1, 0, 1, 0]


def test_three_pods_on_two_activators_give_the_first_one_more() -> None:
    seen = served([0.0] * 6, replicas=3, limit=4, proxied=True, activators=2, each=one_by_one(instances=4))
    assert seen.replicas.tolist() == [0, 1, 2, 1, 0, 1]


def test_few_places_fill_the_first_pod_and_many_go_round() -> None:
    each = one_by_one(instances=4)
    first, turns = (served([0.0, 0.1, 0.2, 0.3], 2, limit, proxied=True, each=each) for limit in (3, 4))
    assert first.replicas.tolist() == [0, 0, 0, 1]
    assert turns.replicas.tolist() == [0, 1, 0, 1]


def test_requests_at_a_pod_that_left_still_count_against_the_activators_places() -> None:
    """Two pods of four places; one leaves with four in flight. What waits goes in when three are left of all eight,
    though the other pod has had places since 1.0."""
    seen = served(
        [index / 10 for index in range(10)], limit=4, replicas=[Presence(), Presence(leaves_s=0.75)], proxied=True,
        each=one_by_one(instances=4),
    )  # fmt: skip
    assert seen.replicas.tolist() == [0, 1] * 4 + [0] * 2
    assert seen.ended_s.tolist() == pytest.approx([1 + index / 10 for index in range(8)] + [2.4, 2.5])


def test_of_two_choices_the_idle_pod_is_taken_and_between_idle_ones_a_coin_decides() -> None:
    pairs = served([2.0 * index + extra for index in range(40) for extra in (0.0, 0.5)], 2, 9, balancing=TWO)
    alone = served([2.0 * index for index in range(80)], 2, 9, balancing=TWO)
    assert all(sum(pairs.replicas[at : at + 2]) == 1 for at in range(0, 80, 2))
    assert 10 < sum(sum(alone.replicas[at : at + 2]) == 1 for at in range(0, 80, 2)) < 30


def test_the_activator_comes_into_the_path_and_goes_while_requests_keep_coming() -> None:
    seen = served([0.0] * 12 + [20.0] * 12 + [40.0] * 12, switches=((15.0, True), (35.0, False)))
    assert [seen.rejected, *(int(np.count_nonzero(seen.endings[at : at + 12] == FULL)) for at in (0, 12, 24))] == [
        2,
        1,
        0,
        1,
    ]


# --------------------------------------------------------------------------------------------------------- burst capacity


@pytest.mark.parametrize(
    ("total", "burst", "ready", "in_flight", "proxied"),
    [
        (100.0, 211.0, 2, 0, True),
        (100.0, 211.0, 3, 0, False),  # Knative's defaults: three idle pods
        (100.0, 211.0, 3, 89, False),
        (100.0, 211.0, 3, 90, True),
        (4.0, 211.0, 52, 0, True),
        (4.0, 211.0, 53, 0, False),  # a limit of four keeps the activator in the path of 52 pods
        (4.0, 0.0, 1, 500, False),
        (4.0, -1.0, 90, 0, True),
    ],
)
def test_activators_leave_the_path_where_the_ready_pods_have_room_for_the_burst(
    total: float, burst: float, ready: int, in_flight: int, proxied: bool
) -> None:
    watch = BurstWatch(Config(total=total, target_burst_capacity=burst))
    for _ in range(in_flight):
        watch.arrive(0.0)
    assert [watch.look(second, ready) for second in (1, 2)] == [None, proxied]


def test_a_burst_brings_the_activator_into_the_path_until_the_panic_window_has_forgotten_it() -> None:
    """Two pods of ten places, a burst of five: out with a mean of 15 or less in the last 6 s."""
    config = Config(target=7.0, total=10.0, target_burst_capacity=5.0)
    watch = BurstWatch(config)
    seen = {}
    for second in range(1, 21):
        if second == 5:
            for _ in range(60):
                watch.arrive(4.0)  # for two seconds: a mean of 60 x 2 / 6 = 20
        if second == 7:
            for _ in range(60):
                watch.leave(6.0)
        if (proxied := watch.look(second, 2)) is not None:
            seen[second] = proxied
    assert [second for second, proxied in seen.items() if proxied] == [6, 8, 10]


def test_by_burst_capacity_a_burst_is_refused_before_the_next_look_and_held_after_it() -> None:
    config = Config(target=0.7, total=1.0, target_burst_capacity=1.0)
    crowds = [0.0] * 24 + [2.5] * 24
    watched, direct = (served(crowds, 2, each=one_by_one(0.4), burst=burst) for burst in (config, None))
    assert [int(np.count_nonzero(direct.endings[at : at + 24] == FULL)) for at in (0, 24)] == [2, 12]
    assert [int(np.count_nonzero(watched.endings[at : at + 24] == FULL)) for at in (0, 24)] == [2, 0]


# ------------------------------------------------------------------------------------------------------------- life times


def test_a_pod_that_leaves_answers_what_it_holds_and_is_gone_after_its_quiet_period() -> None:
    seen = served([0.0] * 4 + [1.5], replicas=[Presence(), Presence(leaves_s=1.0)])
    assert seen.replicas.tolist() == [0, 1, 0, 1, 0]
    assert seen.ended_s.tolist() == [1.0, 1.0, 2.0, 2.0, 3.0]
    assert seen.gone_s == (np.inf, 31.0)


def test_nothing_comes_of_nothing() -> None:
    seen = served([], replicas=2)
    assert (seen.latencies_s.size, seen.rejected, seen.timed_out) == (0, 0, 0)


def test_without_any_pod_everything_times_out() -> None:
    seen = served([0.0, 1.0], replicas=0)
    assert seen.ended_s.tolist() == [300.0, 301.0]
    assert seen.timed_out == 2


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"times_s": [1.0, 0.5]}, "arrivals_s"),
        ({"times_s": [0.0, np.nan]}, "arrivals_s"),
        ({"replicas": -1}, "replicas"),
        ({"limit": -1}, "limit"),
        ({"activators": 0}, "activators"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"replicas": [Presence(ready_s=2.0, leaves_s=1.0)]}, "replicas[0]"),
    ],
)
def test_numbers_that_make_no_path_are_named(how: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        served(**{"times_s": [0.0], **how})
    assert [problem.field for problem in caught.value.problems] == [field]
