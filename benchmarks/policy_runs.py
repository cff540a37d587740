"""One case under every policy: what each attains and is billed, and what the oracle is billed at the same level.

Every policy begins with the replicas that it would have at that moment, had they come at once. Ours is asked for two
attainments; between and beyond the two, what it is billed at another level is taken on the line through both.

Two bounds stand beside the oracle. It may drop all requests of a quiet minute and run nothing, which no service on
Knative can: a request always wakes one. So there is an oracle that has a replica in every minute with a request. And on
the traces of an hour, whose reported half no one could know from half an hour, Knative's autoscaler is run with many
settings, and the cheapest that holds is taken in hindsight: what any policy that reacts could have come to. What knows
the rate beforehand, but not the requests, is run with many spans: where the best of them misses a bar, no forecast helps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.policy_cases import bar, context
from kserve_ext.cases import Case, arrivals
from kserve_ext.cases.clairvoyant import late_requests
from kserve_ext.cases.comparing import scaler
from kserve_ext.policy.floored import FlooredScaler
from kserve_ext.policy.forecast import forecast, observe
from kserve_ext.simulate.arrivals import Counts, per_second
from kserve_ext.simulate.engine import ColdStart, simulate_fleet
from kserve_ext.simulate.kpa import panic_window_s
from kserve_ext.simulate.oracle import LateTable, solve
from kserve_ext.simulate.outcome import Outcome
from kserve_ext.simulate.scaler import Scaler
from kserve_ext.simulate.scalers import KpaScaler, PerfectRateScaler, StaticScaler, perfect_rate
from kserve_ext.simulate.scalers.sizing import staffing_for

OTHERS = ("static-peak", "kpa-default", "kpa-cc1", "hpa-cpu-60", "hpa-cpu-80", "keda-rps", "perfect-rate")
ASKED = (0.99, 0.999)
LEVELS = (0.95, 0.99)
_SETTLED_S = 900
_HOUR_S = 3600
_SHARES, _WINDOWS_S, _DELAYS_S = (
    (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    (15, 60, 180),
    (0, 300),
)  # of the target; tried in hindsight
_SPANS_S = (2, 5, 10, 20, 30, 60)
_NEVER_LATE = 1e-5
_ALL = 0.99999  # asked of the oracle where a policy was never late


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy on one case."""

    policy: str
    asked: float
    attained: float
    billed: float
    regret: float  # billed over the oracle's at the level attained
    regret_awake: float = math.nan  # the same, of the oracle with a replica in every minute with a request; for ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All policies on one case, and the rungs below them."""

    name: str
    start_up_s: float
    rows: tuple[Row, ...]
    work: float
    oracle: tuple[float, ...]  # billed, for each of ASKED
    oracle_awake: tuple[float, ...]  # the same with a replica in every minute with a request
    hindsight: tuple[float, ...]  # billed by KPA's cheapest setting that holds each; NaN: not tried
    learned: tuple[float, ...]  # regret of the setting that was the cheapest to hold each before; NaN: not tried
    perfect: tuple[
        float, ...
    ]  # least regret that holds each, of those that know the rate; NaN: none held, or not tried
    coverage: tuple[float, ...]  # of LEVELS
    windows: int  # that the coverage was counted in, each beginning where the one before ends
    over_provision: float  # mean of the 0.99 quantile over mean of what came

    def row(self, policy: str, asked: float = ASKED[0]) -> Row:
        return next(row for row in self.rows if (row.policy, row.asked) == (policy, asked))

    def ours_at(self, attained: float) -> float:
        """What ours is billed where it attains as much: the cheapest run that does, or a line between both runs.

        The line is over the logarithm of the share late; beyond the surer run it goes on.
        """
        runs = sorted((row.attained, row.billed) for row in self.rows if row.policy == "ours")
        enough = [billed for level, billed in runs if level >= attained]
        late = [math.log(max(1.0 - level, _NEVER_LATE)) for level in (runs[0][0], runs[1][0], attained)]
        if late[0] - late[1] < 1e-9 or attained <= runs[0][0]:
            return min(enough, default=runs[1][1])
        line = runs[0][1] + (runs[1][1] - runs[0][1]) * (late[0] - late[2]) / (late[0] - late[1])
        return min((line, *enough))


