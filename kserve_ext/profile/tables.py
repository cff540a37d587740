"""Profiles from other profilers, given as CSV.

Columns: `batch` (rows per execution) and one of `latency_s`, `latency_ms`, `latency_us` (mean time of one execution)
are needed; `instances` (busy side by side, 1 if left out), `p50_…`, `p90_…`, `p99_…` in the latency's unit, `count`,
`memory_bytes` and `throughput_rps` (rows per second of all instances at saturation; it then sets the mean, since it
says how long an instance is really taken) may be given. Other columns are refused by name, so that a misspelt one is
not lost.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

from kserve_ext.domain import Profile, Quantiles, ServicePoint, StageProfile
from kserve_ext.errors import Problem, ProfileError

_UNIT_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_Row = Mapping[str | None, Any]  # cells by column; cells beyond the header under None, missing ones are None
_PLAIN = ("batch", "instances", "count", "memory_bytes", "throughput_rps")


def import_csv(text: str, file: str, *, model: str, hardware: str, overhead_s: float, load_s: float) -> Profile:
    """A profile from a table of measured latencies.

    A table says nothing of the request's path and the model's start: `overhead_s` (client, network, front end) and
    `load_s` are the caller's. Raises ProfileError with the line of every fault.
    """
    columns, rows = _read(text, file)
    unit = _unit(columns, file)
    points: dict[tuple[int, int], ServicePoint] = {}
    problems: list[Problem] = []
    memory_bytes = 0.0
    for line, row in rows:
        try:
            point = _point(row, unit)
            if points.setdefault((point.instances, point.batch), point) is not point:
                raise ValueError(f"batch {point.batch} with {point.instances} instances stands in the table twice")
            memory_bytes = max(memory_bytes, _number(row, "memory_bytes") if row.get("memory_bytes") else 0.0)
        except ValueError as error:
            problems.append(Problem(file=file, line=line, what=str(error)))
    if not rows:
        problems.append(Problem(file=file, what="no rows", allowed="a header line and at least one row"))
    if problems:
        raise ProfileError(*problems)
    stage = StageProfile(
        model=model,
        max_batch=max(batch for _, batch in points),
        points=tuple(points[key] for key in sorted(points)),
        memory_loaded_bytes=memory_bytes,
        memory_peak_bytes=memory_bytes,
    )
    return Profile(
        model=model,
        hardware=hardware,
        model_digest="",
        stages=(stage,),
        overhead_s=Quantiles(probabilities=(0.5,), values=(overhead_s,)),
        load_s=load_s,
        cpu_per_request_s=0.0,
        memory_server_bytes=0.0,
        host={"source": file},
        versions={},
        measured_at="",
    )


def _read(text: str, file: str) -> tuple[tuple[str, ...], list[tuple[int, _Row]]]:
    """The columns, and every row with its line. A byte order mark, as spreadsheets write it, is skipped."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=None), skipinitialspace=True)
    try:
        return tuple(reader.fieldnames or ()), [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ProfileError(Problem(file=file, line=reader.line_num + 1, what=f"not CSV: {error}")) from error


def _unit(columns: tuple[str, ...], file: str) -> str:
    units = [unit for unit in _UNIT_S if f"latency_{unit}" in columns]
    if len(units) != 1 or "batch" not in columns:
        raise ProfileError(
            Problem(file=file, line=1, what="the columns do not say batch and latency", found=", ".join(columns),
                    allowed="batch and one of latency_s, latency_ms, latency_us")
        )  # fmt: skip
    unit = units[0]
    known = {*_PLAIN, f"latency_{unit}", *(f"{name}_{unit}" for name in _QUANTILES)}
    unknown = [column or "one without a name" for column in columns if column not in known]
    if unknown:
        raise ProfileError(
            Problem(
                file=file, line=1, what="unknown column", found=", ".join(unknown), allowed=", ".join(sorted(known))
            )
        )
    return unit


def _point(row: _Row, unit: str) -> ServicePoint:
    if None in row:
        raise ValueError(f"more cells than columns: {', '.join(row[None] or ())}")
    batch = _whole(row, "batch", "")
    instances, count = (_whole(row, name, "1") for name in ("instances", "count"))
    latency_s = _seconds(row, f"latency_{unit}", unit)
    mean_s = instances * batch / _number(row, "throughput_rps") if row.get("throughput_rps") else latency_s
    given = {p: _seconds(row, f"{name}_{unit}", unit) for name, p in _QUANTILES.items() if row.get(f"{name}_{unit}")}
    quantiles = given or {0.5: latency_s}
    if list(quantiles.values()) != sorted(quantiles.values()):
        raise ValueError("quantiles must not fall: p50 <= p90 <= p99")
    return ServicePoint(
        batch=batch,
        instances=instances,
        requests=1,
        count=count,
        mean_s=mean_s,
        quantiles_s=Quantiles(probabilities=tuple(quantiles), values=tuple(quantiles.values())),
        server_compute_s=mean_s,
    )


def _whole(row: _Row, name: str, default: str) -> int:
    text = row.get(name) or default
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name}: a whole number of at least 1 is needed, found {text!r}")
    return int(text)


def _seconds(row: _Row, name: str, unit: str) -> float:
    return _number(row, name) * _UNIT_S[unit]


def _number(row: _Row, name: str) -> float:
    text = row.get(name) or ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: a number above zero is needed, found {text!r}")
    return value
