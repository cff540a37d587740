"""Whether the policy's decisions beat what people use, and how near they come to a clairvoyant; and the simulator's speed.

Every trace under every policy for three start-up times, synthetic families and batching replicas for one. The bars: 99 %
and 99.9 % within the SLO at no more than 1.2 times the oracle's bill (1.5 for bursty traces), and fewer billed than any
other at its own level. Some 20 minutes of one core; each case is kept as it is done, so what was broken off can go on.

    python -m benchmarks.bench_policy [--jobs N] [--resume] [--quick] [--no-speed] [--rounds N] [--only NAME,...]
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from benchmarks import policy_cases, policy_store, simulator_speed
from benchmarks.figures import Figure, median_figure, publish
from benchmarks.policy_runs import ASKED, LEVELS, Report, report
from benchmarks.policy_shown import misses, show, show_all
from kserve_ext.cases import arrivals
from kserve_ext.simulate.scalers import StaticScaler, scaler_named

START_UPS_S = (35.0, 120.0, 300.0)
_QUICK_S = 3 * 3600
_FAMILIES = ("poisson", "ramp", "mmpp", "on_off", "daily")
_STATIC_DAY_S = 86_400  # of the history, the last day sizes the fixed count
_BATCHED = {  # profile, SLO, start-up, peak rate
    "emulated": (Path("model_repo/emulated/profiles/a100-1g.10gb.json"), 0.060, 35.0, 600.0),
    "digits": (policy_cases.DATA / "profiles" / "digits-cpu.json", 0.060, 35.0, 200.0),
}


def main() -> None:
    arguments = _arguments()
    began_s = time.perf_counter()
    whole = not (arguments.quick or arguments.only)
    names = arguments.only.split(",") if arguments.only else list(policy_cases.traces())
    start_ups_s = START_UPS_S[:1] if arguments.quick else START_UPS_S
    tag = "-quick" if arguments.quick else ""
    if not arguments.resume:
        policy_store.forget()
    traces = [(_trace, name, each) for each in start_ups_s for name in names]
    beside = [
        *((_family, name, START_UPS_S[0]) for name in _FAMILIES),
        *((_batched, name, START_UPS_S[0]) for name in _BATCHED),
    ]
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a worker for each core: more threads only wait for each other
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        cases = [*traces, *(beside if whole else ())]
        begun = [pool.submit(_reported, make, name, start_up_s, tag) for make, name, start_up_s in cases]
        reports = _printed(begun)
    show_all(reports[: len(traces)])
    print(f"\npolicies: {time.perf_counter() - began_s:.0f} s")
    speed = [] if arguments.no_speed else simulator_speed.figures(arguments.rounds)
    publish(
        "policy", [*speed, *(figure for each in reports for figure in _figures(each)), *_held(reports[: len(traces)])]
    )


def _reported(make: Callable[[str, float, bool], Report], name: str, start_up_s: float, tag: str) -> Report:
    """A report that is kept, or is made and kept."""
    found = policy_store.kept(name, start_up_s, tag)
    if found is None:
        found = make(name, start_up_s, bool(tag))
        policy_store.keep(found, tag)
    return found


def _printed(futures: Sequence[Future[Report]]) -> list[Report]:
    """Each report is printed as soon as it and those before it are there."""
    reports = []
    for future in futures:
        reports.append(future.result())
        show(reports[-1])
    return reports


def _trace(name: str, start_up_s: float, quick: bool) -> Report:
    reported_s = _QUICK_S if quick else None
    return report(policy_cases.case(name, start_up_s, reported_s), name, static=_static(name))


@functools.cache
def _static(name: str) -> int:
    """The fixed count for the last day that is known; it does not depend on the start-up."""
    case = policy_cases.case(name, START_UPS_S[0], 60)
    known = policy_cases.context(case)
    assert case.history is not None
    history = case.history
    last = policy_cases.part(history, max(0, history.duration_s - _STATIC_DAY_S), history.duration_s)
    found = scaler_named("static-peak", replace(known, history=arrivals(last)))
    assert isinstance(found, StaticScaler)
    return found.replicas


def _family(name: str, start_up_s: float, quick: bool) -> Report:
    del quick
    return report(policy_cases.families(start_up_s)[name], name)


def _batched(name: str, start_up_s: float, quick: bool) -> Report:
    del start_up_s, quick
    return report(policy_cases.batching(*_BATCHED[name]), name)


def _figures(found: Report) -> Iterator[Figure]:
    tail = "" if found.start_up_s == START_UPS_S[0] else f"_{found.start_up_s:.0f}s"
    hpa = found.row("hpa-cpu-80")
    for place, (asked, level) in enumerate(zip(ASKED, ("", "_999"), strict=True)):
        ours = found.row("ours", asked)
        yield _figure(f"{found.name}_attainment{level}{tail}", ours.attained, "share", f"{asked:g} asked")
        yield _figure(f"{found.name}_regret{level}{tail}", ours.regret, "x", "oracle at that level")
        yield _figure(f"{found.name}_regret_awake{level}{tail}", ours.regret_awake, "x", "oracle awake for requests")
        if not math.isnan(found.hindsight[place]):
            best = found.hindsight[place] / found.oracle[place]
            yield _figure(f"{found.name}_hindsight{level}{tail}", best, "x", "KPA's best setting over the oracle")
        if not math.isnan(found.perfect[place]):
            yield _figure(f"{found.name}_perfect{level}{tail}", found.perfect[place], "x", "best that knows the rate")
        if not math.isnan(found.learned[place]):
            yield _figure(f"{found.name}_learned{level}{tail}", found.learned[place], "x", "KPA's best setting before")
    comparable = found.ours_at(hpa.attained) if hpa.attained >= ASKED[0] else found.row("ours").billed
    yield _figure(
        f"{found.name}_billed_vs_hpa80{tail}", comparable / hpa.billed, "x", f"hpa-cpu-80, {hpa.attained:.3%}"
    )
    if not math.isnan(found.coverage[0]):
        for level_, covered in zip(LEVELS, found.coverage, strict=True):
            yield _figure(f"{found.name}_coverage_{level_ * 100:.0f}{tail}", covered, "share", f"{level_:g} nominal")
        yield _figure(f"{found.name}_coverage_windows{tail}", found.windows, "windows", "side by side")
        yield _figure(f"{found.name}_overprovision_99{tail}", found.over_provision, "x", "what came")


def _held(reports: Sequence[Report]) -> Iterator[Figure]:
    """How many rows of the traces hold their bar, against either oracle."""
    missed = [misses(each, each.row("ours", asked)) for each in reports for asked in ASKED]
    strict = sum(not each for each in missed)
    awake = sum(not any(miss == "attainment" or miss.endswith("awake") for miss in each) for each in missed)
    yield _figure("trace_rows_held", strict / len(missed), "share", f"{strict} of {len(missed)} rows")
    yield _figure("trace_rows_held_awake", awake / len(missed), "share", f"{awake} of {len(missed)} rows, oracle awake")


def _figure(name: str, value: float, unit: str, baseline: str) -> Figure:
    return median_figure(name, [value], unit, baseline=baseline)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="one start-up time, three hours of each trace, no families"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at the same time")
    parser.add_argument("--resume", action="store_true", help="take the cases that a run that was broken off has done")
    parser.add_argument("--rounds", type=int, default=1, help="of the simulator's speed; policies are deterministic")
    parser.add_argument("--no-speed", action="store_true", help="leave out the simulator's speed")
    parser.add_argument("--only", default="", help="these traces only, e.g. dense_a,noisy")
    return parser.parse_args()


if __name__ == "__main__":
    main()
