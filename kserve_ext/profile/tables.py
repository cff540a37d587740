"""Profiles from other profilers, given as CSV.

Columns: `batch` (rows per execution) and one of `latency_s`, `latency_ms`, `latency_us` (mean time of one execution)
are needed; `instances` (busy side by side, 1 if left out), `p50_…`, `p90_…`, `p99_…` in the latency's unit, `count`
and `memory_bytes` may be given. Other columns are refused by name, so that a misspelt one is not lost.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from kserve_ext.domain import Profile, Quantiles, ServicePoint, StageProfile
from kserve_ext.errors import Problem, ProfileError

_UNIT_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_PLAIN = ("batch", "instances", "count", "memory_bytes")


def import_csv(text: str, file: str, *, model: str, hardware: str, overhead_s: float, load_s: float) -> Profile:
    """A profile from a table of measured latencies.

    A table says nothing of the request's path and the model's start: `overhead_s` (client, network, front end) and
    `load_s` are the caller's. Raises ProfileError with the line of every fault.
    """
    reader = csv.DictReader(io.StringIO(text))
    unit = _unit(tuple(reader.fieldnames or ()), file)
    points: list[ServicePoint] = []
    problems: list[Problem] = []
    memory_bytes = 0.0
    for row in reader:
        try:
            points.append(_point(row, unit))
            memory_bytes = max(memory_bytes, float(row.get("memory_bytes") or 0))
        except ValueError as error:
            problems.append(Problem(file=file, line=reader.line_num, what=str(error)))
    if not points and not problems:
        problems.append(Problem(file=file, what="no rows", allowed="a header line and at least one row"))
    if problems:
        raise ProfileError(*problems)
    stage = StageProfile(
        model=model,
        max_batch=max(point.batch for point in points),
        points=tuple(sorted(points, key=lambda point: (point.instances, point.batch))),
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


def _unit(columns: tuple[str, ...], file: str) -> str:
    units = [unit for unit in _UNIT_S if f"latency_{unit}" in columns]
    if len(units) != 1 or "batch" not in columns:
        raise ProfileError(
            Problem(file=file, line=1, what="the columns do not say batch and latency", found=", ".join(columns),
                    allowed="batch and one of latency_s, latency_ms, latency_us")
        )  # fmt: skip
    unit = units[0]
    known = {*_PLAIN, f"latency_{unit}", *(f"{name}_{unit}" for name in _QUANTILES)}
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise ProfileError(
            Problem(
                file=file, line=1, what="unknown column", found=", ".join(unknown), allowed=", ".join(sorted(known))
            )
        )
    return unit


def _point(row: Mapping[str, str | None], unit: str) -> ServicePoint:
    batch, instances, count = (_whole(row, name) for name in ("batch", "instances", "count"))
    mean_s = _seconds(row, f"latency_{unit}", unit)
    given = {p: _seconds(row, f"{name}_{unit}", unit) for name, p in _QUANTILES.items() if row.get(f"{name}_{unit}")}
    quantiles = given or {0.5: mean_s}
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


def _whole(row: Mapping[str, str | None], name: str) -> int:
    text = row.get(name) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name}: a whole number of at least 1 is needed, found {text!r}")
    return int(text)


def _seconds(row: Mapping[str, str | None], name: str, unit: str) -> float:
    text = row.get(name) or ""
    try:
        value = float(text) * _UNIT_S[unit]
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}: a number above zero is needed, found {text!r}")
    return value
