"""How many replicas: at the busy rate, always, and at most."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kserve_ext.domain import Intent, Profile, Reason
from kserve_ext.policy.batching import replicas_for
from kserve_ext.policy.request import Settings
from kserve_ext.units import format_duration

_ONE_REPLICA_AVAILABILITY = 0.999  # above it, the loss of one pod for a start-up time must not cost the SLO
_IDLE_RPS = 1 / 60  # less than a request a minute: keeping a replica warm is worth asking


def cold_start_s(profiles: Sequence[Profile], settings: Settings) -> float:
    """From decision to first answer on a node that has the image: pod start + loading every model, one by one."""
    return settings.pod_start_s + math.fsum(profile.load_s for profile in profiles)


def least(intent: Intent, capacity_rps: float, start_s: float) -> tuple[int, Reason]:
    """Replicas that always run (min-scale), and why."""
    pinned = intent.pins.min_replicas
    if pinned is not None:
        text = f"{pinned} set in the manifest"
        return pinned, Reason(field="scaling.min_replicas", code="min-replicas-set-by-user", text=text)
    budget_s = intent.cold_start_budget_s
    numbers = {"low_rps": intent.rate.low_rps, "capacity_rps": capacity_rps, "cold_start_s": start_s}
    if budget_s is not None and budget_s >= start_s and intent.rate.low_rps <= _IDLE_RPS:
        text = (
            f"a cold start takes about {format_duration(start_s)}, within the budget of {format_duration(budget_s)}, "
            f"and fewer than one request a minute is expected at quiet times"
        )
        return 0, Reason(field="scaling.min_replicas", code="min-replicas-zero", text=text, numbers=numbers)
    chosen = replicas_for(intent.rate.low_rps, capacity_rps)
    spare = int(intent.slo.availability > _ONE_REPLICA_AVAILABILITY)
    text = (
        f"{intent.rate.low_rps:.4g} rps at quiet times / {capacity_rps:.4g} rps a replica; "
        f"a request must not wait the {format_duration(start_s)} of a cold start"
    )
    if spare:
        text += f"; one more, since {intent.slo.availability:.4%} leaves no room for losing a pod"
    return chosen + spare, Reason(
        field="scaling.min_replicas", code="min-replicas-quiet-rate", text=text, numbers=numbers
    )


def most(intent: Intent, needed: int, minimum: int) -> tuple[int, Reason]:
    """Replicas at most (max-scale), and why."""
    numbers = {"needed": float(needed)}
    if intent.pins.max_replicas is not None:
        text = f"{intent.pins.max_replicas} set in the manifest"
        return intent.pins.max_replicas, Reason(
            field="scaling.max_replicas", code="max-replicas-set-by-user", text=text, numbers=numbers
        )
    if intent.max_replicas is not None:
        text = f"the most that kserve-ext.dev/max-replicas allows; {needed} are needed at the busy rate"
        return intent.max_replicas, Reason(
            field="scaling.max_replicas", code="max-replicas-allowed", text=text, numbers=numbers
        )
    chosen = max(needed, minimum) + 1
    text = f"{needed} at {intent.rate.high_rps:.4g} rps, and one more so that a restart or a burst finds room"
    return chosen, Reason(field="scaling.max_replicas", code="max-replicas-one-spare", text=text, numbers=numbers)
