"""status, logs: what a service does now, and what its containers say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.cluster_options import (
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    open_cluster,
)
from kserve_ext.cli.formats import Format
from kserve_ext.cli.shared import OutputOption, QuietOption

if TYPE_CHECKING:
    from kserve_ext.cluster import Status


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("status")(status_command)
    app.command("logs")(logs_command)


def status_command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="An InferenceService; all if left out.")] = None,
    every_namespace: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Say whether a service serves what it should, and if not, why, in one sentence with a remedy.

    Exit codes: 0 ready · 1 not ready · 2 no such service · 4 no cluster.

    Example:  kserve-ext status emulated --namespace models
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cluster import find_service, learned_of, plan_of, read_bundles, status_of, take
    from kserve_ext.cluster.collect import SERVING

    cluster = open_cluster(context, namespace, kubeconfig)
    if name is not None:
        where = cluster.namespace
        found = take(cluster, find_service(cluster, name, where))
        plan, learned = plan_of(cluster, name, where), learned_of(cluster, name, where)
        statuses = [status_of(found, read_bundles(cluster, name, where), plan, learned)]
    else:
        services = cluster.list(SERVING, "InferenceService", namespace="" if every_namespace else cluster.namespace)
        statuses = [status_of(take(cluster, service)) for service in services]
    if output is not Format.TABLE:
        show.emit(statuses if name is None else statuses[0], output)
    elif name is not None:
        _show_one(statuses[0])
    else:
        _show_all(statuses)
    raise typer.Exit(1 if any(one.phase not in ("ready", "stopped") for one in statuses) else 0)


def logs_command(
    name: NameArgument,
    container: Annotated[
        str, typer.Option("--container", "-c", help="A container, e.g. queue-proxy or storage-initializer.")
    ] = "kserve-container",
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Last lines of each; all if left out.")] = None,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the container that ended before.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted; of one pod.")] = False,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    quiet: QuietOption = False,
) -> None:
    """Print what the pods of a service have logged, each line with its pod.

    Example:  kserve-ext logs emulated --namespace models --tail 20
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cluster import find_service, take
    from kserve_ext.cluster.logs import containers_of, read_logs
    from kserve_ext.errors import InputError, Problem

    cluster = open_cluster(context, namespace, kubeconfig)
    found = take(cluster, find_service(cluster, name, cluster.namespace))
    if not found.pods:
        show.note(f"{name} has no pod now: it is at zero replicas, or not started", quiet=quiet)
        return
    if container not in containers_of(found.pods):
        allowed = ", ".join(containers_of(found.pods))
        raise InputError(
            Problem(field="--container", what="no pod has such a container", found=container, allowed=allowed)
        )
    for line in read_logs(cluster, found.pods, container, tail=tail, previous=previous, follow=follow):
        sys.stdout.write(line + "\n")
        if follow:
            sys.stdout.flush()


def _show_one(status: Status) -> None:
    from kserve_ext.cli import output as show

    style = {"ready": "bold green", "stopped": "bold", "progressing": "bold yellow", "stuck": "bold red"}[status.phase]
    show.say(f"{status.namespace}/{status.name}: {status.phase}: {status.step}", style=style)
    for cause in status.causes:
        show.say(f"  why: {cause.sentence}")
        show.say(f"       {cause.remedy}")
    wanted = "?" if status.replicas_desired is None else str(status.replicas_desired)
    facts = [
        ("mode", status.mode),
        ("url", status.url or "-"),
        ("replicas", f"{status.replicas_ready} ready, {wanted} wanted"),
    ]
    facts += _scaled(status)
    if status.traffic:
        shares = [f"{one.percent} % {one.revision}" + (f" ({one.tag})" if one.tag else "") for one in status.traffic]
        facts.append(("traffic", ", ".join(shares)))
    facts += _planned(status) + _learned(status)
    if status.bundle is not None:
        back = f"; a rollback goes to {status.bundle.back_to}" if status.bundle.back_to else ""
        facts.append(("bundle", f"{status.bundle.number} of {status.bundle.applied_at}, {status.bundle.outcome}{back}"))
    show.table(("", ""), facts)
    if status.pods:
        rows = [(one.name, one.node or "-", "ending" if one.ending else "ready" if one.ready else "not ready", str(one.restarts))
                for one in status.pods]  # fmt: skip
        show.table(("pod", "node", "state", "restarts"), rows)


def _scaled(status: Status) -> list[tuple[str, str]]:
    """Who sets the replicas in Standard mode, and what is recommended beside what is asked for."""
    lines = []
    if (found := status.autoscaler) is not None:
        text = f"{found.name}: {found.desired} of {found.min_replicas} to {found.max_replicas}"
        lines.append(("autoscaler", text + (f"; it sets nothing: {found.problem}" if found.problem else "")))
    if status.recommended:
        told = [
            f"{one.resource} {one.target} ({one.requested or 'nothing'} requested"
            + (f", {one.ratio:.2f} of it)" if one.ratio else ")")
            for one in status.recommended
        ]
        lines.append(("recommended", ", ".join(told)))
    return lines


def _planned(status: Status) -> list[tuple[str, str]]:
    """The plan in a line, where there is one."""
    from kserve_ext.units import format_duration

    try:
        plan = status.planned
        rate, p99 = float(plan["prediction"]["rate_rps"]), float(plan["prediction"]["p99_s"])
        text = (
            f"p99 within {format_duration(float(plan['slo']['p99_s']))}; {float(plan['capacity_rps']):.4g} rps a replica; "
            f"p99 {format_duration(p99)} predicted at {rate:.4g} rps a replica"
        )
    except (KeyError, TypeError, ValueError):  # not planned by us, or by another release
        return []
    return [("planned", text)]


def _learned(status: Status) -> list[tuple[str, str]]:
    """What is not as it was planned, and what a re-plan would change."""
    learned = status.learned
    lines = [("seen", str(text)) for text in learned.get("remarks") or ()]
    if changes := learned.get("changes"):
        lines.append(("re-plan", f"{'; '.join(map(str, changes))}; it waits for {learned.get('waits_for')}"))
    return lines


def _show_all(statuses: list[Status]) -> None:
    from kserve_ext.cli import output as show

    rows = [
        (one.namespace, one.name, one.mode, str(one.phase), str(one.replicas_ready),
         one.causes[0].sentence if one.causes else one.step)
        for one in statuses
    ]  # fmt: skip
    show.table(("namespace", "name", "mode", "state", "replicas", "why"), rows)
