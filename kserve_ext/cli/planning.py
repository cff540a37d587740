"""plan, explain, render, schema: decisions without a server."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.alternatives import (
    AlternativesOption,
    PageOption,
    PricesOption,
    check_alternatives,
    show_alternatives,
)
from kserve_ext.cli.formats import Format
from kserve_ext.cli.planned_load import PLANNED_SHARE, ColumnOption, ShareOption, TraceOption, with_load
from kserve_ext.cli.shared import (
    REPOSITORY,
    ManifestArgument,
    OutputOption,
    QuietOption,
    RepositoryOption,
    manifest_folder,
    read_services,
)

if TYPE_CHECKING:
    from kserve_ext.domain import Plan, Reason, Service
    from kserve_ext.policy.load import Load

PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy", help="Policy instead of the one annotated: default, an installed name, or module:function."
    ),
]
SloOption = Annotated[str | None, typer.Option("--slo-p99", help="p99 instead of the one annotated, e.g. 80ms.")]
RateOption = Annotated[str | None, typer.Option("--rate", help="Rate instead of the one annotated, e.g. 20..400rps.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("plan")(plan_command)
    app.command("explain")(explain)
    app.command("render")(render_command)
    app.command("schema")(schema)


def plan_command(
    manifests: ManifestArgument,
    repository: RepositoryOption = REPOSITORY,
    policy: PolicyOption = None,
    slo_p99: SloOption = None,
    rate: RateOption = None,
    trace: TraceOption = None,
    column: ColumnOption = None,
    peak_share: ShareOption = PLANNED_SHARE,
    alternatives: AlternativesOption = False,
    fleet: PricesOption = None,
    html: PageOption = None,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Decide batching, instances, concurrency, replicas and scaling for each service, with the reason for each.

    Example:  kserve-ext plan manifests/examples/emulated.yaml -o json
    """
    from kserve_ext.cli import output as show

    services = [override(service, policy, slo_p99, rate) for service in read_services(manifests)]
    loaded = [with_load(service, trace, column, peak_share, rate) for service in services]
    check_alternatives(alternatives, fleet, html)
    if alternatives:
        show_alternatives([service for service, _ in loaded], fleet, html, repository, output, quiet)
        return
    plans = [decide(service, repository, load) for service, load in loaded]
    if output is not Format.TABLE:
        show.emit(plans if len(plans) > 1 else plans[0], output)
        return
    for decided in plans:
        _show_plan(decided, quiet)


def explain(
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST", help="InferenceService file, or - for standard input.")
    ],
    field: Annotated[
        str | None, typer.Argument(metavar="[FIELD]", help="Field of the plan, or a part of its name.")
    ] = None,
    repository: RepositoryOption = REPOSITORY,
    policy: PolicyOption = None,
    trace: TraceOption = None,
    column: ColumnOption = None,
    peak_share: ShareOption = PLANNED_SHARE,
    output: OutputOption = Format.TABLE,
) -> None:
    """Tell where a number of the plan came from.

    Example:  kserve-ext explain manifests/examples/emulated.yaml concurrency_limit
    """
    from kserve_ext.cli import output as show
    from kserve_ext.errors import InputError, Problem
    from kserve_ext.policy.check import decided_fields

    services = [override(service, policy, None, None) for service in read_services([manifest])]
    loaded = [with_load(service, trace, column, peak_share) for service in services]
    plans = [decide(service, repository, load) for service, load in loaded]
    found = [
        (decided, reason)
        for decided in plans
        for reason in (*decided.reasons, *decided.warnings)
        if field is None or field.replace("-", "_").lower() in reason.field.lower()
    ]
    if not found:
        allowed = ", ".join(decided_fields(plans[0]))
        raise InputError(Problem(field=field or "", what="the plan has no such field", allowed=allowed))
    if output is not Format.TABLE:
        rows = [{"service": decided.service, "value": value_at(decided, reason.field), **asdict(reason)}
                for decided, reason in found]  # fmt: skip
        show.emit(rows, output)
        return
    for decided, reason in found:
        show.say(f"{reason.field} = {shown(decided, reason.field)}", style="bold")
        show.say(f"  {reason.text}")
        if reason.numbers:
            show.say("  " + ", ".join(f"{name} {number:.4g}" for name, number in reason.numbers.items()), style="dim")


def render_command(
    manifests: ManifestArgument,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to; one folder per service.")] = None,
    repository: RepositoryOption = REPOSITORY,
    policy: PolicyOption = None,
    trace: TraceOption = None,
    column: ColumnOption = None,
    peak_share: ShareOption = PLANNED_SHARE,
    quiet: QuietOption = False,
) -> None:
    """Write the planned InferenceService, ServingRuntime, config.pbtxt and kustomization.

    Without --out the manifests go to standard output, ready for `kubectl apply -f -`.

    Example:  kserve-ext render manifests/examples/emulated.yaml --out out/rendered
    """
    from kserve_ext.bundles import bundle_for, manifests_text, write_bundle
    from kserve_ext.cli import output as show

    for service in read_services(manifests):
        service, load = with_load(override(service, policy, None, None), trace, column, peak_share)
        decided = decide(service, repository, load)
        bundle = bundle_for(service, decided, repository)
        for warning in (*decided.warnings, *bundle.notes):
            show.note(f"warning: {warning.field}: {warning.text}", quiet=quiet)
        if out is None:
            sys.stdout.write(manifests_text(bundle))
            continue
        for path in write_bundle(bundle, out / service.intent.name):
            show.note(f"wrote {path}", quiet=quiet)


