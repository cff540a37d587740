"""How fast the simulator is: beside simpy, reference beside compiled, a day of 1,000 requests/s, and from 10^5 to 10^8.

The model: 200 replicas that serve one request at a time from one first-come queue, Poisson arrivals of 1,000 rps,
lognormal service times. simpy gets the very same arrivals and service times and must come to the same latencies. Times
are CPU seconds of one core; numba's compiling (about a second, once per process) is not in them.

    python -m benchmarks.simulator_speed [--rounds 3]
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import re
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simpy

from benchmarks.figures import Figure, median_figure, publish
from kserve_ext.simulate.arrivals import Rates, Times, daily
from kserve_ext.simulate.compiled import serve_compiled
from kserve_ext.simulate.engine import ColdStart, Workload, simulate_fleet
from kserve_ext.simulate.outcome import Outcome
from kserve_ext.simulate.scalers import StaticScaler, kpa_cc1
from kserve_ext.simulate.service_time import Lognormal
from kserve_ext.simulate.slots import Serve, serve_reference

RATE_RPS = 1000.0
REPLICAS = 200
SERVICE = Lognormal(loc_s=0.08, scale_s=0.07, shape=0.42)
SLO_S = 0.72
SIMPY_S, REFERENCE_S, FAST_S = 100, 1000, 7000  # simulated, so that each takes about a second
TURNS = 3  # of those in a round, by turns: a shared machine's speed changes from second to second
MAGNITUDES = (5, 6, 7, 8)  # powers of ten of requests
_STEP_S = 100  # every run is a multiple of it
_WINDOW_S = 1.0  # a short run is repeated for so long, so that its time means something

_Process = Generator[Any, Any, None]


class Cost(NamedTuple):
    """What a run of so many requests took."""

    requests: int
    ns_per_request: float
    peak_mib: float  # of the process so far


def figures(rounds: int) -> list[Figure]:
    """All figures. simpy, reference and compiled loop run by turns; a ratio is that of two neighbours in time."""
    _compile()
    turns = rounds * TURNS
    rates = [(_simpy_rps(), _engine_rps(serve_reference, REFERENCE_S), _fast_rps()) for _ in range(turns)]
    days_s = [_day_s() for _ in range(rounds)]
    scales = [_scale_alone() for _ in range(rounds)]
    simpy_rps, reference_rps, fast_rps = zip(*rates, strict=True)
    over_simpy = [reference / by_simpy for by_simpy, reference, _ in rates]
    over_reference = [fast / reference for _, reference, fast in rates]
    growth_mib = [costs[-1].peak_mib - costs[1].peak_mib for costs in scales]
    return [
        median_figure("sim_simpy_rps", simpy_rps, "req/s"),
        median_figure("sim_reference_rps", reference_rps, "req/s"),
        median_figure("sim_fast_rps", fast_rps, "req/s"),
        median_figure("sim_reference_over_simpy", over_simpy, "x", baseline="simpy, same model"),
        median_figure("sim_fast_over_reference", over_reference, "x", baseline="plain Python loop"),
        median_figure("sim_day_1000rps_s", days_s, "s", baseline="86.4 M requests, KPA"),
        *(
            median_figure(f"sim_1e{magnitude}_ns_per_request", [costs[place].ns_per_request for costs in scales], "ns")
            for place, magnitude in enumerate(MAGNITUDES)
        ),
        median_figure(
            "sim_linear_1e8_over_1e5", [costs[-1].ns_per_request / costs[0].ns_per_request for costs in scales], "x",
            baseline="time per request",
        ),
        median_figure("sim_memory_growth_mib", growth_mib, "MiB", baseline="peak of 10^8 less that of 10^6"),
    ]  # fmt: skip


def _workload(duration_s: int) -> Workload:
    return Workload(
        name="steady", arrivals=Rates(rates_rps=(RATE_RPS,) * (duration_s // _STEP_S), step_s=_STEP_S),
        service=SERVICE, slo_s=SLO_S, cold_start=ColdStart(load_s=35.0), initial_replicas=REPLICAS,
    )  # fmt: skip


def _run(duration_s: int, serve: Serve) -> Outcome:
    return simulate_fleet([_workload(duration_s)], [StaticScaler(replicas=REPLICAS)], serve=serve)[0]


def _compile() -> None:
    _run(_STEP_S, serve_compiled())


def _engine_rps(serve: Serve, duration_s: int) -> float:
    start_s = time.process_time()
    outcome = _run(duration_s, serve)
    return outcome.requests / (time.process_time() - start_s)


def _fast_rps() -> float:
    return _engine_rps(serve_compiled(), FAST_S)


def _day_s() -> float:
    """A day that swings between 600 and 1,400 rps under Knative's autoscaler."""
    day = Workload(
        name="day", arrivals=daily(600.0, 1400.0, 1), service=SERVICE, slo_s=SLO_S, cold_start=ColdStart(load_s=35.0),
        initial_replicas=REPLICAS,
    )  # fmt: skip
    start_s = time.process_time()
    simulate_fleet([day], [kpa_cc1()], serve=serve_compiled())
    return time.process_time() - start_s


def _simpy_rps() -> float:
    """The same requests through simpy. Raises ValueError if they do not take the same time."""
    expected = _expected()
    start_s = time.process_time()
    latencies_s = np.array(_simulate_by_simpy())
    rate_rps = len(latencies_s) / (time.process_time() - start_s)
    attainment, p99_s = float(np.mean(latencies_s <= SLO_S)), float(np.quantile(latencies_s, 0.99))
    if abs(attainment - expected.attainment) > 1e-4 or abs(p99_s / expected.p99_s - 1) > 0.003:
        raise ValueError(f"simpy has another model: p99 {p99_s} s, not {expected.p99_s} s")
    return rate_rps


@functools.cache
def _expected() -> Outcome:
    return _run(SIMPY_S, serve_reference)


def _simulate_by_simpy() -> list[float]:
    """Replicas are processes that take from one store.

    Of three ways tried the fastest: a process for each request at a Resource takes 1.1 to 2 times as long.
    """
    env = simpy.Environment()
    queue = simpy.Store(env)
    latencies_s: list[float] = []

    def replica() -> _Process:
        while True:
            arrival, service = yield queue.get()
            yield env.timeout(service)
            latencies_s.append(env.now - arrival)

    def clients() -> _Process:
        rng = np.random.default_rng((0, 21))
        for block in _workload(SIMPY_S).arrivals.blocks(0):
            services_s: Times = SERVICE.draw_s(rng, len(block.times_s))
            for arrival, service in zip(block.times_s.tolist(), services_s.tolist(), strict=True):
                yield env.timeout(arrival - env.now)
                queue.put((arrival, service))

    for _ in range(REPLICAS):
        env.process(replica())
    env.process(clients())
    env.run()
    return latencies_s


def _scale_alone() -> list[Cost]:
    """In a process of its own, whose peak of memory is not that of anything else."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_scale).result()


def _scale() -> list[Cost]:
    _compile()
    return [_cost(10**magnitude) for magnitude in MAGNITUDES]


def _cost(requests: int) -> Cost:
    seen = 0
    start_s = time.process_time()
    while (taken_s := time.process_time() - start_s) < _WINDOW_S or not seen:
        seen += _run(round(requests / RATE_RPS), serve_compiled()).requests
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert peak is not None
    return Cost(requests, taken_s / seen * 1e9, int(peak[1]) / 1024)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    publish("simulator_speed", figures(parser.parse_args().rounds))
