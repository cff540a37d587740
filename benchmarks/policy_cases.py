"""The cases on which policies are compared: eight traces split in time, synthetic families, and replicas that batch.

Traces of days are learned on days 1 to 4 and reported on days 5 and 6: one working day, and one that is unlike those
learned. Traces of an hour are learned on the first half and reported on the second.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kserve_ext.cases import Case, Question, arrivals, build_case
from kserve_ext.domain import Profile
from kserve_ext.files import read_text
from kserve_ext.profile.service_law import Lognormal, OneAtATime
from kserve_ext.profile.store import load
from kserve_ext.simulate.arrivals import Modulated, per_second
from kserve_ext.simulate.compiled import serve_compiled
from kserve_ext.simulate.scalers import Context
from kserve_ext.traffic import Trace, read_traces

DATA = Path("benchmarks") / "data"
FILES = ("azure_functions_2019_days_1_7.csv", "autothrottle_1h.csv")
BURSTY = ("bursty_a", "bursty_b", "bursty", "mmpp", "on_off")
DENSE_BAR, BURSTY_BAR = 1.20, 1.50  # times the oracle's bill
LAW = OneAtATime(time=Lognormal(distribution="lognormal", loc=0.08, scale=0.07, shape=0.42))
SLO_S = 0.72
DAY_S = 86_400
LEARNED_DAYS, REPORTED_DAYS = 4, 2


def bar(name: str) -> float:
    """How many times the oracle's bill ours may cost."""
    return BURSTY_BAR if name in BURSTY else DENSE_BAR


@functools.cache
def traces() -> dict[str, tuple[Trace, Trace]]:
    """By name: what is learned from, and what is reported."""
    found = [trace for file in FILES for trace in read_traces(read_text(DATA / file), file)]
    return {trace.service: _split(trace) for trace in found}


def _split(trace: Trace) -> tuple[Trace, Trace]:
    days = trace.duration_s // DAY_S
    learned_s = LEARNED_DAYS * DAY_S if days else trace.duration_s // 2
    reported_s = REPORTED_DAYS * DAY_S if days else trace.duration_s - learned_s
    return part(trace, 0, learned_s), part(trace, learned_s, learned_s + reported_s)


def part(trace: Trace, from_s: int, to_s: int) -> Trace:
    """Seconds `from_s` to `to_s` of a trace."""
    counts = trace.counts[from_s // trace.step_s : to_s // trace.step_s]
    return replace(trace, start_s=trace.start_s + from_s, counts=counts)


def case(name: str, start_up_s: float, reported_s: int | None = None) -> Case:
    """One trace with replicas that serve one request at a time."""
    history, reported = traces()[name]
    if reported_s is not None:
        reported = part(reported, 0, min(reported_s, reported.duration_s))
    return build_case(Question(trace=reported, law=LAW, slo_s=SLO_S, cold_start_s=start_up_s, history=history))


def context(of: Case) -> Context:
    """What the policies of a case may know, with the compiled request loop."""
    history = arrivals(of.history) if of.history else None
    return Context(
        workload=of.workload, history=history, attainment=of.attainment, bounds=of.bounds, seed=of.seed,
        serve=serve_compiled(),
    )  # fmt: skip


def families(start_up_s: float) -> dict[str, Case]:
    """Six hours of each synthetic family, learned on the two before; a day's sine is learned on two days."""
    hours = 3600
    return {
        "poisson": _drawn(np.full(8 * hours, 30.0), 6 * hours, start_up_s),
        "ramp": _drawn(np.linspace(5.0, 60.0, 8 * hours), 6 * hours, start_up_s),
        "mmpp": _modulated((8.0, 40.0), (600.0, 300.0), start_up_s),
        "on_off": _modulated((30.0, 0.0), (900.0, 900.0), start_up_s),
        "daily": _drawn(30.0 - 25.0 * np.cos(2 * np.pi * np.arange(3 * DAY_S) / DAY_S), DAY_S, start_up_s),
    }


def _modulated(rates_rps: tuple[float, float], stays_s: tuple[float, float], start_up_s: float) -> Case:
    source = Modulated(rates_rps=rates_rps, stays_s=stays_s, duration_s=8 * 3600)
    return _counted(per_second(source, 1).tolist(), 6 * 3600, start_up_s)


def _drawn(rates_rps: np.ndarray[tuple[int], np.dtype[np.float64]], reported_s: int, start_up_s: float) -> Case:
    return _counted(np.random.default_rng(1).poisson(rates_rps).tolist(), reported_s, start_up_s)


def _counted(counts: Sequence[int], reported_s: int, start_up_s: float) -> Case:
    """By the second; a history of days is summed up by the minute, as it would be kept."""
    cut = len(counts) - reported_s
    step_s = 60 if cut >= DAY_S else 1
    known = np.asarray(counts[:cut]).reshape(-1, step_s).sum(axis=1).tolist()
    history = Trace(service="family", start_s=0, step_s=step_s, counts=tuple(known))
    reported = Trace(service="family", start_s=cut, step_s=1, counts=tuple(counts[cut:]))
    return build_case(Question(trace=reported, law=LAW, slo_s=SLO_S, cold_start_s=start_up_s, history=history))


def batching(profile: Path, slo_s: float, start_up_s: float, peak_rps: float) -> Case:
    """Replicas of a measured profile under two hours of a swing between a fifth of the peak rate and the peak."""
    measured: Profile = load(read_text(profile), str(profile))
    phase = 2 * np.pi * np.arange(3 * 3600) / 3600
    counts = np.random.default_rng(2).poisson(peak_rps * (0.6 - 0.4 * np.cos(phase))).tolist()
    history = Trace(service=measured.model, start_s=0, step_s=1, counts=tuple(counts[: 2 * 3600]))
    reported = Trace(service=measured.model, start_s=2 * 3600, step_s=1, counts=tuple(counts[2 * 3600 :]))
    return build_case(
        Question(trace=reported, law=measured, slo_s=slo_s, cold_start_s=start_up_s, history=history)
    )  # fmt: skip
