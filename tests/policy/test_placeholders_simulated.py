"""Placeholders as planned, in the simulator, where a node takes minutes to come."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import intent, profile, request, stage_profile

from kserve_ext.domain import Scaler
from kserve_ext.policy import plan
from kserve_ext.policy.horizontal import simulated
from kserve_ext.policy.load import rise
from kserve_ext.policy.replica import build_replica
from kserve_ext.policy.simulated import planned_service
from kserve_ext.simulate.arrivals import Rates
from kserve_ext.simulate.engine import ColdStart, Fleet, Workload, simulate_fleet
from kserve_ext.simulate.outcome import Outcome
from kserve_ext.simulate.path import ClusterAutoscaler, Karpenter, NodeAutoscaler, node_ready_s
from kserve_ext.simulate.scalers import Bounds

NODE_S = 150.0  # from order to ready, with a GPU: measured are 2 to 6 minutes
MEASURED = profile(stage_profile(fixed_s=0.4, row_s=0.05), hardware="gpu")
RISE_S = 600


@pytest.mark.parametrize("orders", [ClusterAutoscaler(), Karpenter()], ids=["cluster autoscaler", "karpenter"])
def test_replicas_that_push_a_placeholder_out_are_there_before_the_load(orders: NodeAutoscaler) -> None:
    (node_s,) = node_ready_s(orders, [0.0], node_s=NODE_S, gpu=True)
    without, kept = _served(node_s, kept=False), _served(node_s, kept=True)
    assert without.attainment < 0.99 <= kept.attainment


def _served(node_s: float, *, kept: bool) -> Outcome:
    """A rise from one replica to several; all nodes but the first have to come."""
    wanted = intent(slo_s=5, low_rps=6, high_rps=60, hardware=("gpu",), scaler=Scaler.KEDA_RPS, node_start_s=node_s)
    asked = request(wanted, MEASURED)
    decided = plan(replace(asked, settings=replace(asked.settings, rise_s=RISE_S)))
    assert decided.horizontal is not None
    assert decided.placeholders is not None
    assert decided.placeholders > 1
    rates = rise(wanted.rate, RISE_S)
    workload = Workload(
        name="rise", arrivals=Rates(rates_rps=tuple(rates[30::60].tolist())), service=planned_service(MEASURED, decided),
        slo_s=5, cold_start=ColdStart(node_s=node_s, load_s=6.0), initial_replicas=decided.scaling.min_replicas,
    )  # fmt: skip
    share = decided.capacity_rps / build_replica(MEASURED).saturated_rps(decided.stages)
    bounds = Bounds(min_replicas=decided.scaling.min_replicas, max_replicas=decided.scaling.max_replicas)
    fleet = Fleet(warm=decided.scaling.min_replicas, kept=decided.placeholders if kept else 0)
    (found,) = simulate_fleet([workload], [simulated(decided.horizontal, share, bounds)], fleet=fleet, seed=1)
    return found
