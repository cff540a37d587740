"""What the bench of policies prints: a table for each case, why a bar was missed, and all traces at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks import policy_cases
from benchmarks.policy_runs import ASKED, LEVELS, Report, Row


def misses(found: Report, row: Row) -> list[str]:
    """What a row of ours falls short of."""
    bar = policy_cases.bar(found.name)
    return [
        *(["attainment"] if row.attained < row.asked else []),
        *([f"{bar:g} x"] if row.regret > bar else []),
        *([f"{bar:g} x awake"] if row.regret_awake > bar else []),
    ]


def show(found: Report) -> None:
    """Every policy on one case, and for each bar that ours misses what the gap is made of."""
    bounds = "  ".join(
        f"oracle at {asked:.1%} {billed:.3f}, awake {awake:.3f}"
        for asked, billed, awake in zip(ASKED, found.oracle, found.oracle_awake, strict=True)
    )
    print(f"\n{found.name}, start-up {found.start_up_s:.0f} s: work bound {found.work:.3f}  {bounds}")
    for asked, best, learned, least in zip(ASKED, found.hindsight, found.learned, found.oracle, strict=True):
        if not (math.isnan(best) and math.isnan(learned)):
            print(
                f"  KPA at {asked:.1%}: {learned:.2f} x with what held before, {best / least:.2f} x at best in hindsight"
            )
    print(f"  {'policy':14} {'asked':>6} {'attained':>9} {'billed':>8} {'regret':>7} {'awake':>7} {'ours there':>10}")
    for row in found.rows:
        _show_row(found, row)
    for asked in ASKED:
        if misses(found, found.row("ours", asked)):
            print(f"  {asked:.1%}: {_gap(found, asked)}")


def _show_row(found: Report, row: Row) -> None:
    own = row.policy == "ours"
    there = "" if own or row.attained < ASKED[0] else f"{found.ours_at(row.attained):10.3f}"
    awake = f"{row.regret_awake:7.3f}" if own else ""
    missed = misses(found, row) if own else []
    mark = ("  misses " + ", ".join(missed) if missed else "  holds") if own else ""
    print(
        f"  {row.policy:14} {row.asked:6.1%} {row.attained:9.3%} {row.billed:8.3f} {row.regret:7.3f} {awake:>7} "
        f"{there:>10}{mark}"
    )


def _gap(found: Report, asked: float) -> str:
    """The rungs from work to ours, at the level that ours attains: integrality and noise, chance, forecast."""
    row = found.row("ours", asked)
    oracle, perfect = row.billed / row.regret, found.perfect[ASKED.index(asked)]
    rungs = f"work {found.work:.2f} {oracle - found.work:+.2f} for whole replicas and noise = oracle {oracle:.2f}"
    if math.isnan(perfect):
        return rungs
    rest = f"{rungs}; {oracle * (perfect - 1):+.2f} for chance that a known rate leaves ({perfect:.2f} x)"
    rest += f"; {row.billed - oracle * perfect:+.2f} for not knowing the rate ({row.regret:.2f} x)"
    reach = (
        f": {policy_cases.bar(found.name):g} x is out of reach even of who knows the rate"
        if perfect > policy_cases.bar(found.name)
        else ""
    )
    return rest + reach


def show_all(reports: Sequence[Report]) -> None:
    """Ours on every trace, then its forecasts."""
    if not reports:
        return
    print(
        f"\n{'trace':10} {'start-up':>8} {'bar':>5}"
        + "".join(f"{f'attained, x at {asked:.1%}':>24}" for asked in ASKED)
    )
    for found in reports:
        cells = []
        for asked in ASKED:
            row = found.row("ours", asked)
            mark = "*" if misses(found, row) else " "
            cells.append(f"{row.attained:10.3%} {row.regret:6.3f} ({row.regret_awake:.2f}){mark}".rjust(24))
        print(f"{found.name:10} {found.start_up_s:7.0f}s {policy_cases.bar(found.name):5.2f}" + "".join(cells))
    print("  * misses a bar; in brackets beside the oracle that is awake for every request")
    print(
        f"\n{'trace':10} {'start-up':>8} {'windows':>8}"
        + "".join(f"{f'within {level:.0%}':>24}" for level in LEVELS)
        + "  over-provision"
    )
    for found in reports:
        cells = [
            f"{covered:.3f} (chance {_chance(level, found.windows):.3f})".rjust(24)
            for level, covered in zip(LEVELS, found.coverage, strict=True)
        ]
        print(
            f"{found.name:10} {found.start_up_s:7.0f}s {found.windows:8}"
            + "".join(cells)
            + f" {found.over_provision:14.2f}"
        )


def _chance(level: float, windows: int) -> float:
    """By how much the coverage of so many windows is off by chance alone: two standard deviations, each window by itself."""
    return 2.0 * math.sqrt(level * (1.0 - level) / max(windows, 1))
