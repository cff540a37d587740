"""How well the simulator foretells a cluster: ten minutes of the same requests through both, to the timestamp.

Needs the cluster of `make cluster`. A model that only waits is served by Triton behind Knative; its service times, what a
request costs on its way and how long a replica takes to start are measured there first, and nothing is fitted. Compared are
the replicas that Knative's autoscaler wants, looked at every 2 s, and p95 of the requests of each 30 s.

    python -m benchmarks.bench_cluster [--rounds 1] [--steps 20]
"""

from __future__ import annotations

import argparse

from benchmarks.figures import median_figure, publish
from e2e import played, support
from e2e.product import made_namespace

# Rates of 30 s each: up to what four replicas carry, down again, and a burst at the end.
RATES_RPS = (4, 8, 12, 16, 20, 24, 28, 32, 36, 34, 30, 26, 20, 14, 10, 6, 6, 18, 24, 10)


def main() -> None:
    arguments = _arguments()
    try:
        cluster = support.find()
    except AssertionError as error:
        raise SystemExit(f"bench-cluster: {error}") from error
    found = []
    for round_ in range(arguments.rounds):
        with made_namespace(cluster, "bench") as namespace, played.slow_models(cluster, namespace):
            found.append(played.side_by_side(cluster, namespace, RATES_RPS[: arguments.steps], seed=500 + round_))
    beside = "Knative and Triton on a kind cluster, same arrivals"
    publish("cluster", [
        median_figure("desired_pods_error_mean", [each.wanted_error_mean for each in found], "fraction", baseline=beside),
        median_figure("p95_error_mean", [each.p95_error_mean for each in found], "fraction", baseline=beside),
        median_figure("desired_pods_most", [float(each.wanted_seen.max()) for each in found], "pods"),
        median_figure("failed_requests", [float(each.failed) for each in found], "requests", baseline="none allowed"),
        median_figure("loadgen_late_p99", [each.lag_p99_s for each in found], "s", baseline="of the load generator"),
    ])  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="of twelve minutes each")
    parser.add_argument("--steps", type=int, default=len(RATES_RPS), help="play only so many steps of 30 s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
