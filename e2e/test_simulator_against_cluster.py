"""The same two minutes of requests on the cluster and in the simulator; `make bench-cluster` plays ten."""

from __future__ import annotations

from e2e import played
from e2e.product import made_namespace
from e2e.support import Cluster

RATES_RPS = (5.0, 14.0, 22.0, 8.0)  # one, two, three replicas; the last one sees no scale-down yet
# Looser than the bench's 9.6 %: other tests' leftovers share the cores, and a decision 2 s off counts four times as much.
WANTED_ERROR = 0.20
P95_ERROR = 0.35


def test_two_minutes_of_requests_want_the_replicas_that_the_simulator_says(cluster: Cluster) -> None:
    with made_namespace(cluster, "played") as namespace, played.slow_models(cluster, namespace):
        found = played.side_by_side(cluster, namespace, RATES_RPS, seed=7)
    assert found.failed == 0
    assert found.wanted_seen.max() >= 2
    assert found.wanted_error_mean <= WANTED_ERROR
    assert found.p95_error_mean <= P95_ERROR
