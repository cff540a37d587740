"""What kind of load this is: a trace in, numbers and advice out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kserve_ext.domain import Reason
from kserve_ext.errors import InputError, Problem
from kserve_ext.traffic.advice import advise, window
from kserve_ext.traffic.dispersion import dispersion
from kserve_ext.traffic.measures import DAY_S, idle, level, swing, trend
from kserve_ext.traffic.seasons import LEAST_PERIODS, noticed, seasons
from kserve_ext.traffic.spikes import spikes
from kserve_ext.traffic.trace import Trace
from kserve_ext.traffic.types import Dispersion, Traffic
from kserve_ext.traffic.wording import span

START_UP_S = 35.0  # of a replica whose image is on the node, with a model of some hundred MB
_SMOOTHED = 0.5
_GRACE_S = 30.0  # scale-to-zero-grace-period, Knative's default: after the window, before the last replica goes


def analyse(trace: Trace, *, start_up_s: float = START_UP_S) -> Traffic:
    """Level, trend, seasons, bursts, spikes and idle time of a load, and what follows for a start-up of so long.

    Raises InputError where the trace is shorter than two start-ups: it then says nothing about scaling.
    """
    _check(trace, start_up_s)
    counts, step_s = np.asarray(trace.counts, dtype=np.int64), trace.step_s
    found_level = level(counts, step_s)
    window_s, reason = window(found_level, start_up_s)
    found_idle = idle(counts, step_s, start_up_s, (window_s or 0.0) + _GRACE_S)
    found_swing, found_spikes = swing(counts, step_s, start_up_s), spikes(counts, step_s)
    found_seasons, found_dispersion = seasons(counts, step_s), dispersion(counts, step_s)
    return Traffic(
        service=trace.service, start_s=trace.start_s, duration_s=trace.duration_s, step_s=step_s,
        requests=int(counts.sum()), start_up_s=start_up_s, level=found_level, swing=found_swing,
        trend=trend(counts, step_s), seasons=found_seasons, dispersion=found_dispersion,
        spikes=found_spikes, idle=found_idle,
        advice=advise(
            start_up_s=start_up_s, window_s=window_s, window_reason=reason, swing=found_swing,
            seasons=noticed(found_seasons), spikes=found_spikes, idle=found_idle,
        ),
        notes=tuple(_notes(trace, start_up_s, found_dispersion)),
    )  # fmt: skip


def _check(trace: Trace, start_up_s: float) -> None:
    if trace.duration_s >= 2 * start_up_s:
        return
    raise InputError(
        Problem(what="the trace is too short to say anything about scaling", field=trace.service,
                found=span(trace.duration_s), allowed=f"2 start-ups of {span(start_up_s)} or more"),
        remedy="give a longer trace, or the start-up of this model",
    )  # fmt: skip


def _notes(trace: Trace, start_up_s: float, found: Sequence[Dispersion]) -> Iterator[Reason]:
    """What this trace cannot tell."""
    numbers = {"duration_s": float(trace.duration_s)}
    if trace.duration_s < LEAST_PERIODS * DAY_S:
        text = f"less than {LEAST_PERIODS} days: what a day does to the load is not in this trace"
        yield Reason(field="seasons", code="less-than-three-days", text=text, numbers=numbers)
    elif trace.duration_s < LEAST_PERIODS * 7 * DAY_S:
        text = f"less than {LEAST_PERIODS} weeks: a weekend cannot be told from a trend"
        yield Reason(field="trend", code="less-than-three-weeks", text=text, numbers=numbers)
    if trace.step_s > start_up_s:
        text = f"steps of {span(trace.step_s)} hide what happens within a start-up of {span(start_up_s)}"
        yield Reason(field="step_s", code="coarse-steps", text=text, numbers={"step_s": float(trace.step_s)})
    if found and (local := found[0].local) < _SMOOTHED:
        text = (
            f"neighbouring steps of {span(found[0].scale_s)} differ less than by chance ({local:.2g} of Poisson): "
            "the counts were smoothed or paced, and without that they would be burstier"
        )
        yield Reason(field="dispersion", code="smoothed", text=text, numbers={"local": local})
