"""traffic: what kind of load a trace holds, and what follows from it."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.formats import Format, PageFormat
from kserve_ext.cli.shared import option

if TYPE_CHECKING:
    from kserve_ext.traffic import Trace, Traffic


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("traffic")(traffic_command)


def traffic_command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV with a header t_s,<service>…; - for standard input.")
    ],
    service: Annotated[
        str | None, typer.Option("--service", help="Column to look at; all of them if left out.")
    ] = None,
    cold_start: Annotated[
        str, typer.Option("--cold-start", help="From the decision for a replica until it is ready, e.g. 35s.")
    ] = "35s",
    output: Annotated[PageFormat, typer.Option("--output", "-o", help="How the result is shown.")] = PageFormat.TABLE,
    out: Annotated[Path | None, typer.Option("--out", help="File to write instead of standard output.")] = None,
) -> None:
    """Tell what kind of load a trace holds: level, seasons, bursts, spikes, idle time, and how to scale for it.

    A row of the CSV is the number of requests that arrived from t_s until the t_s of the next row.

    Example:  kserve-ext traffic benchmarks/data/azure_functions_2019_days_1_7.csv --service dense_a
    """
    from kserve_ext.traffic import analyse
    from kserve_ext.units import parse_duration_s

    start_up_s = option("--cold-start", cold_start, parse_duration_s)
    traces = _traces(file, service)
    loads = [analyse(trace, start_up_s=start_up_s) for trace in traces]
    if out is None:
        _show(traces, loads, output, file)
        return
    from kserve_ext.files import write_text

    with contextlib.redirect_stdout(io.StringIO()) as text:
        _show(traces, loads, output, file)
    write_text(out, text.getvalue())


def _traces(file: str, service: str | None) -> tuple[Trace, ...]:
    from kserve_ext.files import read_text
    from kserve_ext.traffic import read_trace, read_traces

    text = sys.stdin.read() if file == "-" else read_text(Path(file))
    return (read_trace(text, file, service),) if service is not None else read_traces(text, file)


def _show(traces: Sequence[Trace], loads: Sequence[Traffic], output: PageFormat, file: str) -> None:
    from kserve_ext.cli import output as show

    if output is PageFormat.HTML:
        from kserve_ext import __version__
        from kserve_ext.report.traffic import render_traffic

        sys.stdout.write(render_traffic(traces, loads, source=file, generated_by=f"kserve-ext {__version__}"))
    elif output is not PageFormat.TABLE:
        show.emit(list(loads) if len(loads) > 1 else loads[0], Format(output.value))
    else:
        for trace, load in zip(traces, loads, strict=True):
            _show_table(trace, load)


def _show_table(trace: Trace, load: Traffic) -> None:
    from kserve_ext.cli import output as show
    from kserve_ext.traffic.wording import bars, headline, lines, setting, span

    held = f"{span(load.duration_s)} in steps of {span(load.step_s)}, {load.requests:,} requests"
    show.say(f"{load.service}: {headline(load)}", style="bold")
    show.say(f"{bars(trace.counts)}  {held}")
    show.table(("measure", "what the trace shows"), lines(load))
    advised = [
        (reason.field.removesuffix("_s"), setting(load.advice, reason.field), reason.text)
        for reason in load.advice.reasons
    ]
    show.table(("setting", "advice", "why"), advised)
    for note in load.notes:
        show.say(f"note: {note.text}", style="dim")
    show.say("")
