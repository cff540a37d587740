"""What the predictive floor sees, remembers and answers, and what it is set to.

The operator and the simulator speak these types: an Observation and the ScalerState in, a Decision and the next
ScalerState out. All frozen; seconds and whole requests.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

from kserve_ext.domain import Reason
from kserve_ext.errors import InputError, Problem
from kserve_ext.policy.floor.ripple import Ripple
from kserve_ext.policy.forecast import Forecast, ForecastSettings, ForecastState


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """Replicas that hold the SLO at a steady rate: up to `rates_rps[i]`, `replicas[i]` of them; beyond the last, in proportion."""

    rates_rps: tuple[float, ...]
    replicas: tuple[int, ...]

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.rates_rps, self.rates_rps[1:], strict=False))
        growing = all(a <= b for a, b in zip(self.replicas, self.replicas[1:], strict=False))
        whole = len(self.rates_rps) == len(self.replicas) > 0 and self.rates_rps[0] > 0 and self.replicas[0] >= 1
        if not (whole and ascending and growing):
            raise InputError(
                Problem(what="not a sizing", field="sizing", found=f"{self.rates_rps} rps, {self.replicas} replicas",
                        allowed="as many rates as replica counts, rates above zero and ascending, replicas not falling")
            )  # fmt: skip

    def needed(self, rate_rps: float) -> int:
        """Fewest replicas for a rate; none without traffic."""
        if rate_rps <= 0:
            return 0
        place = bisect.bisect_left(self.rates_rps, rate_rps)
        if place < len(self.replicas):
            return self.replicas[place]
        return math.ceil(self.replicas[-1] * rate_rps / self.rates_rps[-1])

    def carried_rps(self, replicas: int) -> float:
        """Highest rate that so many replicas hold."""
        place = bisect.bisect_right(self.replicas, replicas)
        if place == len(self.replicas):
            return self.rates_rps[-1] * replicas / self.replicas[-1]
        return self.rates_rps[place - 1] if place else 0.0


def linear_sizing(capacity_rps: float) -> Sizing:
    """Each replica carries `capacity_rps`, as the plan's capacity says."""
    return Sizing(rates_rps=(capacity_rps,), replicas=(1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorSettings:
    """One service's floor."""

    sizing: Sizing
    start_up_s: float  # from decision to ready
    attainment: float = 0.99  # share of requests to be in time
    bin_s: int = 60  # of the forecast
    max_replicas: int | None = None
    ttl_s: float = 300.0  # a decision that is not renewed for so long is void
    first_level: float = 0.95  # quantile to begin with; then it follows what was late
    least_level: float = 0.5
    most_level: float = 0.995

    def __post_init__(self) -> None:
        problems = [
            Problem(what="out of range", field=f"floor.{name}", found=f"{value:g}", allowed=allowed)
            for name, value, fine, allowed in (
                ("start_up_s", self.start_up_s, self.start_up_s > 0, "above 0"),
                ("attainment", self.attainment, 0 < self.attainment < 1, "between 0 and 1"),
                ("max_replicas", self.max_replicas or 0, self.max_replicas is None or self.max_replicas >= 1, "at least 1"),
                ("ttl_s", self.ttl_s, self.ttl_s > 0, "above 0"),
                ("least_level", self.least_level, 0.5 <= self.least_level <= self.first_level, "0.5 to first_level"),
                ("most_level", self.most_level, self.first_level <= self.most_level <= 0.999, "first_level to 0.999"),
            )
            if not fine
        ]  # fmt: skip
        if problems:
            raise InputError(*problems)

    @property
    def hold_s(self) -> float:
        """A replica let go and wanted again costs a start-up, in which it would have idled for nothing: break-even."""
        return self.start_up_s

    @property
    def forecast(self) -> ForecastSettings:
        """The most in one bin until a replica asked for before the next forecast could be ready."""
        return ForecastSettings(
            bin_s=self.bin_s, first=1, last=1 + math.ceil(self.start_up_s / self.bin_s), keep_bins=14 * 86_400 // 60
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What happened in [start_s, now_s): requests in each step, and the replicas at `now_s`."""

    start_s: float
    now_s: float
    arrivals: tuple[int, ...]  # one count for each step; steps of equal length
    ready: int
    starting: int = 0
    late: float | None = None  # of these requests, answered beyond the SLO or not at all; None: not known

    @property
    def step_s(self) -> float:
        """Seconds of one count."""
        return (self.now_s - self.start_s) / len(self.arrivals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How the floor has done."""

    requests: float = 0.0  # since the last whole bin
    late: float = 0.0
    short: float = 0.0  # late requests or, where they are not known, those beyond what the ready replicas carry
    late_share: float = 0.0  # discounted over about a day of bins
    surplus: float = 0.0  # replicas of the floor beyond what turned out to be needed, discounted mean
    need: float = 0.0  # replicas that were needed, discounted mean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScalerState:
    """All the floor remembers."""

    forecasts: ForecastState
    ripple: Ripple = Ripple()  # noqa: RUF009 - frozen
    logit: float  # of the quantile in use
    record: Record = field(default_factory=Record)
    wanted: tuple[tuple[float, int], ...] = ()  # (time, replicas) of the forecasts still held, oldest first
    decided: Forecast | None = None
    floor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The fewest replicas to run until the next decision, or until it expires."""

    replicas: int  # 0: no floor
    expires_s: float
    level: float  # quantile in use
    forecast: Forecast | None  # None: silent
    reasons: tuple[Reason, ...]
