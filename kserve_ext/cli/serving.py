"""run, up: a model served on this machine by the embedded Triton."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.formats import Format
from kserve_ext.cli.shared import (
    REPOSITORY,
    OutputOption,
    QuietOption,
    RepositoryOption,
    manifest_folder,
    one_service,
)

if TYPE_CHECKING:
    from kserve_ext.run import RunResult

OneManifest = Annotated[str, typer.Argument(metavar="MANIFEST", help="InferenceService file, or - for standard input.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for the bundle, the report, the profile and the log.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("run")(run_command)
    app.command("up")(up)


def run_command(
    manifest: OneManifest,
    repository: RepositoryOption = REPOSITORY,
    out: OutOption = Path("out"),
    reprofile: Annotated[
        bool, typer.Option("--reprofile", help="Measure again even where a profile is current.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the arrival times.")] = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Profile, plan, render, serve and load a model, and compare with what was predicted and with no tuning.

    Exit code 0 only when the SLO held.

    Example:  kserve-ext run manifests/examples/digits.yaml --out out
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cli.progress import progress_bar
    from kserve_ext.run import run

    service = one_service(manifest)
    with progress_bar(quiet=quiet) as progress:
        result = run(
            service,
            repository,
            out,
            beside=manifest_folder(service),
            reprofile=reprofile,
            seed=seed,
            say=lambda text: show.note(text, quiet=quiet),
            progress=progress,
        )
    if output is Format.TABLE:
        _show(result)
    else:
        show.emit(result.record(), output)
    raise typer.Exit(0 if result.held else 1)


def _show(result: RunResult) -> None:
    from kserve_ext.bench.table import COLUMNS, figures
    from kserve_ext.cli import output as show
    from kserve_ext.units import format_duration

    plan = result.plan
    rows = [("predicted", *figures(plan.prediction))]
    rows += [(f"measured, {protocol}", *figures(seen)) for protocol, seen in result.measured.items()]
    rows.append((f"untuned, {plan.protocol}", *figures(result.untuned)))
    show.table(
        COLUMNS, rows,
        title=f"{plan.service}: {plan.prediction.rate_rps:.4g} rps on one of {plan.replicas_at_high_rate} replica(s), "
        f"SLO p99 {format_duration(plan.slo.p99_s)}",
    )  # fmt: skip
    show.say(f"SLO {result.outcome}: {result.verdict}", style="bold green" if result.held else "bold red")
    show.say(f"report: {result.out / 'report.html'}")


def up(
    manifest: OneManifest,
    repository: RepositoryOption = REPOSITORY,
    out: OutOption = Path("out"),
    http_port: Annotated[int | None, typer.Option("--http-port", help="Port for HTTP; free one if left out.")] = None,
    grpc_port: Annotated[int | None, typer.Option("--grpc-port", help="Port for gRPC; free one if left out.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Serve a model as planned, on this machine, until Ctrl-C.

    Example:  kserve-ext up manifests/examples/emulated.yaml --http-port 8080
    """
    from kserve_ext import files
    from kserve_ext.cli import output as show
    from kserve_ext.cli.planning import decide
    from kserve_ext.domain import Protocol
    from kserve_ext.hosting import hosted, until_stopped

    service = one_service(manifest)
    plan = decide(service, repository)
    models = (plan.model, *(neighbour.model for neighbour in plan.neighbours))
    with (
        files.exclusive(out),
        hosted(repository, *models, log_file=out / "triton.log", http_port=http_port, grpc_port=grpc_port) as host,
    ):
        host.load_planned(plan.all_stages)
        for protocol in Protocol:
            show.say(f"{protocol}: {host.url(protocol)} model{'s' if len(models) > 1 else ''} {', '.join(models)}")
        show.note(f"serving; log in {out / 'triton.log'}; Ctrl-C stops it", quiet=quiet)
        until_stopped(host)
    show.note("stopped", quiet=quiet)
