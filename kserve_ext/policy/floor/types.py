"""What the predictive floor sees, remembers and answers, and what it is set to.

The operator and the simulator speak these types: an Observation and the ScalerState in, a Decision and the next
ScalerState out. All frozen; seconds and whole requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kserve_ext.domain import Reason
from kserve_ext.errors import InputError, Problem
from kserve_ext.policy.floor.ripple import Ripple
from kserve_ext.policy.floor.sizing import Sizing
from kserve_ext.policy.floor.trials import Trials, Ways, ways
from kserve_ext.policy.forecast import Forecast, ForecastSettings, ForecastState


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorSettings:
    """One service's floor."""

    sizing: Sizing
    start_up_s: float  # from decision to ready
    attainment: float = 0.99  # share of requests to be in time
    bin_s: int = 60  # of the forecast
    ttl_s: float = 300.0  # a decision that is not renewed for so long is void
    least: int = 1  # replicas that run whatever the floor says
    foresee: bool = True  # False: the last bin is taken for what comes, to see what the forecast is worth

    def __post_init__(self) -> None:
        problems = [
            Problem(what="out of range", field=f"floor.{name}", found=f"{value:g}", allowed=allowed)
            for name, value, fine, allowed in (
                ("start_up_s", self.start_up_s, self.start_up_s > 0, "above 0"),
                ("attainment", self.attainment, 0 < self.attainment < 1, "between 0 and 1"),
                ("ttl_s", self.ttl_s, self.ttl_s > 0, "above 0"),
            )
            if not fine
        ]
        if problems:
            raise InputError(*problems)

    @property
    def allowed_late(self) -> float:
        """Share of requests that may be late."""
        return 1.0 - self.attainment

    @property
    def most(self) -> int:
        """The most replicas that the sizing knows."""
        return self.sizing.max_replicas

    @property
    def ways(self) -> Ways:
        """The ways to choose from."""
        return ways(self.sizing, self.start_up_s, self.bin_s, self.forecast.last, self.least)

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
    waiting: float = 0.0  # requests that wait at `now_s`, where it is known

    @property
    def step_s(self) -> float:
        """Seconds of one count."""
        return (self.now_s - self.start_s) / len(self.arrivals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How the floor has done, discounted over about a day."""

    requests: float = 0.0
    late: float = 0.0  # observed, or what the sizing says
    foreseen: float = 0.0  # what the trials said would be late of them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScalerState:
    """All the floor remembers."""

    forecasts: ForecastState
    ways: Ways
    trials: Trials
    ripple: Ripple = Ripple()  # noqa: RUF009 - frozen
    record: Record = Record()
    recent: tuple[tuple[float, int], ...] = ()  # (seconds, requests) of the last steps: a rise shows here first
    decided: Forecast | None = None
    way: int = 0  # the leading one
    floor: int = 0  # for the newest forecast
    raised: int = 0  # for a rise since


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The fewest replicas to run until the next decision, or until it expires."""

    replicas: int  # 0: no floor
    expires_s: float
    forecast: Forecast | None  # None: silent
    reasons: tuple[Reason, ...]