def schema(
    out: Annotated[Path | None, typer.Option("--out", help="File to write to instead of standard output.")] = None,
) -> None:
    """Print a JSON Schema of an annotated InferenceService, for editors.

    Example:  kserve-ext schema --out out/intent.schema.json
    """
    from kserve_ext.files import write_text
    from kserve_ext.intent.schema import intent_schema_text

    text = intent_schema_text()
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)


def override(service: Service, policy: str | None, slo_p99: str | None, rate: str | None) -> Service:
    """The service with intent fields replaced by what the command line says. Raises InputError."""
    from kserve_ext.cli.shared import option
    from kserve_ext.domain import RateRange
    from kserve_ext.units import parse_duration_s, parse_rate_rps

    intent = service.intent
    if slo_p99 is not None:
        intent = replace(intent, slo=replace(intent.slo, p99_s=option("--slo-p99", slo_p99, parse_duration_s)))
    if rate is not None:
        low_rps, high_rps = option("--rate", rate, parse_rate_rps)
        intent = replace(intent, rate=RateRange(low_rps=low_rps, high_rps=high_rps))
    if policy is not None:
        intent = replace(intent, policy=policy)
    return replace(service, intent=intent)


def decide(service: Service, repository: Path, load: Load | None = None) -> Plan:
    """The plan of one service with the profiles that its model has, for its load over time if that is known."""
    from kserve_ext.library import neighbour_profiles, profiles_for
    from kserve_ext.plugins import plan_with
    from kserve_ext.policy import PlanRequest

    profiles = profiles_for(repository, service.intent, beside=manifest_folder(service))
    beside = neighbour_profiles(repository, service.intent)
    return plan_with(PlanRequest(intent=service.intent, profiles=profiles, load=load, neighbours=beside))


def value_at(plan: Plan, path: str) -> object:
    """The value of a plan's field by its path, e.g. `stages[0].instances`."""
    found: object = plan
    for part in path.replace("[", ".").replace("]", "").split("."):
        found = found[int(part)] if isinstance(found, tuple) else getattr(found, part)
    return found


def _show_plan(decided: Plan, quiet: bool) -> None:
    from kserve_ext.cli import output as show
    from kserve_ext.units import format_duration

    seen = decided.prediction
    show.say(f"{decided.namespace}/{decided.service}: {decided.model} on {decided.hardware}", style="bold")
    show.say(
        f"one replica carries {decided.capacity_rps:.4g} rps within {format_duration(decided.slo.p99_s)} "
        f"({decided.margin:.0%} kept free); at {seen.rate_rps:.4g} rps: p50 {format_duration(seen.p50_s)}, "
        f"p99 {format_duration(seen.p99_s)}, mean batch {seen.mean_batch:.3g}"
    )
    for other in decided.neighbours:
        show.say(
            f"and {other.capacity_rps:.4g} rps of {other.model} within {format_duration(other.slo.p99_s)}; at "
            f"{other.prediction.rate_rps:.4g} rps: p50 {format_duration(other.prediction.p50_s)}, p99 "
            f"{format_duration(other.prediction.p99_s)}"
        )
    for heading, reasons in _areas(decided).items():
        rows = [
            (reason.field.rpartition(".")[2], shown(decided, reason.field), "" if quiet else reason.text)
            for reason in reasons
        ]
        show.say("")
        show.table((heading, "", ""), rows)
    for warning in decided.warnings:
        show.say(f"warning: {warning.field}: {warning.text}", style="yellow")


def _areas(decided: Plan) -> dict[str, list[Reason]]:
    """The plan's reasons by what they are about, in the order in which they were decided."""
    areas: dict[str, list[Reason]] = {}
    for reason in decided.reasons:
        owner = reason.field.rpartition(".")[0]
        of_model = "stages[" in owner or owner.startswith("neighbours[")
        heading = (
            f"model {value_at(decided, owner.removesuffix('.prediction') + '.model')}"
            if of_model
            else owner or "replica"
        )
        areas.setdefault(heading, []).append(reason)
    return areas


def shown(decided: Plan, path: str) -> str:
    """A field's value as people read it, in the unit that its name says."""
    from kserve_ext.units import format_duration, format_mebibytes

    value = value_at(decided, path)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    if not isinstance(value, float):
        return str(value)
    if path.endswith("_bytes"):
        return format_mebibytes(value)
    if path.endswith("_s"):
        return format_duration(value) if value else "0s"
    return f"{value:.6g}" + ("%" if path.endswith("_percent") else "")
