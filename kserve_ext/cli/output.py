"""What a command shows: a table for people, JSON or YAML for programs, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kserve_ext.cli.formats import Format


def plain(value: Any) -> Any:
    """A result as plain dicts, lists and scalars, ready for JSON or YAML."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.9g}")  # the tenth digit is noise of the arithmetic
    return str(value) if isinstance(value, StrEnum) else value


def emit(value: Any, form: Format) -> None:
    """Print a result as JSON or YAML on standard output."""
    if form is Format.JSON:
        sys.stdout.write(json.dumps(plain(value), indent=2) + "\n")
    else:
        import yaml

        sys.stdout.write(yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True, width=120))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print a table on standard output; a long last column is wrapped inside its own width."""
    grid = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        grid.add_column(column, no_wrap=index < len(columns) - 1, overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    Console().print(grid)


def say(text: str, *, style: str | None = None) -> None:
    """Print a line for people on standard output, without interpreting markup."""
    Console(soft_wrap=True, emoji=False).print(text, style=style, markup=False, highlight=False)


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line of progress on standard error."""
    if not quiet:
        Console(stderr=True, soft_wrap=True, emoji=False).print(text, markup=False, highlight=False)


def fail(message: str, remedy: str) -> None:
    """Print an error and what to do about it on standard error."""
    console = Console(stderr=True, soft_wrap=True, emoji=False)
    for index, line in enumerate(message.splitlines() or [""]):
        console.print("error: " if index == 0 else "       ", style="bold red", end="", markup=False)
        console.print(line, markup=False, highlight=False)
    for index, line in enumerate(remedy.splitlines()):
        console.print(" hint: " if index == 0 else "       ", style="bold", end="", markup=False)
        console.print(line, markup=False, highlight=False)
