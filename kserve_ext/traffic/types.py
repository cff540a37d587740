"""What a load is like, in numbers, and what follows from them. `by_chance` is always what Poisson arrivals would show."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.domain import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Requests per second, over the trace's steps."""

    mean_rps: float
    p50_rps: float
    p95_rps: float
    p99_rps: float
    max_rps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A straight line through the days, or through twelve parts of a trace of less than three whole days."""

    change: float  # from one end of the line to the other: share of the mean
    error: float  # standard error of the change
    over_s: int  # from one end to the other
    significant: bool  # 0 is outside the 95 % interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """What comes back every `period_s`, with slower swings taken out."""

    name: str
    period_s: int
    scale_s: int  # steps it was looked at with
    periods: int  # whole ones in the trace
    explained: float  # share of the variance that the mean of the other periods predicts
    by_chance: float  # as much is explained in 1 of 20 when each period is moved by a random time


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """Variance over mean of the counts in steps of `scale_s`: 1 for Poisson.

    Unbiased for independent counts. Too low where the load has a memory of a tenth of the trace or more, since the mean
    is taken from the same trace.
    """

    scale_s: int
    steps: int
    index: float  # of all steps: bursts, and slow swings
    local: float  # of three neighbouring steps, a straight slope through them taken out: bursts only
    jumps: float  # standard deviation that `local` leaves beyond chance, over the mean: bursts as a share of the load
    poisson_low: float  # 95 of 100 Poisson traces of this length have an index from here
    poisson_high: float  # to here


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """A load that at least doubled within a quarter of an hour, beyond chance."""

    start_s: int  # first step above the level before, from the start of the trace
    peak_s: int  # first step within 10 % of the peak
    peak_rps: float
    size: float  # peak over the level before, which counts as one request a step where it was less


@dataclass(frozen=True, slots=True, kw_only=True)
class Spikes:
    """All spikes; sizes and leads are 0 without any. A lead is from the first sign to the peak, in whole steps."""

    found: tuple[Spike, ...]
    per_day: float
    median_size: float
    largest_size: float
    median_lead_s: float
    shortest_lead_s: float
    step_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Steps without any request, and what scaling to zero would spare. Coarse steps hide short pauses."""

    share: float
    longest_s: int
    kept_s: float  # so long a replica stays after the last request
    spells: int  # longer than that
    spared: float  # share of the time at zero
    late: float  # share of the requests that arrive while a replica starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """How far the load moves. Rates are means of `smooth_s`."""

    smooth_s: int
    peak: float  # the busiest over the mean of the trace
    peak_by_chance: float
    ahead_s: int  # a start-up, in whole steps
    rise: float  # growth within `ahead_s` that 1 % of the time exceeds, over the mean of the trace
    rise_by_chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What follows, each with its number; nothing where there is no traffic to go by."""

    mode: str  # serverless: scale to zero; always-on
    scaler: str  # fixed: a count; hpa: one that looks every 15 to 60 s, KEDA's too; kpa: Knative's
    window_s: float | None  # of the autoscaler's average
    floor: bool  # whether a predictive floor pays
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """A load, looked at."""

    service: str
    start_s: int
    duration_s: int
    step_s: int
    requests: int
    start_up_s: float
    level: Level
    swing: Swing
    trend: Trend
    seasons: tuple[Season, ...]  # all that the trace is long and fine enough for, longest first
    dispersion: tuple[Dispersion, ...]
    spikes: Spikes
    idle: Idle
    advice: Advice
    notes: tuple[Reason, ...]  # what this trace cannot tell
