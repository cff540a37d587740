"""How many requests may be in flight at one replica (hard limit), and how many are meant to be (soft target)."""

from __future__ import annotations

import math

from kserve_ext.domain import Prediction, Reason
from kserve_ext.policy.batching import Candidate
from kserve_ext.policy.replica import Replica
from kserve_ext.units import format_duration

_BATCHES_IN_FLIGHT = 2  # one running, one filling, per instance: batch x instances alone wastes 16-35 % of capacity
KNATIVE_MAX_CONCURRENCY = 1000  # Knative's container-concurrency-max-limit, config-defaults


def limit(replica: Replica, candidate: Candidate, limit_s: float) -> tuple[int, Reason]:
    """The concurrency limit of one replica, and why.

    Two full batches per instance keep every instance busy. By Little's law a full replica answers the last of C
    requests after about C / throughput, so C is capped where that leaves the SLO; it is never below one.
    """
    index = candidate.bottleneck(replica)
    stage = candidate.stages[index]
    rows = max(1, stage.max_batch_size)
    filling = _BATCHES_IN_FLIGHT * rows * stage.instances
    within_slo = min(KNATIVE_MAX_CONCURRENCY, math.floor((limit_s - replica.overhead_p99_s) * candidate.saturated_rps))
    numbers = {"batch": rows, "instances": stage.instances, "filling": filling, "within_slo": within_slo}
    if within_slo < filling:
        chosen = max(1, within_slo)
        text = (
            f"{filling} requests would keep every instance busy (2 x batch {rows} x {stage.instances} instances), but at "
            f"{candidate.saturated_rps:.4g} rps only {chosen} in flight are all answered within {format_duration(limit_s)}"
        )
        return chosen, Reason(field="concurrency_limit", code="concurrency-capped-by-slo", text=text, numbers=numbers)
    chosen = min(filling, KNATIVE_MAX_CONCURRENCY)
    text = (
        f"2 x batch {rows} x {stage.instances} instances: one batch runs while the next fills; "
        f"fewer starve the instances, more only wait"
    )
    return chosen, Reason(
        field="concurrency_limit", code="concurrency-two-batches-in-flight", text=text, numbers=numbers
    )


def target(at_capacity: Prediction, concurrency_limit: int) -> tuple[float, Reason]:
    """The autoscaler's soft target: the mean concurrency of a replica that carries its capacity, and why."""
    steady = math.floor(at_capacity.mean_concurrency * 100) / 100
    chosen = max(0.01, min(float(concurrency_limit), steady))
    text = (
        f"a replica at its capacity of {at_capacity.rate_rps:.4g} rps has {steady:.4g} requests in flight on average "
        f"(rate x mean latency); above that another replica is due"
    )
    numbers = {"capacity_rps": at_capacity.rate_rps, "mean_concurrency": at_capacity.mean_concurrency}
    return chosen, Reason(field="scaling.target", code="target-steady-concurrency", text=text, numbers=numbers)
