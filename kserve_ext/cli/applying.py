"""apply, diff, wait, rollback, delete: a bundle on a cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_ext.cli.cluster_options import (
    ContextOption,
    ForceOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    PathsArgument,
    TimeoutOption,
    YesOption,
    ask,
    open_cluster,
    read_units,
    seconds,
)
from kserve_ext.cli.cluster_shown import (
    finish_dry_run,
    previews,
    remind_of_configs,
    show_history,
    show_preview,
    show_receipts,
)
from kserve_ext.cli.formats import Format
from kserve_ext.cli.planning import PolicyOption
from kserve_ext.cli.shared import REPOSITORY, OutputOption, QuietOption, RepositoryOption

if TYPE_CHECKING:
    from kserve_ext.cluster import Preview
    from kserve_ext.cluster.history import Entry

PATIENCE = "10m"  # Knative's progress-deadline


class DryRunName(StrEnum):
    """As kubectl has them."""

    NONE = "none"
    CLIENT = "client"
    SERVER = "server"


DryRunOption = Annotated[
    DryRunName, typer.Option("--dry-run", help="Change nothing: client asks no webhook, server has all of it checked.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("apply")(apply_command)
    app.command("diff")(diff_command)
    app.command("wait")(wait_command)
    app.command("rollback")(rollback_command)
    app.command("delete")(delete_command)


def apply_command(
    paths: PathsArgument,
    repository: RepositoryOption = REPOSITORY,
    policy: PolicyOption = None,
    dry_run: DryRunOption = DryRunName.NONE,
    yes: YesOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it serves.")] = True,
    timeout: TimeoutOption = PATIENCE,
    atomic: Annotated[
        bool, typer.Option("--atomic", help="If it does not become ready, go back to what was there before.")
    ] = False,
    force: ForceOption = False,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Show what would change, apply it, wait until it serves, and keep it for a rollback.

    A folder that render wrote is applied as it is; an annotated InferenceService is planned and rendered first. What the
    service's earlier bundles had and this one has not is deleted once it serves. Run again after any interruption, it goes
    on where it was.

    Exit codes: 0 applied and ready · 1 not ready in time · 2 refused · 4 no cluster, or one that cannot take it.

    Example:  kserve-ext apply out/rendered/emulated --namespace models --yes
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cluster import DryRun, apply, preview
    from kserve_ext.errors import ConflictError

    timeout_s = seconds(timeout) if wait else None
    cluster = open_cluster(context, namespace, kubeconfig)
    units = read_units(paths, cluster, namespace, repository, policy)
    how = DryRun.CLIENT if dry_run is DryRunName.CLIENT else DryRun.SERVER
    seen = [preview(cluster, unit, dry_run=how) for unit in units]
    conflicts = [error for each in seen for error in each.conflicts]
    if conflicts and not force:
        raise ConflictError(
            "\n".join(error.message for error in conflicts),
            fields={field: owner for error in conflicts for field, owner in error.fields.items()},
            remedy="\n".join(dict.fromkeys(error.remedy for error in conflicts)),
        )
    if output is Format.TABLE:
        for each in seen:
            show_preview(each, cluster.name)
    if dry_run is not DryRunName.NONE:
        finish_dry_run(seen, str(dry_run), output)
        return
    for each in seen:
        remind_of_configs(each, quiet=quiet)
    if any(each.differs for each in seen) and not ask(f"apply this to {cluster.name}?", yes=yes):
        raise typer.Exit(1)
    receipts = [
        apply(cluster, each, timeout_s=timeout_s, force=force, atomic=atomic, say=lambda text: show.note(text, quiet=quiet))
        for each in seen
    ]  # fmt: skip
    show_receipts(receipts, output)


def diff_command(
    paths: PathsArgument,
    repository: RepositoryOption = REPOSITORY,
    policy: PolicyOption = None,
    dry_run: Annotated[
        DryRunName, typer.Option("--dry-run", help="Who works it out: this program alone, or the API server.")
    ] = DryRunName.SERVER,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Say field by field what applying would change, what it would delete, and what follows for what runs.

    Exit codes as kubectl diff: 0 nothing differs · 1 something differs · above 1 it cannot be told.

    Example:  kserve-ext diff out/rendered/emulated --namespace models
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cluster import DryRun, preview

    cluster = open_cluster(context, namespace, kubeconfig)
    how = DryRun.CLIENT if dry_run is DryRunName.CLIENT else DryRun.SERVER
    seen = [preview(cluster, unit, dry_run=how) for unit in read_units(paths, cluster, namespace, repository, policy)]
    if output is not Format.TABLE:
        show.emit(previews(seen), output)
    else:
        for each in seen:
            show_preview(each, cluster.name)
    raise typer.Exit(1 if any(each.differs for each in seen) else 0)


def wait_command(
    name: NameArgument,
    timeout: TimeoutOption = PATIENCE,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Wait until an InferenceService serves what its present spec asks for; say meanwhile what it waits for, and why.

    Exit codes: 0 ready · 1 not ready in time, the cause is named · 2 no such service · 4 no cluster.

    Example:  kserve-ext wait emulated --namespace models --timeout 5m
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cluster import read_bundles, status_of, wait_ready
    from kserve_ext.cluster.undoing import confirm_newest

    timeout_s = seconds(timeout)
    cluster = open_cluster(context, namespace, kubeconfig)
    found = wait_ready(
        cluster, name, cluster.namespace, timeout_s=timeout_s, say=lambda text: show.note(text, quiet=quiet)
    )
    confirm_newest(cluster, name, cluster.namespace)
    status = status_of(found, read_bundles(cluster, name, cluster.namespace))
    if output is not Format.TABLE:
        show.emit(status, output)
    else:
        show.say(f"{name} is ready: {status.step}; {status.url}", style="bold green")


def rollback_command(
    name: NameArgument,
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="Bundle of its history; the last good one if left out.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the bundles of its history and end.")] = False,
    yes: YesOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it serves.")] = True,
    timeout: TimeoutOption = PATIENCE,
    force: ForceOption = False,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Apply the last bundle again that was ready, or another of the last ten.

    Example:  kserve-ext rollback emulated --namespace models --yes
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cluster import find_service, read_bundles, rollback

    timeout_s = seconds(timeout) if wait else None
    cluster = open_cluster(context, namespace, kubeconfig)
    if listed:
        find_service(cluster, name, cluster.namespace)
        show_history(read_bundles(cluster, name, cluster.namespace), output)
        return

    def confirm(entry: Entry, seen: Preview) -> bool:
        if output is Format.TABLE:
            show.say(f"bundle {entry.number} of {entry.applied_at}, {entry.outcome}", style="bold")
            show_preview(seen, cluster.name)
        return not seen.differs or ask(f"go back to bundle {entry.number} on {cluster.name}?", yes=yes)

    receipt = rollback(
        cluster, name, cluster.namespace, to=to, confirm=confirm, timeout_s=timeout_s, force=force,
        say=lambda text: show.note(text, quiet=quiet),
    )  # fmt: skip
    if receipt is None:
        raise typer.Exit(1)
    show_receipts([receipt], output)


def delete_command(
    name: NameArgument,
    dry_run: DryRunOption = DryRunName.NONE,
    yes: YesOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until its pods are gone.")] = True,
    timeout: TimeoutOption = PATIENCE,
    context: ContextOption = "",
    namespace: NamespaceOption = "",
    kubeconfig: KubeconfigOption = "",
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Delete an InferenceService with its runtime, plan and history, where they were applied with it.

    Example:  kserve-ext delete emulated --namespace models --yes
    """
    from kserve_ext.cli import output as show
    from kserve_ext.cluster import delete, wait_gone, what_is_ours

    timeout_s = seconds(timeout)
    cluster = open_cluster(context, namespace, kubeconfig)
    refs = what_is_ours(cluster, name, cluster.namespace)
    said = ", ".join(map(str, refs))
    if dry_run is DryRunName.NONE and not ask(f"delete {said} from {cluster.name}?", yes=yes):
        raise typer.Exit(1)
    gone = refs if dry_run is DryRunName.CLIENT else delete(cluster, refs, dry_run=dry_run is DryRunName.SERVER)
    if wait and dry_run is DryRunName.NONE:
        show.note("waiting for its pods to end", quiet=quiet)
        wait_gone(cluster, name, cluster.namespace, timeout_s=timeout_s)
    if output is not Format.TABLE:
        show.emit({"deleted": gone, "dry_run": str(dry_run)}, output)
        return
    for ref in gone:
        show.say(f"{ref} {'would be ' if dry_run is not DryRunName.NONE else ''}deleted")
