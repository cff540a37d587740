"""Which replicas may be where nodes are taken away: from the notice given, the time a new replica takes, and the SLO.

A spot node that goes takes a replica with it; a new one is there after its start-up. With a notice as long as that,
nothing is lost. With a shorter one the replica is missing for the rest, and the requests it would have answered count
against the availability asked for. A provider may also take all spot nodes at once, so the quiet rate stays on others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kserve_ext.domain import Intent, Reason
from kserve_ext.policy.fleet.types import Pool
from kserve_ext.units import format_duration

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotShare:
    """The share of the busy rate that must be carried by nodes that stay, and why."""

    on_demand: float
    reason: Reason


def spot_share(intent: Intent, pool: Pool, replica_start_s: float) -> SpotShare:
    """How much of a service may be on the spot nodes of a pool."""
    start_s = pool.start_s + replica_start_s  # a taken node is replaced before a replica can start on it
    missing_s = max(0.0, start_s - pool.notice_s)
    lost = min(
        1.0, pool.interruptions_per_hour * missing_s / _HOUR_S
    )  # share of the time that a spot replica is missing
    allowed = 1 - intent.slo.availability
    numbers = {"missing_s": missing_s, "lost": lost, "allowed": allowed}
    quiet = min(1.0, intent.rate.low_rps / intent.rate.high_rps)
    if missing_s <= 0:
        text = (
            f"a notice of {format_duration(pool.notice_s)} is as long as the {format_duration(start_s)} that a new replica "
            f"takes, so spot loses nothing; {quiet:.0%}, the quiet rate, stays on nodes that are not taken"
        )
        return _share(quiet, "spot-notice-covers-start", text, numbers)
    most_spot = min(1.0, allowed / lost) if lost > 0 else 1.0
    on_demand = max(quiet, 1 - most_spot)
    text = (
        f"a spot replica is missing for {format_duration(missing_s)} after an interruption, {lost:.2%} of the time at "
        f"{pool.interruptions_per_hour:g} an hour; an availability of {intent.slo.availability:.4%} allows {allowed:.2%}, so "
        f"{1 - on_demand:.0%} of the busy rate may be on spot"
    )
    return _share(on_demand, "spot-share-by-availability", text, numbers)


def strictest(intent: Intent, pools: tuple[Pool, ...], replica_start_s: float) -> SpotShare | None:
    """The share for the spot pool that loses most; None where there are no spot pools."""
    shares = [spot_share(intent, pool, replica_start_s) for pool in pools if pool.spot]
    return max(shares, key=lambda share: share.on_demand, default=None)


def _share(on_demand: float, code: str, text: str, numbers: Mapping[str, float]) -> SpotShare:
    reason = Reason(field="placement.on_demand", code=code, text=text, numbers={"on_demand": on_demand, **numbers})
    return SpotShare(on_demand=on_demand, reason=reason)