def report(case: Case, name: str, others: Sequence[str] = OTHERS, static: int | None = None) -> Report:
    """Run them all. `static` is the fixed count where it is known from another start-up time."""
    table = late_requests(case, context(case).serve)
    rows = [_row(case, policy, table, static) for policy in others]
    ours, reactive = _scaler("ours", case), _scaler("ours-reactive", case)
    assert isinstance(ours, FlooredScaler)
    ours = replace(ours, learned=ours.learn())
    rows.append(_judged("ours-reactive", case, reactive, table, ASKED[0]))
    start_up_s = case.workload.cold_start.on_node_s
    awake = _awake(table)
    for asked in ASKED:
        row = _judged("ours", case, replace(ours, floor=replace(ours.floor, attainment=asked)), table, asked)
        least = solve(awake, attainment=_level(row.attained, table), start_up_s=start_up_s).billed
        rows.append(replace(row, regret_awake=row.billed / least))
    perfect = tuple(
        _perfect(case, table, row.asked) if row.attained < row.asked or row.regret > bar(name) else math.nan
        for row in rows[-len(ASKED) :]
    )
    found = [solve(table, attainment=asked, start_up_s=start_up_s) for asked in ASKED]
    waking = [solve(awake, attainment=asked, start_up_s=start_up_s).billed for asked in ASKED]
    coverage, over, windows = _coverage(ours, case)
    hindsight, learned = _tried(_settings(ours, case), case, table)
    return Report(
        name=name, start_up_s=start_up_s, rows=tuple(rows), work=found[0].work,
        oracle=tuple(each.billed for each in found), oracle_awake=tuple(waking),
        hindsight=hindsight, learned=learned, perfect=perfect, coverage=coverage, windows=windows,
        over_provision=over,
    )  # fmt: skip


def _row(case: Case, policy: str, table: LateTable, static: int | None) -> Row:
    if policy == "static-peak" and static is not None:
        return _judged(policy, case, StaticScaler(replicas=static), table, ASKED[0])
    return _judged(policy, case, _scaler(policy, case), table, ASKED[0])


def _awake(table: LateTable) -> LateTable:
    """The oracle's table where no minute with a request may be without a replica."""
    requests = table.late[:, :1]
    return replace(table, late=np.concatenate((np.where(requests > 0, 10**9, 0), table.late[:, 1:]), axis=1))


def _settings(ours: FlooredScaler, case: Case) -> tuple[KpaScaler, ...]:
    """Knative's autoscaler with many settings, on traces of an hour; none elsewhere, as there the floor learns enough."""
    known = ours.reactive
    if case.trace.duration_s > _HOUR_S or case.sized or not isinstance(known, KpaScaler):
        return ()
    return tuple(
        replace(known, config=replace(
            known.config, target=share * known.config.target, stable_window_s=window_s,
            panic_window_s=panic_window_s(window_s, 10.0), scale_down_delay_s=delay_s,
        ))
        for share, window_s, delay_s in itertools.product(_SHARES, _WINDOWS_S, _DELAYS_S)
    )  # fmt: skip


