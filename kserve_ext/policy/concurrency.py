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

    Two full batches per instance keep every instance busy, and in an ensemble one more per instance of each other step.
    By Little's law a full replica answers the last of C requests after about C / throughput, so C is capped where that
    leaves the SLO, and by Knative; it is never below one.
    """
    index = candidate.bottleneck(replica)
    in_one = [max(1, stage.max_batch_size) * stage.instances for stage in candidate.stages]  # one batch per instance
    rows, instances = max(1, candidate.stages[index].max_batch_size), candidate.stages[index].instances
    others = sum(in_one) - in_one[index]
    filling = _BATCHES_IN_FLIGHT * rows * instances + others
    within_slo = max(1, math.floor((limit_s - replica.overhead_p99_s) * candidate.saturated_rps))
    chosen = min(filling, within_slo, KNATIVE_MAX_CONCURRENCY)
    busy = f"{_BATCHES_IN_FLIGHT} x batch {rows} x {instances} instances" + (
        f" + {others} in other steps" if others else ""
    )
    if chosen == filling:
        code, text = (
            "concurrency-two-batches-in-flight",
            (f"{busy}: one batch runs while the next fills; fewer starve the instances, more only wait"),
        )
    elif chosen == within_slo:
        code, text = (
            "concurrency-capped-by-slo",
            (
                f"{filling} requests would keep every instance busy ({busy}), but at {candidate.saturated_rps:.4g} rps only "
                f"{chosen} in flight are all answered within {format_duration(limit_s)}"
            ),
        )
    else:
        code, text = (
            "concurrency-capped-by-knative",
            f"{filling} would keep every instance busy ({busy}); Knative allows {chosen}",
        )
    numbers = {"batch": rows, "instances": instances, "others": others, "filling": filling, "within_slo": within_slo}
    return chosen, Reason(field="concurrency_limit", code=code, text=text, numbers=numbers)


def target(at_capacity: Prediction, concurrency_limit: int, metric: str) -> tuple[float, Reason]:
    """The autoscaler's soft target: what a replica at its capacity shows, in requests in flight or a second; and why."""
    steady = math.floor(at_capacity.mean_concurrency * 100) / 100
    numbers = {"capacity_rps": at_capacity.rate_rps, "mean_concurrency": at_capacity.mean_concurrency}
    if metric == "rps":
        chosen = max(0.01, math.floor(at_capacity.rate_rps * 100) / 100)
        text = f"a replica holds the SLO up to {at_capacity.rate_rps:.4g} rps; above that another replica is due"
        return chosen, Reason(field="scaling.target", code="target-capacity-rps", text=text, numbers=numbers)
    chosen = max(0.01, min(float(concurrency_limit), steady))
    text = (
        f"a replica at its capacity of {at_capacity.rate_rps:.4g} rps has {steady:.4g} requests in flight on average "
        f"(rate x mean latency); above that another replica is due"
    )
    if chosen < steady:
        text += f"; Knative takes no target above the limit of {concurrency_limit}"
    return chosen, Reason(field="scaling.target", code="target-steady-concurrency", text=text, numbers=numbers)
