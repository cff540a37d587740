"""Ways to turn forecasts into replicas, each tried on every bin as if it were in charge: the cheapest that holds leads.

A way is a guide (a share of the forecast, the last bins, the calendar, or half of each), a price of a late request, and
a time to hold replicas. For each the replicas that would have been ready are followed through start-up, with the queue
that a shortage leaves behind, so one day of counts judges all of them. Nothing is tuned to a trace: the trace chooses.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kserve_ext.policy.floor.sizing import Sizing, Values

Replicas = NDArray[np.int64]

SHRUNK = (1.0, 0.95, 0.9, 0.85, 0.8)  # the forecast is of the busiest bin: where rates jump about, few bins are like it
GUIDES = (
    *(f"{share:.0%} of the forecast" for share in SHRUNK), "last bins", "calendar", "mean of forecast and calendar",
)  # fmt: skip
PRICES = 2.0 ** (np.arange(0, 18) / 2.0)  # of a late request, in replica-seconds that one request takes
HOLDS = (0.0, 1.0, 3.0, 10.0)  # times the start-up: 1 is break-even, more is for bursts that come again
_NOTICED_S = 20.0  # after so long a rise within a bin has been seen
_SHARE = 4.0  # half of the judgement is from the last quarter of what is known,
_LEAST_HALF, _MOST_HALF = 30.0, 1440.0  # bins: within these
# Windows of forecast, with what it expects to be late, that count beside those seen: fewer, the more were seen.
_PRIOR_MOST, _PRIOR_FADES = 2.0, 4.0
_HOLD_KNOWN = 8  # no longer than this part of what is known: in a rise every hold looks free
_EXPECTED_GAIN = 0.05
# By square-root staffing (Halfin and Whitt) an e-fold fewer that wait than 1 % costs a pool of n a share of 0.35 over the
# root of n. More than half of that is paid: a way is judged by few shortages, and one of them may be all that is allowed.
_EXCHANGE, _NEGLIGIBLE = 0.2, 0.001  # the latter late: fewer are worth nothing
_NEAR = 2.0  # times the late of the surest way: few shortages tell them apart
# The last bins are plain: a forecast, or the calendar, has to be cheaper by more than chance on the days tried.
_WORTH = np.array((*(1.03,) * len(SHRUNK), 1.0, 1.04, 1.04))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ways:
    """What does not change; arrays have one entry for each way."""

    guides: Replicas
    prices_s: Values
    hold_bins: Replicas
    window_bins: int  # that a forecast is for
    delay_bins: int  # from decision to ready
    bin_s: int
    least: int  # replicas that are there anyway
    request_s: float  # replica-seconds that one request takes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trials:
    """How each way would have done so far, discounted; arrays have one entry, or column, for each way."""

    wanted: Replicas  # decisions of the last bins, newest last, before holding
    asked: Replicas  # the same after holding
    queue: Values  # requests that a shortage left behind
    late: Values
    paid_s: Values  # replica-seconds, start-up included
    expected: Values  # share late that the guide expects
    newest: Values  # late in the last bin
    requests: float = 0.0
    bins: float = 0.0


def ways(sizing: Sizing, start_up_s: float, bin_s: int, window_bins: int, least: int) -> Ways:
    """Every guide with every price and every hold."""
    guides, prices, holds = (part.ravel() for part in np.meshgrid(np.arange(len(GUIDES)), PRICES, HOLDS, indexing="ij"))
    request_s = 1.0 / sizing.saturated_rps
    return Ways(
        guides=guides, prices_s=prices * request_s, hold_bins=np.ceil(holds * start_up_s / bin_s).astype(np.int64),
        window_bins=window_bins, delay_bins=max(0, int(np.ceil((start_up_s + _NOTICED_S) / bin_s)) - 1), bin_s=bin_s,
        least=least, request_s=request_s,
    )  # fmt: skip


def untried(each: Ways) -> Trials:
    """Nothing known."""
    none, zero = np.zeros((0, len(each.guides)), dtype=np.int64), np.zeros(len(each.guides))
    return Trials(wanted=none, asked=none, queue=zero, late=zero, paid_s=zero, expected=zero, newest=zero)


def judge(trials: Trials, each: Ways, sizing: Sizing, requests: float, shares: Values, known_bins: int) -> Trials:
    """After a whole bin of so many requests; `shares[n]` of them are late with n replicas and no queue before."""
    if not len(trials.asked):
        return trials
    ready = np.minimum(trials.asked[-each.delay_bins - 1 :].min(axis=0), len(shares) - 1)
    room = ready * sizing.saturated_rps * each.bin_s - requests  # how many of the queue the bin can take away
    waits = np.where(room > 0, np.minimum(trials.queue / np.maximum(room, 1e-9), 1.0), trials.queue > 0)
    late = requests * (waits + (1.0 - waits) * shares[ready])
    kept = 0.5 ** (1.0 / min(max(known_bins / _SHARE, _LEAST_HALF), _MOST_HALF))
    return replace(
        trials, queue=np.maximum(trials.queue - room, 0.0), late=kept * trials.late + late, newest=late,
        paid_s=kept * trials.paid_s + trials.asked[-1] * float(each.bin_s),
        requests=kept * trials.requests + requests, bins=kept * trials.bins + 1.0,
    )  # fmt: skip


def ask(trials: Trials, each: Ways, late_rps: Values, rates_rps: Values) -> Trials:
    """With new guides: `late_rps[g, n]` are expected late with n replicas, of `rates_rps[g]`."""
    costs = np.arange(late_rps.shape[1]) + (PRICES * each.request_s)[:, None] * late_rps[:, None, :]
    wanted = np.repeat(np.maximum(costs.argmin(axis=2), each.least).ravel(), len(HOLDS))
    recent = np.vstack((trials.wanted, wanted))[-int(each.hold_bins.max()) - 1 :]
    ages = np.arange(len(recent))[::-1, None]
    asked = np.where(ages <= each.hold_bins, recent, 0).max(axis=0)
    honest = np.where(each.guides < len(SHRUNK), 0, each.guides)  # a part of a forecast expects what the whole does
    known = late_rps[honest, np.minimum(asked, late_rps.shape[1] - 1)] / np.maximum(rates_rps[honest], 1e-9)
    return replace(
        trials, wanted=recent, asked=np.vstack((trials.asked, asked))[-each.delay_bins - 1 :],
        expected=trials.expected + _EXPECTED_GAIN * (np.minimum(known, 1.0) - trials.expected),
    )  # fmt: skip


def best(trials: Trials, each: Ways, allowed: float, known_bins: int) -> int:
    """The best way of those with at most that share late; where none has, of those near the surest.

    The cheapest, unless a little more is paid for many fewer late than are allowed.
    """
    bins = max(trials.bins, 1.0)
    windows = min(_PRIOR_MOST, _PRIOR_FADES * each.window_bins / bins)
    prior = windows * each.window_bins * trials.requests / bins
    shares = (trials.late + prior * trials.expected) / max(trials.requests + prior, 1e-9)
    known = each.hold_bins * _HOLD_KNOWN <= known_bins
    busy = trials.requests * each.request_s / (bins * each.bin_s)
    worth = (shares + _NEGLIGIBLE) ** (_EXCHANGE / np.sqrt(max(busy, 1.0)))
    costs = np.where(known, trials.paid_s * _WORTH[each.guides] * worth, np.inf)
    return int(np.where(shares <= enough(float(shares[known].min()), allowed), costs, np.inf).argmin())


def enough(surest: float, allowed: float) -> float:
    """The share late up to which a way is good enough, when that of the surest way is `surest`.

    Never less for a looser allowance, so what is asked for more strictly never costs less.
    """
    return max(allowed, min(surest + allowed, _NEAR * surest))
