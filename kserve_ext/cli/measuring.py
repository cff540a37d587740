"""profile, verify: what a model costs, and whether an endpoint holds its SLO."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.cluster_options import ContextOption, KubeconfigOption, NamespaceOption
from kserve_ext.cli.formats import Format
from kserve_ext.cli.shared import REPOSITORY, OutputOption, QuietOption, RepositoryOption, option
from kserve_ext.domain import Protocol, Slo
from kserve_ext.units import parse_duration_s

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
    to_configmap: Annotated[
        Path | None,
        typer.Option(
            "--to-configmap",
            help="Measure nothing: write the profiles at hand and the model's configs as a ConfigMap for the operator; - is "
            "standard output.",
        ),
    ] = None,
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

    if to_configmap is not None:
        _write_configmap(repository, model, to_configmap)
        return
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


def _write_configmap(repository: Path, model: str, to: Path) -> None:
    import sys

    from kserve_ext.files import write_text
    from kserve_ext.operator.models import configmap_of
    from kserve_ext.render.text import to_yaml

    text = to_yaml(configmap_of(repository, model))
    if str(to) == "-":
        sys.stdout.write(text)
    else:
        write_text(to, text)


def verify_command(
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="http://host:port, https://…, grpc://host:port, grpcs://… or host:port."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Name of the model at the endpoint.")] = None,
    slo_p99: Annotated[str | None, typer.Option("--slo-p99", help="What p99 must not exceed, e.g. 80ms.")] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Open loop: Poisson arrivals at this rate, e.g. 200rps.")
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, help="Closed loop: so many requests in flight, instead of --rate."),
    ] = None,
    availability: Annotated[
        float | None, typer.Option("--availability", min=0.0, max=1.0, help="Least share answered.")
    ] = None,
    duration: Annotated[str, typer.Option("--duration", help="How long to load, e.g. 20s.")] = "20s",
    protocol: Annotated[Protocol | None, typer.Option("--protocol", help="For a bare host:port.")] = None,
    authority: Annotated[str | None, typer.Option("--host", help="Host header, where a gateway routes by it.")] = None,
    samples: Annotated[
        Path | None, typer.Option("--samples", help="samples.json; random inputs of the model's shapes if left out.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the arrival times.")] = 0,
    isvc: Annotated[
        str | None, typer.Option("--isvc", metavar="NAME", help="An InferenceService in a cluster, instead of a URL.")
    ] = None,
    via: Annotated[
        str | None,
        typer.Option("--via", help="With --isvc: address of the ingress, where its host name is none of DNS."),
    ] = None,
    repository: RepositoryOption = REPOSITORY,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Load a running endpoint, local or remote, and say whether it holds the SLO.

    Latency counts from the moment a request was due, so an endpoint that stalls is not spared. With --isvc the SLO and the
    rate that was planned for each replica come from the cluster, and predicted stands beside measured.

    Example:  kserve-ext verify http://127.0.0.1:8080 --model digits --slo-p99 60ms --rate 200rps
    """
    from kserve_ext.bench.table import COLUMNS, figures
    from kserve_ext.bench.verify import verify
    from kserve_ext.cli import output as show
    from kserve_ext.cli.endpoint import LoadOptions, check_where, endpoint_samples, load_options, load_target

    check_where(url, isvc, via=via, model=model, slo_p99=slo_p99, protocol=protocol, authority=authority)
    if isvc is not None:
        from kserve_ext.cli.cluster_options import open_cluster
        from kserve_ext.cli.cluster_verify import service_load
        from kserve_ext.cli.endpoint import asked_load

        asked = asked_load(slo_p99, rate, concurrency)
        load = service_load(
            open_cluster(context, namespace, kubeconfig), isvc, via=via, model=model, slo_p99_s=asked.slo_p99_s,
            rate_rps=asked.rate_rps, closed_loop=concurrency is not None, repository=repository,
        )  # fmt: skip
        options = LoadOptions(load.slo.p99_s, load.rate_rps, option("--duration", duration, parse_duration_s))
        target, least, predicted, note = load.target, load.slo.availability, load.predicted, load.note
    else:
        options = load_options(slo_p99 or "", rate, concurrency, duration)
        target = load_target(url or "", model or "", protocol, authority)
        least, predicted, note = 0.999, None, ""
    rows = endpoint_samples(target, samples, seed)
    where = f"{target.authority} at {target.address}" if target.authority else target.address
    show.note(f"loading {where} for {options.duration_s:g} s", quiet=quiet)
    verdict = verify(
        target, rows, slo=Slo(p99_s=options.slo_p99_s, availability=least if availability is None else availability),
        rate_rps=options.rate_rps, duration_s=options.duration_s, concurrency=concurrency, seed=seed,
    )  # fmt: skip
    held = verdict.outcome == "held"
    if output is not Format.TABLE:
        record = show.plain(verdict) | (
            {"predicted": predicted, "replicas": load.replicas, "note": note} if isvc else {}
        )
        show.emit(record, output)
    else:
        lines = [("measured", *figures(verdict.measurement))]
        if predicted is not None:
            whole = replace(predicted, throughput_rps=predicted.throughput_rps * load.replicas)
            lines.insert(0, ("predicted", *figures(whole)))
        show.table(COLUMNS, lines)
        show.note(f"note: {note}", quiet=quiet or not note)
        show.say(f"{verdict.outcome}: {'; '.join(verdict.reasons)}", style="bold green" if held else "bold red")
    raise typer.Exit(0 if held else 1)


def _imported(table: Path, model: str, hardware: str, overhead: str, load_time: str) -> Profile:
    from kserve_ext.files import read_text
    from kserve_ext.profile.tables import import_csv

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
