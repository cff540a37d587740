from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate.oracle.cases import Given

from kserve_ext.simulate.arrivals import Counts
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.oracle import OracleScaler
from kserve_ext.simulate.oracle.requests import epochs
from kserve_ext.simulate.service_time import Constant, Lognormal

spans = st.lists(st.integers(1, 20), min_size=1, max_size=8).map(lambda lengths: tuple(np.cumsum(lengths).tolist()))


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=40), spans, st.integers(1, 30))
def test_every_request_is_in_its_own_epoch_however_the_arrivals_are_cut_into_blocks(
    shares: list[float], ends_s: tuple[int, ...], epoch_s: int
) -> None:
    times_s = tuple(sorted(share * ends_s[-1] for share in shares))
    arrivals = Given(times_s=times_s, ends_s=ends_s)
    workload = Workload(
        name="w", arrivals=arrivals, service=Constant(time_s=1.0), slo_s=1.0, cold_start=ColdStart()
    )  # fmt: skip
    seen = list(epochs(workload, 0, epoch_s))
    assert [epoch.start_s for epoch in seen] == list(range(0, ends_s[-1], epoch_s))
    assert [epoch.end_s for epoch in seen] == [*range(epoch_s, ends_s[-1], epoch_s), ends_s[-1]]
    assert np.concatenate([epoch.arrivals_s for epoch in seen]).tolist() == list(times_s)
    for epoch in seen:
        assert ((epoch.arrivals_s >= epoch.start_s) & (epoch.arrivals_s < epoch.end_s)).all()
        assert len(epoch.services_s) == len(epoch.arrivals_s)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_engine_serves_the_very_requests_that_the_oracle_knows(quantile: float) -> None:
    service = Lognormal(loc_s=0.08, scale_s=0.07, shape=0.42)
    workload = Workload(
        name="w", arrivals=Counts(counts=(200,) * 5, step_s=7), service=service, slo_s=1.0, cold_start=ColdStart(),
        initial_replicas=200,
    )  # fmt: skip
    services_s = np.concatenate([epoch.services_s for epoch in epochs(workload, 3, 10)])
    assert len(services_s) == 1000
    slo_s = float(np.quantile(services_s, quantile))  # between two values: only these very ones have so many below it
    same = Workload(
        name="w", arrivals=workload.arrivals, service=service, slo_s=slo_s, cold_start=ColdStart(),
        initial_replicas=200,
    )  # fmt: skip
    outcome = simulate_fleet([same], [OracleScaler(path=(200,), epoch_s=35, start_up_s=0.0)], seed=3)[0]
    assert outcome.attainment == pytest.approx(np.mean(services_s <= slo_s), abs=1e-12)
