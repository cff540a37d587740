"""The tallies of all workers of one server, through a folder: each writes its own file, whoever is asked adds them up.

A file outlives its worker, so counters never go back. Without a folder there is one worker, and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from kserve_ext.serving.metrics import Key, add
from kserve_ext.serving.tally import Tally

_PREFIX = "tally-"


def write(folder: Path, worker: str, tallies: Mapping[Key, Tally]) -> None:
    """This worker's tallies, whole or not at all."""
    rows = [{"key": key, **asdict(tally)} for key, tally in tallies.items()]
    path = folder / f"{_PREFIX}{worker}"
    partly = folder / f".{_PREFIX}{worker}"
    partly.write_bytes(orjson.dumps(rows, option=orjson.OPT_NON_STR_KEYS))  # no fsync: nothing outlives the server
    os.replace(partly, path)


def read(folder: Path) -> dict[Key, Tally]:
    """The sums over all workers, those that have ended included."""
    found: dict[Key, list[Tally]] = {}
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        for key, tally in _tallies(orjson.loads(path.read_bytes())):
            found.setdefault(key, []).append(tally)
    return {key: add(tallies) for key, tallies in found.items()}


def _tallies(rows: Iterable[dict[str, Any]]) -> Iterable[tuple[Key, Tally]]:
    for row in rows:
        model, version = row.pop("key")
        row["batches"] = {int(size): sums for size, sums in row["batches"].items()}
        yield (model, version), Tally(**row)
