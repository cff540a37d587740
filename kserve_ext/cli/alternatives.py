"""plan --alternatives: what else a service could run on, and what a request costs there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.formats import Format

if TYPE_CHECKING:
    from kserve_ext.domain import Service
    from kserve_ext.policy.fleet import Alternatives

AlternativesOption = Annotated[
    bool,
    typer.Option(
        "--alternatives", help="Plan every hardware kind allowed, with its cost per million requests; needs --fleet."
    ),
]
PricesOption = Annotated[
    Path | None, typer.Option("--fleet", help="With --alternatives: the fleet file, with pools and their prices.")
]
PageOption = Annotated[
    Path | None, typer.Option("--html", help="With --alternatives: page to write, with the Pareto front drawn.")
]


def check_alternatives(alternatives: bool, fleet: Path | None, html: Path | None) -> None:
    """Refuse options that belong together and do not come together."""
    from kserve_ext.errors import InputError, Problem

    if alternatives and fleet is None:
        remedy = "`kserve-ext fleet from-nodes` makes a fleet file of a cluster's nodes"
        raise InputError(Problem(field="--fleet", what="missing", allowed="a fleet file"), remedy=remedy)
    for option, value in (("--fleet", fleet), ("--html", html)):
        if value is not None and not alternatives:
            problem = Problem(
                field=option, what="means nothing here", found=str(value), allowed="with --alternatives only"
            )
            raise InputError(problem)


def show_alternatives(
    services: list[Service], fleet: Path | None, html: Path | None, repository: Path, output: Format, quiet: bool
) -> None:
    """Print the alternatives of one service, and draw them where a page is asked for."""
    from kserve_ext import fleets
    from kserve_ext.cli import output as show
    from kserve_ext.errors import InputError, Problem
    from kserve_ext.files import read_text, write_text
    from kserve_ext.plugins import plan_with
    from kserve_ext.policy.fleet import alternatives, read_fleet

    assert fleet is not None  # checked before
    if len(services) != 1:
        what = "alternatives are planned for one service"
        raise InputError(Problem(what=what, found=f"{len(services)} services", allowed="one"))
    (wanted,) = fleets.wanted_services(services, repository)
    found = alternatives(wanted.intent, wanted.profiles, read_fleet(read_text(fleet), str(fleet)), plan_with)
    if html is not None:
        from kserve_ext.report.alternatives import render_alternatives

        write_text(html, render_alternatives(found))
        show.note(f"wrote {html}", quiet=quiet)
    if output is not Format.TABLE:
        show.emit(found, output)
        return
    _show_table(found)


def _show_table(found: Alternatives) -> None:
    from kserve_ext.cli import output as show
    from kserve_ext.units import format_duration

    rows = [
        (
            "*" if one.best else "", one.kind, one.pool, str(one.replicas), str(one.spot_replicas),
            format_duration(one.slo_p99_s), format_duration(one.p99_s),
            "-" if one.cost_per_million is None else f"{one.cost_per_million:.4g}",
        )
        for one in found.found
    ]  # fmt: skip
    show.say(
        f"{found.service} at {found.rate_rps:g} rps, cost per million requests; * no other is faster and cheaper",
        style="bold",
    )
    show.table(("", "runs on", "pool", "replicas", "on spot", "SLO", "p99", "per million"), rows)
    for reason in found.refused:
        show.say(f"{reason.field}: {reason.text}", style="yellow")
