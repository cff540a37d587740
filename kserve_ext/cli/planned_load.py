"""A trace instead of a rate range: options of the commands that plan, and the service with the rates of its load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kserve_ext.domain import Service
    from kserve_ext.policy.load import Load

TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", help="Plan for the load in this CSV (t_s,SERVICE,…) instead of the rate annotated."),
]
ColumnOption = Annotated[
    str | None, typer.Option("--service", help="Column of the trace; the service's name if there are several.")
]
ShareOption = Annotated[
    str, typer.Option("--peak-share", help="Share of the trace's requests that come at the busy rate or below.")
]
PLANNED_SHARE = "99.9%"


def with_load(
    service: Service, trace: Path | None, column: str | None, share: str, rate: str | None = None
) -> tuple[Service, Load | None]:
    """The service with the quiet and the busy rate of the trace, and the load itself. Raises InputError."""
    if trace is None:
        return service, None
    from kserve_ext.errors import InputError, Problem

    if rate is not None:
        raise InputError(Problem(field="--rate, --trace", what="both given", allowed="one of them"))
    from kserve_ext.cli.case_options import parse_share
    from kserve_ext.cli.shared import option
    from kserve_ext.files import read_text
    from kserve_ext.policy.load import Load, rate_range
    from kserve_ext.traffic import read_trace

    text, wanted = read_text(trace), option("--peak-share", share, parse_share)
    if column is None and len(text.partition("\n")[0].split(",")) > 2:  # several columns: the service's own, if any
        column = service.intent.name
    read = read_trace(text, str(trace), column)
    load = Load(
        rates_rps=tuple(count / read.step_s for count in read.counts), step_s=read.step_s, start_s=read.start_s,
        source=f"{trace.name} ({read.service})",
    )  # fmt: skip
    return replace(service, intent=replace(service.intent, rate=rate_range(load, wanted))), load
