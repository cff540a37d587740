"""Several models in one server: apart they are what each is alone, together they slow each other down as measured."""

from __future__ import annotations

import numpy as np
import pytest

from kserve_ext.simulate.batcher import Seconds, Stage, simulate
from kserve_ext.simulate.law import LEVELS, ServiceLaw
from kserve_ext.simulate.several import Model, simulate_several

ALONE_S, CROWDED_S = 0.010, 0.015


def law(*by_busy_s: float) -> ServiceLaw:
    """Batches of 1 and 4 that take equally long, by busy instances."""
    return ServiceLaw(batches=(1, 4), values_s=tuple(((time_s,) * LEVELS,) * 2 for time_s in by_busy_s))


def stage(of: ServiceLaw) -> Stage:
    return Stage(law=of, max_batch_size=4, max_queue_delay_s=0.0, instances=1)


def poisson(seed: int, rate_rps: float = 80.0, count: int = 400) -> Seconds:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate_rps, count))


def latencies(*models: Model, limit: int | None = None) -> list[Seconds]:
    return [trace.done_s - trace.arrivals_s for trace in simulate_several(models, concurrency_limit=limit)]


def test_one_model_is_what_the_batcher_says() -> None:
    arrivals_s = poisson(1)
    alone = simulate(arrivals_s, [stage(law(ALONE_S))], concurrency_limit=3)
    (trace,) = simulate_several([Model(arrivals_s=arrivals_s, stages=[stage(law(ALONE_S))])], concurrency_limit=3)
    assert trace.done_s.tolist() == alone.done_s.tolist()
    assert trace.batch_sizes == alone.batch_sizes


def test_models_that_do_not_slow_each_other_are_as_if_alone() -> None:
    flat = law(ALONE_S, ALONE_S)
    several = [Model(arrivals_s=poisson(seed), stages=[stage(flat)]) for seed in (1, 2)]
    for model, seen in zip(several, latencies(*several), strict=True):
        expected = simulate(model.arrivals_s, model.stages)
        assert seen.tolist() == (expected.done_s - model.arrivals_s).tolist()


def test_an_execution_takes_longer_while_another_models_instance_is_busy() -> None:
    slowing = stage(law(ALONE_S, CROWDED_S))
    first = Model(arrivals_s=np.array([0.0, 1.0]), stages=[slowing])
    second = Model(arrivals_s=np.array([0.005, 2.0]), stages=[slowing])
    one, other = latencies(first, second)
    assert one == pytest.approx([ALONE_S, ALONE_S])  # both began with nobody beside them
    assert other == pytest.approx([CROWDED_S, ALONE_S])


def test_one_limit_holds_back_the_requests_of_all_models_in_order() -> None:
    flat = stage(law(ALONE_S, ALONE_S))
    first = Model(arrivals_s=np.array([0.0, 0.002]), stages=[flat])
    second = Model(arrivals_s=np.array([0.001]), stages=[flat])
    one, other = latencies(first, second, limit=1)
    assert other == pytest.approx([2 * ALONE_S - 0.001])
    assert one == pytest.approx([ALONE_S, 3 * ALONE_S - 0.002])


def test_the_same_arguments_give_the_same_answers() -> None:
    models = [Model(arrivals_s=poisson(seed), stages=[stage(law(ALONE_S, CROWDED_S))]) for seed in (3, 4)]
    assert [each.tolist() for each in latencies(*models)] == [each.tolist() for each in latencies(*models)]
