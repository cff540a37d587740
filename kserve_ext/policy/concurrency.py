"""How many requests may be in flight at one replica (hard limit), and how many are meant to be (soft target)."""

from __future__ import annotations

import math

from kserve_ext.domain import Prediction, Reason
from kserve_ext.policy.batching import Candidate
from kserve_ext.policy.replica import Replica, predict
from kserve_ext.policy.request import Settings
from kserve_ext.units import format_duration

_BATCHES_IN_FLIGHT = 2  # one running, one filling, per instance: batch x instances alone wastes 16-35 % of capacity
KNATIVE_MAX_CONCURRENCY = 1000  # Knative's container-concurrency-max-limit, config-defaults


def limit(replica: Replica, candidate: Candidate, limit_s: float, settings: Settings) -> tuple[int, Reason]:
    """The concurrency limit of one replica, and why.

    Two full batches per instance keep every instance busy, and in an ensemble one more per instance of each other step.
    By Little's law a full replica answers the last of C requests after about C / throughput, so C is capped where that
    leaves the SLO, unless that would cost the replica its capacity; and by Knative.
    """
    busy, filling = _filling(replica, candidate)
    most = min(filling, KNATIVE_MAX_CONCURRENCY)
    within_slo = max(1, math.floor((limit_s - replica.overhead_p99_s) * candidate.saturated_rps))
    chosen = min(most, within_slo)
    if chosen < most and _p99_s(replica, candidate, chosen, settings) > limit_s:
        chosen = most  # so few in flight form no batches
    if chosen == filling:
        code = "concurrency-two-batches-in-flight"
        text = f"{busy}: one batch runs while the next fills; fewer starve the instances, more only wait"
    elif chosen == most:
        code, text = (
            "concurrency-capped-by-knative",
            f"{filling} ({busy}) keep every instance busy; Knative allows {most}",
        )
    else:
        code = "concurrency-capped-by-slo"
        text = (
            f"{filling} ({busy}) keep every instance busy, but at {candidate.saturated_rps:.4g} rps only {chosen} in "
            f"flight are all answered within {format_duration(limit_s)}"
        )
    numbers = {"filling": filling, "within_slo": within_slo, "saturated_rps": candidate.saturated_rps}
    return chosen, Reason(field="concurrency_limit", code=code, text=text, numbers=numbers)


def _filling(replica: Replica, candidate: Candidate) -> tuple[str, int]:
    """How many in flight keep every instance busy: as a sum in words, and the sum."""
    in_one_batch_each = [max(1, stage.max_batch_size) * stage.instances for stage in candidate.stages]
    index = candidate.bottleneck(replica)
    others, stage = sum(in_one_batch_each) - in_one_batch_each[index], candidate.stages[index]
    words = f"{_BATCHES_IN_FLIGHT} x batch {max(1, stage.max_batch_size)} x {stage.instances} instances"
    return words + (f" + {others} in other steps" if others else ""), _BATCHES_IN_FLIGHT * in_one_batch_each[
        index
    ] + others


def _p99_s(replica: Replica, candidate: Candidate, concurrency_limit: int, settings: Settings) -> float:
    return predict(
        replica, candidate.stages, candidate.capacity_rps, settings=settings, requests=settings.simulated_requests,
        concurrency_limit=concurrency_limit,
    ).p99_s  # fmt: skip


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
