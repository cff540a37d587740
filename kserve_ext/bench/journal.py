"""What a long measurement has finished, one JSON line each, so that an interrupted one goes on where it stopped.

The first line says what is measured; a journal of anything else is started anew. A line cut short is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kserve_ext.errors import KserveExtError

FILE_NAME = "points.jsonl"


class Journal:
    """Values by key; without a folder they are kept in memory only."""

    def __init__(self, folder: Path | None, subject: Mapping[str, Any]) -> None:
        self._path = folder / FILE_NAME if folder else None
        self._values: dict[str, Any] = {}
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lines = _read(self._path)
            if lines and lines[0] == {"subject": subject}:
                self._values = {line["key"]: line["value"] for line in lines[1:]}
            if not self._values:
                self._path.write_text(json.dumps({"subject": subject}) + "\n", encoding="utf-8")
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def put(self, key: str, value: Any) -> None:
        """Keep a finished value; it is on disk when this returns."""
        self._values[key] = value
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write("\n" * _unfinished(self._path) + json.dumps({"key": key, "value": value}) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def close(self) -> None:
        """All is finished: the next measurement starts anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _read(path: Path) -> list[Any]:
    lines = []
    with contextlib.suppress(FileNotFoundError):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(text))
    return [line for line in lines if isinstance(line, dict) and ("subject" in line or {"key", "value"} <= set(line))]


def _unfinished(path: Path) -> bool:
    """Whether the last line was cut short."""
    content = path.read_bytes()
    return bool(content) and not content.endswith(b"\n")


def _unwritable(path: Path, error: OSError) -> KserveExtError:
    return KserveExtError(f"{path}: cannot be written: {error.strerror}", remedy="give another folder, or make room")
