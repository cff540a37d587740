"""The measures of a load in words: a headline, a line for each measure, bars. Numbers in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kserve_ext.traffic.measures import DAY_S
from kserve_ext.traffic.seasons import noticed
from kserve_ext.traffic.spikes import COARSEST_S
from kserve_ext.traffic.types import Advice, Dispersion, Idle, Season, Spikes, Swing, Traffic, Trend
from kserve_ext.units import format_duration

_BARS = "·▁▂▃▄▅▆▇█"
_UNITS = (("days", 86_400), ("h", 3600), ("min", 60))
_BURSTY_S = 60  # scale at which a load is called bursty: a scaler sees no finer one
_BURSTY = 0.1  # of the load, from step to step beyond chance


def span(seconds: float) -> str:
    """A duration in the largest unit that needs no fraction: `7 days`, `1 h`, `90s`."""
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}" if seconds > size else f"1 {unit.removesuffix('s')}"
    return format_duration(seconds) if seconds else "0s"


def figure(value: float) -> str:
    """Three significant digits, whole from 100 on: `5.75`, `3,062`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(values: Sequence[float], width: int = 60) -> str:
    """The values as a line of bars up to the largest: means of `width` parts, a dot where there is nothing."""
    width = min(width, len(values))
    parts = [values[len(values) * i // width : len(values) * (i + 1) // width] for i in range(width)]
    means = [sum(part) / len(part) for part in parts]
    most = max(means, default=0.0)
    top = len(_BARS) - 1
    return "".join(_BARS[max(1, round(top * mean / most)) if mean > 0 else 0] for mean in means)


def headline(traffic: Traffic) -> str:
    """The kind of load in one sentence."""
    if traffic.requests == 0:
        return "No request at all"
    return "; ".join(_kinds(traffic))


def _kinds(traffic: Traffic) -> Iterator[str]:
    found = noticed(traffic.seasons)
    if traffic.advice.scaler == "fixed":
        yield f"Level at {traffic.level.mean_rps:.3g} requests per second"
    elif found:
        yield f"Comes back every {found[0].name}, up to {traffic.swing.peak:.2g} x the mean"
    else:
        yield f"Moves up to {traffic.swing.peak:.2g} x the mean, in no season that this trace shows"
    seen = next((each for each in traffic.dispersion if each.scale_s >= _BURSTY_S), None)
    if seen is not None and seen.jumps >= _BURSTY:
        yield f"jumps by {seen.jumps:.0%} within {span(2 * seen.scale_s)}"
    if traffic.spikes.found:
        yield _many(len(traffic.spikes.found))
    if traffic.idle.share > 0.01:
        yield f"idle {traffic.idle.share:.0%} of the time"


def lines(traffic: Traffic) -> tuple[tuple[str, str], ...]:
    """What was measured: a name and a line of text for each."""
    if traffic.requests == 0:
        return (("level", "0 requests per second: nothing was measured"),)
    return (
        ("level", _level(traffic)),
        ("swing", _swing(traffic.swing)),
        ("trend", _trend(traffic.trend)),
        ("seasons", _seasons(traffic.seasons)),
        ("burstiness", _burstiness(traffic.dispersion)),
        ("spikes", _spikes(traffic.spikes, traffic.duration_s)),
        ("idle", _idle(traffic.idle)),
    )


def _level(traffic: Traffic) -> str:
    level = traffic.level
    busiest = f"busiest {span(traffic.step_s)} {level.max_rps:.3g}"
    return f"mean {level.mean_rps:.3g} rps, median {level.p50_rps:.3g}, p99 {level.p99_rps:.3g}, {busiest}"


def _swing(swing: Swing) -> str:
    return (
        f"busiest {span(swing.smooth_s)} {swing.peak:.2f} x the mean (by chance {swing.peak_by_chance:.2f}); "
        f"within {span(swing.ahead_s)} +{swing.rise:.0%} of the mean (by chance {swing.rise_by_chance:.0%})"
    )


def _idle(idle: Idle) -> str:
    if idle.share == 0:
        return "never"
    spared = f"scaled to zero {idle.spared:.1%} of the time, {idle.late:.2%} of the requests late"
    return f"{idle.share:.1%} of the steps, longest pause {span(idle.longest_s)}; {spared}"


def _trend(seen: Trend) -> str:
    change = f"{seen.change:+.0%} of the mean over {span(seen.over_s)} (standard error {seen.error:.0%})"
    return change if seen.significant else f"none to speak of: {change}"


def _seasons(seen: tuple[Season, ...]) -> str:
    found = noticed(seen)
    texts = [f"{s.name} explains {s.explained:.0%} (by chance {s.by_chance:.0%}, {s.periods} seen)" for s in found[:3]]
    looked = ", ".join(season.name for season in seen) or "nothing"
    return "; ".join(texts) or f"none beyond chance; looked for: {looked}"


def _burstiness(found: Sequence[Dispersion]) -> str:
    if not found:
        return "too few steps to tell"
    picked = [each for each in found if each is found[0] or each.scale_s in (10, 60, 600)]
    texts = [f"{figure(each.local)} at {span(each.scale_s)} (jumps of {each.jumps:.0%})" for each in picked]
    return f"{', '.join(texts)}; Poisson 1"


def _spikes(spikes: Spikes, duration_s: int) -> str:
    if spikes.step_s > COARSEST_S:
        return f"cannot be seen in steps of {span(spikes.step_s)}"
    if not spikes.found:
        return "none"
    lead = span(spikes.median_lead_s) if spikes.median_lead_s else f"less than {span(spikes.step_s)}"
    often = f" ({spikes.per_day:.2g} a day)" if duration_s >= DAY_S else ""
    return (
        f"{_many(len(spikes.found))}{often}, median {figure(spikes.median_size)} x the level before, largest "
        f"{figure(spikes.largest_size)} x, lead {lead} (median)"
    )


def _many(spikes: int) -> str:
    return f"{spikes:,} spike{'s' if spikes > 1 else ''}"


def setting(advice: Advice, field: str) -> str:
    """The value of a field of the advice."""
    if field == "floor":
        return "yes" if advice.floor else "no"
    if field == "window_s":
        return "any" if advice.window_s is None else span(advice.window_s)
    return str(getattr(advice, field))
