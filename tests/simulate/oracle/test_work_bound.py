from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.oracle.cases import workload

from kserve_ext.errors import InfeasibleError
from kserve_ext.simulate.law import ServiceLaw, constant_law, spread
from kserve_ext.simulate.oracle import cheapest_request_s, late_table, work_bound
from kserve_ext.simulate.oracle.work import WorkCount


@given(st.lists(st.floats(1e-3, 100.0), min_size=1, max_size=50), st.integers(-3, 50))
def test_the_least_work_is_that_of_the_shortest_requests_to_half_a_percent_and_never_more(
    services_s: list[float], requests: int
) -> None:
    requests = min(requests, len(services_s))
    count = WorkCount()
    count.add(np.array(services_s[::2]))
    count.add(np.array(services_s[1::2]))
    least_s, exact_s = count.total().least_s(requests), sum(sorted(services_s)[: max(requests, 0)])
    assert 0.995 * exact_s - 1e-9 <= least_s <= exact_s * (1 + 1e-9)


def test_all_work_together_is_exact() -> None:
    count = WorkCount()
    count.add(np.array([0.5, 0.25, 3.0]))
    assert count.total().least_s(3) == pytest.approx(3.75, rel=1e-12)


def test_a_hundred_seconds_of_work_in_a_hundred_seconds_take_one_replica() -> None:
    late = late_table(workload(range(98), 100), epoch_s=50)
    assert work_bound(late, 1.0) == pytest.approx(0.98)
    assert work_bound(late, 0.5) == pytest.approx(0.49, rel=0.005)
    assert work_bound(late, 0.0) == 0.0


def test_requests_due_after_the_end_need_not_be_worked_on_before_it() -> None:
    assert work_bound(late_table(workload([97.0, 98.5, 99.0], 100), epoch_s=50), 1.0) == pytest.approx(0.01)


def test_a_batching_replica_is_at_its_cheapest_with_the_largest_batch_that_is_in_time() -> None:
    law = constant_law([0.010 + 0.002 * batch for batch in range(1, 33)])
    assert cheapest_request_s(law, 1.0) == pytest.approx((0.010 + 0.064) / 32)
    assert cheapest_request_s(law, 0.030) == pytest.approx(0.030 / 10)
    assert cheapest_request_s(law, 0.012) == pytest.approx(0.012)


def test_instances_side_by_side_count_where_they_are_faster_together() -> None:
    alone, together = (0.010,) * 200, (0.015,) * 200
    law = ServiceLaw(batches=(1,), values_s=((alone,), (together,)))
    assert cheapest_request_s(law, 1.0) == pytest.approx(0.0075)
    assert cheapest_request_s(law, 0.012) == pytest.approx(0.010)


def test_time_spent_on_executions_that_come_late_is_paid_too() -> None:
    law = ServiceLaw(batches=(1,), values_s=((spread((0.0, 0.75, 0.7500001, 1.0), (0.1, 0.1, 0.5, 0.5)),),))
    assert cheapest_request_s(law, 0.2) == pytest.approx((0.75 * 0.1 + 0.25 * 0.5) / 0.75, rel=1e-6)


def test_an_slo_below_every_execution_names_the_least_one_that_works() -> None:
    with pytest.raises(InfeasibleError, match=r"0\.005") as raised:
        cheapest_request_s(constant_law([0.010, 0.012]), 0.005)
    assert raised.value.remedy == "an SLO of at least 0.01 s"
