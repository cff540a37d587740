"""What a load asks for: serverless or always on, which scaler, what window, a floor or not; each with its number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kserve_ext.domain import Reason
from kserve_ext.traffic.types import Advice, Idle, Level, Season, Spikes, Swing
from kserve_ext.traffic.wording import span

_WORTH_SPARING = 0.1  # of the time at zero: less is not worth a wait
_LATE = 0.01  # of the requests may meet a cold start, as with an SLO for 99 %
_FLAT = 1.3  # peak over mean: a fixed count for the peak costs no more than a scaler's headroom
_SLOW = 0.1  # growth within a start-up, beyond chance, that a scaler of minutes keeps up with
_SEASON = 0.3  # of the variance: from here on one period is much like the next
_CALENDAR_S = 3600  # shorter seasons come and go within what a floor looks ahead
_ENOUGH = 100.0  # requests in a window: by chance its mean is then within 10 %
_WINDOW_S = (60.0, 3600.0)  # Knative's default, and the most it allows
_LONG_S = 600.0  # a longer window would miss what it is there for


def window(level: Level, start_up_s: float) -> tuple[float | None, Reason]:
    """What the autoscaler averages over."""
    if level.mean_rps == 0:
        return None, Reason(field="window_s", code="no-traffic", text="no request: nothing to average")
    filled_s = _ENOUGH / level.mean_rps
    default_s, longest_s = _WINDOW_S
    twice_s = min(longest_s, math.ceil(2 * start_up_s))
    numbers = {"hundred_requests_s": filled_s, "start_up_s": start_up_s}
    if max(default_s, twice_s) < filled_s <= _LONG_S:
        text = f"at {level.mean_rps:.3g} rps {_ENOUGH:.0f} requests take {span(filled_s)}; the mean of fewer is off by over 10 %"
        return float(math.ceil(filled_s)), Reason(field="window_s", code="window-fills", text=text, numbers=numbers)
    if twice_s > default_s:
        text = f"two start-ups of {span(start_up_s)}, so that one decision is in effect before the next"
        return float(twice_s), Reason(field="window_s", code="window-two-starts", text=text, numbers=numbers)
    held = f"holds {level.mean_rps * default_s:,.0f} requests on average"
    text = f"Knative's default is longer than two start-ups of {span(start_up_s)} and {held}"
    return default_s, Reason(field="window_s", code="window-default", text=text, numbers=numbers)


def advise(
    *,
    start_up_s: float,
    window_s: float | None,
    window_reason: Reason,
    swing: Swing,
    seasons: Sequence[Season],
    spikes: Spikes,
    idle: Idle,
) -> Advice:
    """The advice for what was measured; `seasons` are those beyond chance."""
    if window_s is None:
        return _nothing(window_reason)
    serverless, mode = _mode(start_up_s, idle)
    kind, scaler = _scaler(swing, start_up_s, serverless)
    pays, floor = _floor(seasons, spikes, swing, start_up_s, kind)
    return Advice(
        mode="serverless" if serverless else "always-on", scaler=kind, window_s=window_s, floor=pays,
        reasons=(mode, scaler, window_reason, floor),
    )  # fmt: skip


def _nothing(window_reason: Reason) -> Advice:
    texts = {
        "mode": "no request at all: nothing needs to run, and a first request can wait",
        "scaler": "only Knative's wakes a service from zero",
        "floor": "no request: nothing to foresee",
    }
    mode, scaler, floor = (Reason(field=field, code="no-traffic", text=text) for field, text in texts.items())
    return Advice(mode="serverless", scaler="kpa", window_s=None, floor=False,
                  reasons=(mode, scaler, window_reason, floor))  # fmt: skip


def _mode(start_up_s: float, idle: Idle) -> tuple[bool, Reason]:
    numbers = {
        "idle_share": idle.share, "spared": idle.spared, "late": idle.late, "longest_idle_s": float(idle.longest_s),
        "kept_s": idle.kept_s,
    }  # fmt: skip
    if idle.spells == 0:
        longest = f"the longest pause is {span(idle.longest_s)}" if idle.longest_s else "there is no pause"
        text = f"{longest}; a replica is kept for {span(idle.kept_s)} anyway"
        return False, Reason(field="mode", code="never-idle", text=text, numbers=numbers)
    spared = f"{idle.spared:.1%} of the time could be spent at zero (longest pause {span(idle.longest_s)})"
    if idle.spared < _WORTH_SPARING:
        return False, Reason(field="mode", code="rarely-idle", text=f"only {spared}", numbers=numbers)
    late = f"{idle.late:.2%} of the requests would wait {span(start_up_s)} for a replica"
    if idle.late > _LATE:
        return False, Reason(field="mode", code="cold-starts-cost", text=f"{spared}, but {late}", numbers=numbers)
    return True, Reason(field="mode", code="often-idle", text=f"{spared}, and only {late}", numbers=numbers)


def _scaler(swing: Swing, start_up_s: float, serverless: bool) -> tuple[str, Reason]:
    numbers = {
        "peak": swing.peak, "peak_by_chance": swing.peak_by_chance, "rise": swing.rise,
        "rise_by_chance": swing.rise_by_chance,
    }  # fmt: skip
    peak = f"the busiest {span(swing.smooth_s)} have {swing.peak:.2f} x the mean"
    if serverless:
        text = "only Knative's wakes a service from zero"
        return "kpa", Reason(field="scaler", code="from-zero", text=text, numbers=numbers)
    if swing.peak <= max(_FLAT, swing.peak_by_chance):
        chance = f" (by chance up to {swing.peak_by_chance:.2f} x)" if swing.peak > _FLAT else ""
        text = f"{peak}{chance}: a fixed count for that is as cheap and never late"
        return "fixed", Reason(field="scaler", code="flat", text=text, numbers=numbers)
    grows = f"within {span(swing.ahead_s)} the load grows by {swing.rise:.0%} of its mean (by chance {swing.rise_by_chance:.0%})"
    if swing.rise - swing.rise_by_chance < _SLOW:
        text = f"{grows}: slow enough for one that looks every 15 to 60 s; {peak}"
        return "hpa", Reason(field="scaler", code="slow-swing", text=text, numbers=numbers)
    text = f"{grows} while a replica starts ({span(start_up_s)}): decide every 2 s, as Knative does; {peak}"
    return "kpa", Reason(field="scaler", code="fast-rise", text=text, numbers=numbers)


def _floor(
    seasons: Sequence[Season], spikes: Spikes, swing: Swing, start_up_s: float, scaler: str
) -> tuple[bool, Reason]:
    best = max((s for s in seasons if s.period_s >= _CALENDAR_S), key=lambda s: s.explained, default=None)
    numbers = {
        "explained": best.explained if best else 0.0, "rise": swing.rise, "median_lead_s": spikes.median_lead_s,
        "spikes_per_day": spikes.per_day,
    }  # fmt: skip
    if scaler == "fixed":
        return False, _why("flat", "a fixed count leaves nothing to foresee", numbers)
    if best is not None and best.explained >= _SEASON:
        text = f"the {best.name} explains {best.explained:.0%} of the variance: replicas can be ready before they are needed"
        return True, _why("season", text, numbers)
    rise = f"the load grows by {swing.rise:.0%} of its mean while a replica starts ({span(start_up_s)})"
    late = [spike for spike in spikes.found if spike.peak_s - spike.start_s < start_up_s]
    if late:
        some = f"{len(late)} of {len(spikes.found)} spikes peak sooner than that"
        text = f"{rise}, and {some}: spare replicas, not a forecast, catch them"
        return True, _why("spikes", text, numbers)
    if swing.rise - swing.rise_by_chance >= _SLOW:
        return True, _why("rise", f"{rise}: spare replicas for that are ready in time", numbers)
    text = f"no season of an hour or more explains {_SEASON:.0%} of the variance, and {rise}, little beyond chance"
    return False, _why("nothing-to-foresee", text, numbers)


def _why(code: str, text: str, numbers: dict[str, float]) -> Reason:
    return Reason(field="floor", code=f"floor-{code}", text=text, numbers=numbers)
