"""Which of several replicas takes the next request, and what their answers teach. Pure: states in, states out.

*least-request* takes the replica with the fewest requests in flight; *peak-ewma* weighs them with each replica's
latency, which follows a rise at once and a fall slowly. A replica that fails rests, longer each time, and comes back
with one request at a time until it answers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kserve_ext.client.answer import Outcome

MEMORY_S = 10.0  # an observation this old counts 1/e
STRIKES = 5  # failed or late answers in a row before a replica rests; one that is not reached rests at once
FIRST_REST_S = 0.5
LONGEST_REST_S = 30.0
_STRIKE = {Outcome.UNAVAILABLE: STRIKES, Outcome.LOST: STRIKES, Outcome.FAILED: 1, Outcome.LATE: 1}


class Rule(StrEnum):
    """What makes a replica the best one."""

    LEAST_REQUEST = "least-request"
    PEAK_EWMA = "peak-ewma"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One address and what is known of it; `latency_s` is the moving average at `observed_s`."""

    address: str
    in_flight: int = 0
    latency_s: float | None = None
    observed_s: float = 0.0
    strikes: int = 0
    rests: int = 0
    rests_until_s: float = -math.inf
    gone: bool = False

    @property
    def on_trial(self) -> bool:
        """It rested, and has not answered since."""
        return self.strikes >= STRIKES

    def live(self, now_s: float) -> bool:
        """Whether it may take a request."""
        return not self.gone and now_s >= self.rests_until_s and not (self.on_trial and self.in_flight)


def choose(
    replicas: Sequence[Replica], *, now_s: float, rule: Rule, draw: float, avoid: Collection[str] = ()
) -> Replica | None:
    """The replica for the next request; `draw`, random in [0, 1), decides between equals. None where there is none.

    Never one that rests while another is live; when all rest, the one whose rest ends first. One in `avoid` only when
    no other is live.
    """
    live = [replica for replica in replicas if replica.live(now_s)]
    candidates = [replica for replica in live if replica.address not in avoid] or live
    if not candidates:
        present = [replica for replica in replicas if not replica.gone]
        return min(present, key=lambda replica: (replica.rests_until_s, replica.in_flight), default=None)
    costs = _costs(candidates, now_s, rule)
    lowest = min(costs)
    equals = [replica for replica, cost in zip(candidates, costs, strict=True) if cost == lowest]
    return equals[int(draw * len(equals))]


def _costs(replicas: Sequence[Replica], now_s: float, rule: Rule) -> list[float]:
    if rule is Rule.LEAST_REQUEST:
        return [float(replica.in_flight) for replica in replicas]
    latencies = [_latency_s(replica, now_s) for replica in replicas]
    known = sorted(latency for latency in latencies if latency is not None)
    # one that has not answered yet is taken for a middling one: neither flooded nor left out
    usual = known[len(known) // 2] if known else 1.0
    return [
        (usual if latency is None else latency) * (replica.in_flight + 1)
        for replica, latency in zip(replicas, latencies, strict=True)
    ]


def _latency_s(replica: Replica, now_s: float) -> float | None:
    """The average, fading while nothing is observed, so that a replica that was slow once is tried again."""
    if replica.latency_s is None:
        return None
    return replica.latency_s * math.exp(min(0.0, (replica.observed_s - now_s) / MEMORY_S))


def begin(replica: Replica) -> Replica:
    """With one more request in flight."""
    return replace(replica, in_flight=replica.in_flight + 1)


def give_up(replica: Replica) -> Replica:
    """With one request less, which nobody waits for any more; nothing is learnt."""
    return replace(replica, in_flight=max(0, replica.in_flight - 1))


def settle(replica: Replica, outcome: Outcome, *, took_s: float, now_s: float, rest_s: float | None = None) -> Replica:
    """With one request less, and what its outcome teaches. `rest_s` is how long the server asks to be left alone."""
    settled = give_up(replica)
    if outcome in (Outcome.ANSWERED, Outcome.LATE):  # a late one took at least this long
        settled = _observe(settled, took_s, now_s)
    if outcome not in _STRIKE:
        return replace(settled, strikes=0, rests=0)
    strikes = settled.strikes + _STRIKE[outcome]
    if strikes < STRIKES or now_s < settled.rests_until_s:  # what failed together makes one rest, not many
        return replace(settled, strikes=strikes)
    usual_s = math.ldexp(FIRST_REST_S, min(settled.rests, 16))
    until_s = now_s + min(LONGEST_REST_S, usual_s if rest_s is None else rest_s)
    return replace(settled, strikes=strikes, rests=settled.rests + 1, rests_until_s=until_s)


def _observe(replica: Replica, took_s: float, now_s: float) -> Replica:
    known = replica.latency_s
    if known is None or took_s > known:
        return replace(replica, latency_s=took_s, observed_s=now_s)
    kept = math.exp(min(0.0, (replica.observed_s - now_s) / MEMORY_S))
    return replace(replica, latency_s=known * kept + took_s * (1 - kept), observed_s=now_s)


def reconcile(replicas: Iterable[Replica], addresses: Iterable[str]) -> tuple[Replica, ...]:
    """The replicas behind the addresses now: known ones keep their state, those that left stay while they answer."""
    found = dict.fromkeys(addresses)
    known = {replica.address: replica for replica in replicas}
    here = [replace(known[address], gone=False) if address in known else Replica(address=address) for address in found]
    leaving = [
        replace(replica, gone=True) for replica in known.values() if replica.address not in found and replica.in_flight
    ]
    return (*here, *leaving)
