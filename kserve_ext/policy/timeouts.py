"""When a request is given up: late enough that a full queue and a stopping pod are worked off, within what Knative allows."""

from __future__ import annotations

import math

from kserve_ext.domain import Intent, Reason
from kserve_ext.policy import explanations
from kserve_ext.policy.served import Served

_QUEUE_FULL = 11  # queue-proxy lets 10 x the limit wait beside the limit itself, the next request gets 503
_MAX_TIMEOUT_S = 600  # Knative's max-revision-timeout-seconds, config-defaults
_DRAIN_QUIET_S = 30  # queue-proxy keeps a stopping pod that long, inside its grace period, which is the time-out


def queue_drain_s(served: Served) -> float:
    """How long a replica takes to work off all that its queue holds."""
    return _QUEUE_FULL * max(1, served.concurrency_limit) / served.choice.chosen.saturated_rps


def timeout(intent: Intent, drain_s: float, slo_s: float, min_replicas: int, start_s: float) -> tuple[float, Reason]:
    """When a request is given up, and why; `slo_s` is the longest of the replica's."""
    if intent.pins.timeout_s is not None:
        return intent.pins.timeout_s, explanations.set_by_user("timeout_s", intent.pins.timeout_s)
    waking_s = 2 * start_s if min_replicas == 0 else 0.0
    wanted_s = math.ceil(_DRAIN_QUIET_S + slo_s + drain_s + waking_s)
    text = (
        f"{_DRAIN_QUIET_S} s that a stopping pod stays up for late requests + the SLO + {drain_s:.3g} s to work off a full "
        f"queue ({_QUEUE_FULL} x the concurrency limit)"
    )
    if waking_s:
        text += f" + {waking_s:.3g} s, twice a cold start, for requests that wake it from zero"
    text += "; it is also the grace period of its pods, so not longer"
    numbers = {"queue_drain_s": drain_s, "waking_s": waking_s, "slo_p99_s": slo_s}
    if wanted_s > _MAX_TIMEOUT_S:
        text += f"; Knative allows at most {_MAX_TIMEOUT_S} s"
    return float(min(wanted_s, _MAX_TIMEOUT_S)), Reason(
        field="timeout_s", code="timeout-full-queue", text=text, numbers=numbers
    )
