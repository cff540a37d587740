"""When no plan holds the SLO: which constraint binds, and the nearest plan that works. Never a silent clamp."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from kserve_ext.domain import Intent, Profile
from kserve_ext.errors import InfeasibleError
from kserve_ext.policy.batching import Candidate, replicas_for, search
from kserve_ext.policy.replica import Replica
from kserve_ext.policy.request import PlanRequest, Settings
from kserve_ext.policy.shape import per_core_rps
from kserve_ext.units import format_duration

_LOOSER = 1.25  # step in which a longer SLO is looked for
_STEPS = 30  # to 650 times the first; beyond it no SLO is offered


def on(profile: Profile, replica: Replica, tried: Sequence[Candidate], request: PlanRequest) -> InfeasibleError:
    """Why nothing that was tried holds on one hardware kind."""
    intent, settings = request.intent, request.settings
    best = max(tried, key=lambda candidate: candidate.capacity_rps)
    if best.capacity_rps == 0:
        return _slo_too_short(profile, replica, tried, intent, settings)
    return _too_few_replicas(profile, replica, best, intent, settings)


def _slo_too_short(
    profile: Profile, replica: Replica, tried: Sequence[Candidate], intent: Intent, settings: Settings
) -> InfeasibleError:
    idle_s = min(candidate.p99_idle_s for candidate in tried)
    needed_s = round_up(idle_s / (1 - settings.margin))
    message = (
        f"{intent.name}: p99 of {format_duration(intent.slo.p99_s)} cannot be held on {profile.hardware}: one request alone "
        f"takes {format_duration(idle_s)} at p99, and {settings.margin:.0%} of the SLO is kept free"
    )
    high_rps = intent.rate.high_rps
    fewest = replicas_for(high_rps, _best(replica, math.inf, settings).capacity_rps)  # with less no SLO is long enough
    allowed = intent.max_replicas and max(intent.max_replicas, fewest)
    nearest_s = _shortest_slo(replica, high_rps, allowed, needed_s, settings)
    if nearest_s is None:
        nearest = f"the shortest SLO that one request meets is {format_duration(needed_s)}"
    else:
        more = "" if allowed == intent.max_replicas else f' with kserve-ext.dev/max-replicas: "{allowed}"'
        nearest = f"kserve-ext.dev/slo-p99: {format_duration(nearest_s)}{more} holds {high_rps:g} rps"
    return InfeasibleError(message, binding="slo-p99", nearest=nearest)


def _too_few_replicas(
    profile: Profile, replica: Replica, best: Candidate, intent: Intent, settings: Settings
) -> InfeasibleError:
    allowed, high_rps = intent.max_replicas or 1, intent.rate.high_rps
    needed = replicas_for(high_rps, best.capacity_rps)
    message = (
        f"{intent.name}: {high_rps:g} rps within {format_duration(intent.slo.p99_s)} need {needed} replicas on "
        f"{profile.hardware} ({best.capacity_rps:.4g} rps each), and kserve-ext.dev/max-replicas allows {allowed}"
    )
    most_rps = round_down(allowed * best.capacity_rps)
    nearest = f'kserve-ext.dev/max-replicas: "{needed}", or a rate of at most {most_rps:.10g}rps'
    longer_s = _shortest_slo(replica, high_rps, allowed, intent.slo.p99_s * _LOOSER, settings)
    if longer_s is not None:
        nearest += f", or slo-p99: {format_duration(longer_s)}"
    return InfeasibleError(message, binding="max-replicas", nearest=nearest)


def _shortest_slo(
    replica: Replica, rate_rps: float, max_replicas: int | None, start_s: float, settings: Settings
) -> float | None:
    """The first SLO from `start_s` upwards, in steps of a quarter, that the replicas allowed hold; None: none does."""
    counts = dict.fromkeys((1, _most_capable(replica)))  # one instance first: mostly computed, not simulated

    def holds(slo_s: float) -> bool:
        limit_s = slo_s * (1 - settings.margin)
        found = (search(replica, instances=count, limit_s=limit_s, settings=settings)[0] for count in counts)
        return any(
            each.capacity_rps > 0
            and (max_replicas is None or replicas_for(rate_rps, each.capacity_rps) <= max_replicas)
            for each in found
        )

    slos = [round_up(start_s * _LOOSER**step) for step in range(_STEPS)]
    first = bisect_left(slos, True, key=holds)  # a longer SLO holds whatever a shorter one does
    return slos[first] if first < len(slos) else None


def _best(replica: Replica, limit_s: float, settings: Settings) -> Candidate:
    """The choice with the most capacity, for the instance count that can do most."""
    return search(replica, instances=_most_capable(replica), limit_s=limit_s, settings=settings)[0]


def _most_capable(replica: Replica) -> int:
    return max(range(1, replica.instances + 1), key=lambda count: count * per_core_rps(replica, count))


def round_up(seconds: float) -> float:
    """The next duration with two significant digits: 0.0213 -> 0.022."""
    scale = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return round(math.ceil(seconds / scale - 1e-9) * scale, 12)


def round_down(rate_rps: float) -> float:
    """The next lower rate that is short to write: whole from 10 on, else with two significant digits: 0.417 -> 0.41."""
    scale = 10.0 ** max(0, 1 - math.floor(math.log10(rate_rps)))
    return math.floor(rate_rps * scale) / scale


def on_no_hardware(kinds: Sequence[str], refusals: Sequence[InfeasibleError]) -> InfeasibleError:
    """One error for all the hardware kinds tried; a single one speaks for itself."""
    if len(refusals) == 1:
        return refusals[0]
    return InfeasibleError(
        "\n".join(refusal.message for refusal in refusals),
        binding=", ".join(f"{kind}: {refusal.binding}" for kind, refusal in zip(kinds, refusals, strict=True)),
        nearest="\n".join(f"{kind}: {refusal.nearest}" for kind, refusal in zip(kinds, refusals, strict=True)),
    )
