from __future__ import annotations

from heapq import heapreplace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.batcher import Seconds, Stage, Trace, simulate
from kserve_ext.simulate.law import LEVELS, ServiceLaw


@st.composite
def service_stages(draw: st.DrawFn) -> Stage:
    """Any stage, its times spread or not, slower or not with more busy instances."""
    most, instances = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    fixed_s, row_s, width = draw(st.floats(1e-4, 0.05)), draw(st.floats(0, 0.02)), draw(st.sampled_from((0.0, 0.5)))
    shape = 1 + width * (np.arange(LEVELS) / LEVELS - 0.5)
    values_s = tuple(
        tuple(tuple((shape * (fixed_s + row_s * batch) * (1 + 0.2 * busy)).tolist()) for batch in range(1, most + 1))
        for busy in range(instances)
    )
    return Stage(
        law=ServiceLaw(batches=tuple(range(1, most + 1)), values_s=values_s),
        max_batch_size=draw(st.integers(1, most)),
        max_queue_delay_s=draw(st.sampled_from((None, 0.0, 1e-4, 0.01, 0.1))),
        instances=instances,
    )


arrival_times = st.lists(st.floats(0, 2.0), max_size=60).map(lambda times: np.array(sorted(times)))
limits = st.one_of(st.none(), st.integers(1, 40))


def shortest_s(stage: Stage) -> float:
    return stage.law.values_s[0][0][0]


@given(arrival_times, st.lists(service_stages(), min_size=1, max_size=3), limits, st.integers(0, 99))
def test_every_request_is_answered_once_after_no_less_than_the_shortest_service_times(
    arrivals_s: Seconds, stages: list[Stage], limit: int | None, seed: int
) -> None:
    trace = simulate(arrivals_s, stages, concurrency_limit=limit, seed=seed)
    least_s = sum(map(shortest_s, stages))
    assert (trace.done_s >= arrivals_s + least_s * (1 - 1e-9)).all()
    assert [sum(sizes) for sizes in trace.batch_sizes] == [len(arrivals_s)] * len(stages)


@given(arrival_times, st.lists(service_stages(), min_size=1, max_size=3), limits)
def test_no_batch_is_empty_above_the_maximum_above_the_limit_or_above_one_without_batching(
    arrivals_s: Seconds, stages: list[Stage], limit: int | None
) -> None:
    trace = simulate(arrivals_s, stages, concurrency_limit=limit)
    for stage, sizes in zip(stages, trace.batch_sizes, strict=True):
        most = 1 if stage.max_queue_delay_s is None else stage.max_batch_size
        assert all(1 <= size <= min(most, limit or most) for size in sizes)


@given(arrival_times, service_stages(), limits, st.integers(0, 99))
def test_the_same_arguments_give_the_same_trace(
    arrivals_s: Seconds, stage: Stage, limit: int | None, seed: int
) -> None:
    def run() -> Trace:
        return simulate(arrivals_s.copy(), [stage, stage], concurrency_limit=limit, seed=seed)

    one, other = run(), run()
    assert one.done_s.tolist() == other.done_s.tolist()
    assert one.batch_sizes == other.batch_sizes


@given(arrival_times, st.lists(service_stages(), min_size=1, max_size=3), limits)
def test_one_instance_per_stage_answers_first_come_first_served(
    arrivals_s: Seconds, stages: list[Stage], limit: int | None
) -> None:
    alone = [
        Stage(
            law=stage.law, max_batch_size=stage.max_batch_size, max_queue_delay_s=stage.max_queue_delay_s, instances=1
        )
        for stage in stages
    ]
    assert (np.diff(simulate(arrivals_s, alone, concurrency_limit=limit).done_s) >= 0).all()


@given(arrival_times, service_stages())
def test_a_request_never_overtakes_into_an_earlier_batch(arrivals_s: Seconds, stage: Stage) -> None:
    """With equal times for every batch the order of the answers is the order of the starts, on any instances."""
    equal = ServiceLaw(batches=stage.law.batches, values_s=(((0.01,) * LEVELS,) * len(stage.law.batches),) * 3)
    trace = simulate(
        arrivals_s,
        [Stage(law=equal, max_batch_size=stage.max_batch_size, max_queue_delay_s=stage.max_queue_delay_s, instances=3)],
    )
    assert (np.diff(trace.done_s) >= 0).all()


def servers_in_turn(arrivals_s: Seconds, service_s: float, servers: int) -> list[float]:
    """M/D/c by the recursion of Kiefer and Wolfowitz: the next request goes to the server that is free first."""
    free_s, done_s = [0.0] * servers, []
    for arrival_s in arrivals_s.tolist():
        done_s.append(max(arrival_s, free_s[0]) + service_s)
        heapreplace(free_s, done_s[-1])
    return done_s


def constant_stage(service_s: float, *, instances: int) -> Stage:
    law = ServiceLaw(batches=(1,), values_s=((((service_s,) * LEVELS),),) * instances)
    return Stage(law=law, max_batch_size=1, max_queue_delay_s=None, instances=instances)


@given(arrival_times, st.floats(1e-3, 0.5), st.integers(1, 4))
def test_without_batching_the_stage_is_so_many_servers_in_a_row_of_first_come_first_served(
    arrivals_s: Seconds, service_s: float, instances: int
) -> None:
    trace = simulate(arrivals_s, [constant_stage(service_s, instances=instances)])
    assert trace.done_s == pytest.approx(servers_in_turn(arrivals_s, service_s, instances))


@given(arrival_times, st.floats(1e-3, 0.5), st.integers(1, 4))
def test_a_limiter_before_many_instances_lets_in_exactly_as_many_requests_as_its_limit(
    arrivals_s: Seconds, service_s: float, limit: int
) -> None:
    """More would be answered sooner, fewer later: the limiter makes C servers out of eight."""
    trace = simulate(arrivals_s, [constant_stage(service_s, instances=8)], concurrency_limit=limit)
    assert trace.done_s == pytest.approx(servers_in_turn(arrivals_s, service_s, limit))


@given(arrival_times, st.lists(service_stages(), min_size=1, max_size=2))
def test_a_limit_that_is_never_reached_changes_nothing(arrivals_s: Seconds, stages: list[Stage]) -> None:
    free, limited = simulate(arrivals_s, stages), simulate(arrivals_s, stages, concurrency_limit=len(arrivals_s) + 1)
    assert free.done_s.tolist() == limited.done_s.tolist()
