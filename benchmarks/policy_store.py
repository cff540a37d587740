"""What a bench of many minutes has found so far: one report for each case in out/bench/policy, so that it can be resumed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.policy_runs import Report, Row
from kserve_ext.files import write_text

_FOLDER = Path("out") / "bench" / "policy"
_TUPLES = ("oracle", "oracle_awake", "hindsight", "learned", "perfect", "coverage")


def keep(report: Report, tag: str) -> None:
    """Write a report; `tag` says which of several kinds of run it is from."""
    write_text(_path(report.name, report.start_up_s, tag), json.dumps(asdict(report)) + "\n")


def kept(name: str, start_up_s: float, tag: str) -> Report | None:
    """The report of an earlier run that was broken off, if it got so far."""
    path = _path(name, start_up_s, tag)
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    record["rows"] = tuple(Row(**row) for row in record["rows"])
    return Report(**record | {field: tuple(record[field]) for field in _TUPLES})


def forget() -> None:
    """Begin anew."""
    for path in _FOLDER.glob("*.json"):
        path.unlink()


def _path(name: str, start_up_s: float, tag: str) -> Path:
    return _FOLDER / f"{name}-{start_up_s:.0f}{tag}.json"