def _tried(settings: Sequence[KpaScaler], case: Case, table: LateTable) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What the best setting in hindsight is billed, and the regret of the best before; for each of ASKED."""
    assert case.history is not None
    past = replace(case, trace=case.history, workload=replace(case.workload, arrivals=arrivals(case.history)))
    now = [_judged("in hindsight", case, by, table, ASKED[0]) for by in settings]
    before = [_outcome(past, by) for by in settings]
    hindsight = tuple(min((row.billed for row in now if row.attained >= asked), default=math.nan) for asked in ASKED)
    learned = []
    for asked in ASKED:
        held = [place for place, seen in enumerate(before) if seen.attainment >= asked]
        learned.append(now[min(held, key=lambda place: before[place].billed)].regret if held else math.nan)
    return hindsight, tuple(learned)


def _perfect(case: Case, table: LateTable, asked: float) -> float:
    """The least regret of a policy that knows the rate of every second a start-up ahead, over spans of its mean."""
    if case.sized:
        return math.nan
    counts, workload = per_second(case.workload.arrivals, case.seed).tolist(), case.workload
    staffing, ahead_s = staffing_for(workload.service_time, workload.slo_s, asked), workload.cold_start.on_node_s
    rows = [
        _judged(
            "perfect-rate", case,
            perfect_rate(counts, staffing, ahead_s=ahead_s, bounds=case.bounds, span_s=span_s), table, asked,
        )
        for span_s in _SPANS_S
    ]  # fmt: skip
    return min((row.regret for row in rows if row.attained >= asked), default=math.nan)


def _scaler(policy: str, case: Case) -> Scaler[Any]:
    return scaler(policy, case, context(case))


def _judged(policy: str, case: Case, by: Scaler[Any], table: LateTable, asked: float) -> Row:
    outcome = _outcome(case, by)
    level = _level(outcome.attainment, table)
    least = solve(table, attainment=level, start_up_s=case.workload.cold_start.on_node_s).billed
    return Row(
        policy=policy, asked=asked, attained=outcome.attainment, billed=outcome.billed,
        regret=outcome.billed / least if least else math.inf,
    )  # fmt: skip


def _outcome(case: Case, by: Scaler[Any]) -> Outcome:
    workload = replace(case.workload, initial_replicas=_first(case, by))
    return simulate_fleet([workload], [by], seed=case.seed, serve=context(case).serve)[0]


def _level(attained: float, table: LateTable) -> float:
    """The share in time to ask of the oracle: no more than is possible."""
    return min(attained, _ALL, 1.0 - table.hopeless / max(1, table.requests))


def _first(case: Case, by: Scaler[Any]) -> int:
    """What the policy would run at the beginning."""
    if isinstance(by, StaticScaler):
        return by.replicas
    if isinstance(by, PerfectRateScaler):
        return max(1, *by.needed[: int(by.ahead_s) + 1])
    reactive, floor = (by.reactive, by.start(1).replicas) if isinstance(by, FlooredScaler) else (by, 1)
    return max(1, floor, round(_settled(case, reactive).minutes[-1].replicas))


def _settled(case: Case, by: Scaler[Any]) -> Outcome:
    """The policy on the last minutes of the history, with replicas that are ready at once."""
    history = case.history
    assert history is not None
    counts = history.counts[-_SETTLED_S // history.step_s :]
    workload = replace(
        case.workload, arrivals=Counts(counts=counts, step_s=history.step_s), cold_start=ColdStart(load_s=0.0)
    )
    return simulate_fleet([workload], [by], seed=case.seed, serve=context(case).serve)[0]


def _coverage(ours: FlooredScaler, case: Case) -> tuple[tuple[float, ...], float, int]:
    """How often the busiest bin of the horizon stayed within each quantile, what the highest one costs, and the windows."""
    assert ours.learned is not None
    settings, trace = ours.floor.forecast, case.trace
    steps = max(1, settings.bin_s // trace.step_s)
    bins = np.asarray(trace.counts[: len(trace.counts) // steps * steps]).reshape(-1, steps).sum(axis=1).tolist()
    state, within, asked, came = ours.learned.forecasts, [], 0.0, 0.0
    for place in range(len(bins) - settings.last):
        found = forecast(state)
        if found is not None:
            most = max(bins[place : place + settings.last])
            within.append([most <= found.requests(level) for level in LEVELS])
            asked, came = asked + found.requests(LEVELS[-1]), came + most
        state = observe(state, float(place * settings.bin_s), [bins[place]], settings.bin_s)
    if not within:
        return (math.nan,) * len(LEVELS), math.nan, 0
    return tuple(np.mean(within, axis=0).tolist()), asked / max(came, 1.0), len(within) // settings.last
