"""A whole run of Knative's autoscaler: samples and ticks in, one row per tick out.

Nothing reacts: the ready pods of each tick are given. Times are seconds since the autoscaler was created.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import TypeAlias

from kserve_ext.errors import InputError, Problem
from kserve_ext.simulate.kpa.collect import Collector
from kserve_ext.simulate.kpa.config import read_config
from kserve_ext.simulate.kpa.decide import decide, start
from kserve_ext.simulate.kpa.gofloat import whole_second

Row: TypeAlias = tuple[float, float, int, int, bool]

_NUMBER = (float, int, Real)  # the two common ones first: Real is an abstract class and slow to ask
_INVALID: Row = (0.0, 0.0, 0, 0, False)  # Knative's invalidSR: the scale stays what it was


def replay(
    config: Mapping[str, object],
    records: Iterable[tuple[float, float]],
    ticks: Iterable[tuple[float, int | None]],
) -> list[tuple[float, float, int, int, bool]]:
    """(stable average, panic average, desired pods, excess burst capacity, valid) for every tick.

    `config` has Knative's names (see `read_config`), `records` are (t_s, value), `ticks` are (t_s, ready pods), None for
    a count that could not be read. A tick sees the records up to its own time. Records count in the order given, a late
    one in its own second. With a `ScrapeTarget`, a tick after a stable window without data is invalid and changes
    nothing; without one (Knative clears it when the target burst capacity is -1), no data is no load.
    """
    knobs, initial_ready = read_config(config)
    collector = Collector(knobs)
    state = start(knobs, initial_ready, 0)
    samples = _samples(records)
    sample = next(samples, None)
    rows: list[Row] = []
    for now_s, ready in _ticks(ticks):
        while sample is not None and sample[0] <= now_s:
            collector.record(whole_second(sample[0]), sample[1])
            sample = next(samples, None)
        averages = collector.averages(whole_second(now_s))
        if averages is None or ready is None:
            rows.append(_INVALID)
            continue
        state, decision = decide(knobs, state, now_s, ready, *averages)
        rows.append((*averages, decision.desired, decision.excess_burst_capacity, True))
    return rows


def _samples(records: Iterable[tuple[object, object]]) -> Iterator[tuple[float, float]]:
    for index, (t_s, value) in enumerate(records):
        if not isinstance(value, _NUMBER):
            raise _error("not a number", f"records[{index}]", value)
        yield _time(t_s, f"records[{index}]"), float(value)


def _ticks(ticks: Iterable[tuple[object, object]]) -> Iterator[tuple[float, int | None]]:
    last_s = -math.inf
    for index, (t_s, ready) in enumerate(ticks):
        now_s = _time(t_s, f"ticks[{index}]")
        if now_s < last_s:
            raise _error("the time goes back", f"ticks[{index}]", now_s, allowed=f">= {last_s}")
        last_s = now_s
        yield now_s, None if ready is None else _pods(ready, f"ticks[{index}]")


def _time(t_s: object, field: str) -> float:
    if not isinstance(t_s, _NUMBER) or not math.isfinite(t_s):
        raise _error("not a time in seconds", field, t_s)
    return t_s if isinstance(t_s, int) else float(t_s)


def _pods(ready: object, field: str) -> int:
    pods = float(ready) if isinstance(ready, _NUMBER) else math.nan
    if not pods.is_integer() or pods < 0:
        raise _error("not a number of pods", field, ready, allowed="a whole number >= 0")
    return int(pods)


def _error(what: str, field: str, found: object, allowed: str = "") -> InputError:
    return InputError(Problem(what=what, field=field, found=repr(found), allowed=allowed))
