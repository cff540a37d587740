"""A table as data: what the template prints, whatever it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value of a table, a small note beside it, and whether it is good or bad news."""

    text: str
    note: str = ""
    tone: str = ""  # good | bad | ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Column heads and rows; the first cell of a row is its head."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def plain_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without notes."""
    cells = tuple(tuple(Cell(text=text) for text in row) for row in rows)
    return Table(caption=caption, head=tuple(head), rows=cells)
