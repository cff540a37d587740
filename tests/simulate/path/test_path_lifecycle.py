"""When a pod is found, when it is gone, and when a node comes for it: tables from Knative's and the autoscalers' numbers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_ext.simulate.path import ClusterAutoscaler, Karpenter, NodeAutoscaler, gone_s, node_ready_s, noticed_s


@pytest.mark.parametrize(
    ("answers_s", "probe_s", "found_s"), [(0.0, 0.2, 0.0), (3.1, 0.2, 3.2), (4.0, 0.25, 4.0), (3.1, 10.0, 10.0)]
)
def test_a_pod_is_found_at_the_next_probe(answers_s: float, probe_s: float, found_s: float) -> None:
    assert noticed_s(answers_s, probe_s=probe_s) == pytest.approx(found_s)


def test_probes_count_from_the_first_one() -> None:
    assert noticed_s(3.1, since_s=0.05) == pytest.approx(3.25)
    assert noticed_s(0.5, since_s=1.0) == 1.0


@pytest.mark.parametrize(
    ("last_answer_s", "timeout_s", "seen_s"),
    [
        (90.0, 300.0, 130.0),  # idle for long: the quiet period
        (101.0, 300.0, 130.0),
        (250.0, 300.0, 250.0),  # a long request is waited for
        (999.0, 300.0, 400.0),  # until the grace period is over
        (90.0, 10.0, 110.0),  # a short timeout cuts the drain
    ],
)
def test_a_pod_that_leaves_at_100_is_gone(last_answer_s: float, timeout_s: float, seen_s: float) -> None:
    assert gone_s(100.0, last_answer_s=last_answer_s, timeout_s=timeout_s) == seen_s


@pytest.mark.parametrize(
    ("pending_s", "gpu", "ordered_s"),
    [
        ([0.0], False, [10.0]),  # 2 s old at the scan of 10
        ([8.0], False, [10.0]),
        ([8.1], False, [20.0]),
        ([0.0], True, [30.0]),  # half a minute with a GPU
        ([1.0], True, [40.0]),
        ([0.0, 5.0, 25.0], False, [10.0, 10.0, 30.0]),
    ],
)
def test_cluster_autoscaler_orders_at_the_first_scan_that_finds_the_pod_old_enough(
    pending_s: list[float], gpu: bool, ordered_s: list[float]
) -> None:
    assert ClusterAutoscaler().ordered_s(pending_s, gpu=gpu) == pytest.approx(tuple(ordered_s))


@pytest.mark.parametrize(
    ("pending_s", "ordered_s"),
    [
        ([0.0], [1.0]),
        ([0.0, 0.5, 1.2], [2.2, 2.2, 2.2]),
        ([0.0, 5.0], [1.0, 6.0]),
        ([0.9 * i for i in range(12)], [10.0] * 12),  # never a quiet second: ten at most
        ([0.9 * i for i in range(13)], [10.0] * 12 + [11.8]),
        ([], []),
    ],
)
def test_karpenter_orders_for_all_that_came_without_a_quiet_second(
    pending_s: list[float], ordered_s: list[float]
) -> None:
    assert Karpenter().ordered_s(pending_s, gpu=True) == pytest.approx(tuple(ordered_s))


def test_a_node_is_ready_its_kinds_time_after_the_order() -> None:
    assert node_ready_s(ClusterAutoscaler(), [0.0, 2.0], node_s=240.0, gpu=True) == (270.0, 280.0)


@given(
    st.sampled_from([ClusterAutoscaler(), ClusterAutoscaler(offset_s=3.7), Karpenter()]),
    st.lists(st.floats(0, 1000), max_size=30).map(sorted),
    st.booleans(),
)
def test_no_order_comes_before_its_pod_and_none_overtakes(
    autoscaler: NodeAutoscaler, pending_s: list[float], gpu: bool
) -> None:
    ordered_s = autoscaler.ordered_s(pending_s, gpu=gpu)
    assert len(ordered_s) == len(pending_s)
    assert all(ordered >= pending for ordered, pending in zip(ordered_s, pending_s, strict=True))
    assert all(earlier <= later for earlier, later in itertools.pairwise(ordered_s))
