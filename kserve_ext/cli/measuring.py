"""profile, verify: what a model costs, and whether an endpoint holds its SLO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.formats import Format
from kserve_ext.cli.shared import REPOSITORY, OutputOption, QuietOption, RepositoryOption, option
from kserve_ext.domain import Protocol

if TYPE_CHECKING:
    from kserve_ext.domain import Profile


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("profile")(profile)
    app.command("verify")(verify_command)


def profile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder in the model repository.")],
    repository: RepositoryOption = REPOSITORY,
    hardware: Annotated[str, typer.Option("--hardware", help="Name of the hardware kind that is measured.")] = "cpu",
    max_instances: Annotated[
        int | None, typer.Option("--max-instances", min=1, help="Most instances side by side; the cores if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; MODEL/profiles/HARDWARE.json if left out.")
    ] = None,
    import_csv: Annotated[
        Path | None,
        typer.Option("--import", help="Take the points from a CSV of another profiler instead of measuring."),
    ] = None,
    overhead: Annotated[
        str, typer.Option("--overhead", help="With --import: time of a request outside the model, e.g. 1ms.")
    ] = "1ms",
    load_time: Annotated[
        str, typer.Option("--load-time", help="With --import: time to load the model, e.g. 10s.")
    ] = "10s",
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from an interrupted measurement.")] = False,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Measure service times by batch size and instances through the real server, and keep them.

    A CSV has the columns batch and latency_s (or latency_ms, latency_us), and optionally instances, count,
    p50_…, p90_…, p99_… and memory_bytes.

    Example:  kserve-ext profile digits --max-instances 2
    """
    from kserve_ext.cli import output as show
    from kserve_ext.library import profile_path, write_profile

    path = out or profile_path(repository, model, hardware)
    if import_csv is not None:
        measured = _imported(import_csv, model, hardware, overhead, load_time)
    else:
        measured = _measured(repository, model, hardware, max_instances, fresh, quiet)
    write_profile(path, measured)
    if output is not Format.TABLE:
        show.emit(measured, output)
        return
    from kserve_ext.units import format_duration

    rows = [
        (stage.model, str(point.instances), str(point.batch), "merged" if point.requests > 1 else "client",
         format_duration(point.mean_s), f"{point.batch * point.instances / point.mean_s:.4g}", str(point.count))
        for stage in measured.stages for point in stage.points
    ]  # fmt: skip
    show.table(("model", "instances", "batch", "rows came", "mean", "rows/s", "executions"), rows)
    show.note(f"wrote {path}", quiet=quiet)


def verify_command(
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="http://host:port, https://…, grpc://host:port, grpcs://… or host:port."),
    ],
    model: Annotated[str, typer.Option("--model", help="Name of the model at the endpoint.")],
    slo_p99: Annotated[str, typer.Option("--slo-p99", help="What p99 must not exceed, e.g. 80ms.")],
    rate: Annotated[
        str | None, typer.Option("--rate", help="Open loop: Poisson arrivals at this rate, e.g. 200rps.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, help="Closed loop: so many requests in flight, instead of --rate."),
    ] = None,
    availability: Annotated[
        float, typer.Option("--availability", min=0.0, max=1.0, help="Least share answered.")
    ] = 0.999,
    duration: Annotated[str, typer.Option("--duration", help="How long to load, e.g. 20s.")] = "20s",
    protocol: Annotated[Protocol | None, typer.Option("--protocol", help="For a bare host:port.")] = None,
    authority: Annotated[str | None, typer.Option("--host", help="Host header, where a gateway routes by it.")] = None,
    samples: Annotated[
        Path | None, typer.Option("--samples", help="samples.json; random inputs of the model's shapes if left out.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the arrival times.")] = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Load a running endpoint, local or remote, and say whether it holds the SLO.

    Latency counts from the moment a request was due, so an endpoint that stalls is not spared.

    Example:  kserve-ext verify http://127.0.0.1:8080 --model digits --slo-p99 60ms --rate 200rps
    """
    from kserve_ext.bench.table import COLUMNS, figures
    from kserve_ext.bench.target import parse_target
    from kserve_ext.bench.verify import verify
    from kserve_ext.cli import output as show
    from kserve_ext.cli.endpoint import endpoint_samples, load_options
    from kserve_ext.domain import Slo

    options = load_options(slo_p99, rate, concurrency, duration)
    target = parse_target(url, model=model, protocol=protocol, authority=authority)
    rows = endpoint_samples(target, samples, seed)
    show.note(f"loading {target.address} for {options.duration_s:g} s", quiet=quiet)
    verdict = verify(
        target, rows, slo=Slo(p99_s=options.slo_p99_s, availability=availability), rate_rps=options.rate_rps,
        duration_s=options.duration_s, concurrency=concurrency, seed=seed,
    )  # fmt: skip
    held = verdict.outcome == "held"
    if output is not Format.TABLE:
        show.emit(verdict, output)
    else:
        show.table(COLUMNS, [("measured", *figures(verdict.measurement))])
        show.say(f"{verdict.outcome}: {'; '.join(verdict.reasons)}", style="bold green" if held else "bold red")
    raise typer.Exit(0 if held else 1)


def _imported(table: Path, model: str, hardware: str, overhead: str, load_time: str) -> Profile:
    from kserve_ext.files import read_text
    from kserve_ext.profile.tables import import_csv
    from kserve_ext.units import parse_duration_s

    return import_csv(
        read_text(table), str(table), model=model, hardware=hardware,
        overhead_s=option("--overhead", overhead, parse_duration_s),
        load_s=option("--load-time", load_time, parse_duration_s),
    )  # fmt: skip


def _measured(
    repository: Path, model: str, hardware: str, max_instances: int | None, fresh: bool, quiet: bool
) -> Profile:
    from kserve_ext import files
    from kserve_ext.cli.progress import progress_bar
    from kserve_ext.hosting import hosted
    from kserve_ext.measuring import measure_profile

    out = Path("out")
    with (
        files.exclusive(out),
        progress_bar(quiet=quiet) as progress,
        hosted(repository, model, log_file=out / "triton.log") as host,
    ):
        return measure_profile(
            host,
            hardware=hardware,
            instances=range(1, max_instances + 1) if max_instances else (),
            progress=progress,
            resume_dir=None if fresh else out / "profiles" / model,
        )
