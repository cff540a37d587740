"""A progress bar on standard error; a line per tenth where that is not a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[int, int, str], None]  # done, total, what is being done


@contextlib.contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Report]:
    """A function that shows how far long work has come."""
    if quiet:
        yield lambda done, total, label: None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _lines()


def _bar() -> Iterator[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None, visible=False)

        def report(done: int, total: int, label: str) -> None:
            shown.update(task, completed=done, total=total, description=label, visible=done < total)

        yield report


def _lines() -> Report:
    tenths = {-1}

    def report(done: int, total: int, label: str) -> None:
        tenth = 10 * done // max(1, total)
        if tenth not in tenths:
            tenths.add(tenth)
            sys.stderr.write(f"{done}/{total} {label}\n")
            sys.stderr.flush()

    return report
