"""What a benchmark reports: named figures with their rounds and spread, as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kserve_ext import files

OUT = Path("out") / "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One result. `spread` is the largest less the smallest round; `ratio` is value / baseline where there is one."""

    name: str
    value: float
    unit: str
    baseline: str = ""
    ratio: float | None = None
    rounds: int = 1
    spread: float = 0.0


def median_figure(
    name: str, values: Sequence[float], unit: str, *, baseline: str = "", ratio: float | None = None
) -> Figure:
    """The median of several rounds, with their number and spread."""
    return Figure(
        name=name,
        value=statistics.median(values),
        unit=unit,
        baseline=baseline,
        ratio=ratio,
        rounds=len(values),
        spread=max(values) - min(values),
    )


def publish(bench: str, figures: Sequence[Figure]) -> Path:
    """Print the figures as a table and write them to out/bench/BENCH.json."""
    width = max(len(figure.name) for figure in figures)
    print(f"{'figure':{width}}  {'value':>12}  unit      rounds     spread   ratio  baseline")
    for figure in figures:
        ratio = f"{figure.ratio:7.3g}" if figure.ratio is not None else "      -"
        print(
            f"{figure.name:{width}}  {figure.value:12.5g}  {figure.unit:8}  {figure.rounds:6d}  {figure.spread:9.3g} "
            f"{ratio}  {figure.baseline or '-'}"
        )
    path = OUT / f"{bench}.json"
    files.write_text(path, json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    print(f"wrote {path}")
    return path
