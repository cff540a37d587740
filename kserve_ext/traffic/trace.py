"""A request trace as text (`t_s,<service>...`, one row for each step) read into counts, or refused with every fault.

A row is the number of requests that arrived in [t_s, t_s + step). Steps are equal, whole seconds, without gaps.
Text in, traces out; the caller opens the file. `counts` and `step_s` are what the simulator's arrivals take.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

from kserve_ext.errors import InputError, Problem

_TIME = "t_s"
_SHOWN = 20  # faults listed; a file of another kind has one in every line
_FORMAT = "a header t_s,<service>... and below it one row of whole counts for each step"
_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{0,9})?", re.ASCII)  # millions of such numbers still add up in 64 bits

Row = tuple[int, list[str]]  # line, cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests of one service, one count for each step from `start_s` on."""

    service: str
    start_s: int
    step_s: int
    counts: tuple[int, ...]

    @property
    def duration_s(self) -> int:
        return len(self.counts) * self.step_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    source: str
    line: int  # of the header
    header: list[str]
    rows: Sequence[Row]


def read_trace(text: str, source: str, service: str | None = None) -> Trace:
    """The trace of one service. A file with several needs `service`, the name of a column. Raises InputError.

    `source` is what errors call the text: its file's name.
    """
    table = _table(text, source)
    return _traces(table, (_column(table, service),))[0]


def read_traces(text: str, source: str) -> tuple[Trace, ...]:
    """The traces of all services in the file, in the order of its columns. Raises InputError."""
    table = _table(text, source)
    return _traces(table, range(1, len(table.header)))


def _table(text: str, source: str) -> _Table:
    rows = _rows(text, source)
    if not rows:
        raise InputError(Problem(what="no trace", file=source, found="an empty file", allowed=_FORMAT))
    line, header = rows[0]
    table = _Table(source=source, line=line, header=header, rows=rows[1:])
    if problems := [*_header_problems(table)]:
        raise InputError(*problems)
    return table


def _rows(text: str, source: str) -> list[Row]:
    """Lines that are not blank, with their numbers; any line ending and a byte order mark are as good as another."""
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=None))
    try:
        return [(lines.line_num, cells) for row in lines if any(cells := [cell.strip() for cell in row])]
    except csv.Error as error:
        raise InputError(
            Problem(what=f"not CSV: {error}", file=source, line=lines.line_num, allowed=_FORMAT)
        ) from error


def _header_problems(table: _Table) -> Iterator[Problem]:
    names = table.header[1:]
    if table.header[0] != _TIME or not names:
        found = ",".join(table.header)[:80]
        yield Problem(what="not a header", file=table.source, line=table.line, found=found, allowed=_FORMAT)
    for name, times in Counter(names).items():
        if times > 1 or not name:
            what = "column named twice" if name else "column without a name"
            yield Problem(what=what, file=table.source, line=table.line, found=repr(name))
    if len(table.rows) < 2:
        found = f"{len(table.rows)} below the header"
        yield Problem(what="too short: the step is the difference of two rows", file=table.source, found=found,
                      allowed="2 rows or more")  # fmt: skip


def _column(table: _Table, service: str | None) -> int:
    names = table.header[1:]
    if service is None and len(names) == 1:
        return 1
    if service in names:
        return table.header.index(service, 1)
    what = "several services" if service is None else "no such column"
    nearest = get_close_matches(service or "", names, n=1)
    remedy = f"did you mean {nearest[0]}?" if nearest else "name one of the columns"
    allowed = ", ".join(names)
    problem = Problem(what=what, file=table.source, line=table.line, found=service or "", allowed=allowed)
    raise InputError(problem, remedy=remedy)


def _traces(table: _Table, columns: Sequence[int]) -> tuple[Trace, ...]:
    problems = [*_row_problems(table, columns)]
    if not problems:
        times = [float(cells[0]) for _, cells in table.rows]
        problems = [*_time_problems(table, times)]
    if problems:
        raise InputError(*_few(problems, table.source))
    return tuple(
        Trace(service=table.header[column], start_s=int(times[0]), step_s=int(times[1] - times[0]),
              counts=tuple(int(float(cells[column])) for _, cells in table.rows))
        for column in columns
    )  # fmt: skip


def _row_problems(table: _Table, columns: Sequence[int]) -> Iterator[Problem]:
    """What is wrong with a row by itself."""
    width = len(table.header)
    for line, cells in table.rows:
        if len(cells) != width:
            yield Problem(what="wrong number of cells", file=table.source, line=line, found=str(len(cells)),
                          allowed=str(width))  # fmt: skip
            continue
        for column in (0, *columns):
            if fault := _fault(cells[column], time=column == 0):
                yield Problem(what=fault, file=table.source, line=line, field=table.header[column],
                              found=repr(cells[column]), allowed="whole seconds" if column == 0 else
                              "a whole number of requests, 0 or more")  # fmt: skip


def _fault(cell: str, *, time: bool) -> str:
    if not _NUMBER.fullmatch(cell):
        return "not a plain number" if cell else "no number"
    if (value := float(cell)) != int(value):
        return "not a whole number"
    return "" if time or value >= 0 else "negative count"


def _time_problems(table: _Table, times: Sequence[float]) -> Iterator[Problem]:
    """Where time does not go on by the step, which is the most frequent difference of two rows."""
    forward = Counter(later - earlier for earlier, later in pairwise(times) if later > earlier)
    step = max(forward, key=lambda each: (forward[each], -each), default=1.0)
    for (line, _), (earlier, later) in zip(table.rows[1:], pairwise(times), strict=True):
        if later - earlier != step:
            yield Problem(what=_break(later - earlier, step), file=table.source, line=line, field=_TIME,
                          found=f"{later:.0f} after {earlier:.0f}", allowed=f"{earlier + step:.0f}")  # fmt: skip


def _break(difference: float, step: float) -> str:
    if difference <= 0:
        return "unsorted time" if difference else "the same time twice"
    rows, rest = divmod(difference, step)
    return "uneven step" if rest or rows < 2 else f"gap of {rows - 1:.0f} row{'s' if rows > 2 else ''}"


def _few(problems: list[Problem], source: str) -> list[Problem]:
    more = len(problems) - _SHOWN
    return problems if more <= 0 else [*problems[:_SHOWN], Problem(what=f"and {more} more faults", file=source)]
