"""What the cluster commands show: a preview by field, what an apply did, the bundles of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kserve_ext.cli.formats import Format

if TYPE_CHECKING:
    from kserve_ext.cluster import Preview, Receipt
    from kserve_ext.cluster.difference import ObjectDiff
    from kserve_ext.cluster.history import Entry


def finish_dry_run(seen: list[Preview], dry_run: str, output: Format) -> None:
    """The end of a run that changed nothing."""
    from kserve_ext.cli import output as show

    if output is not Format.TABLE:
        show.emit(previews(seen) | {"dry_run": dry_run}, output)
    else:
        show.say(f"nothing was changed (dry run, {dry_run})")


def previews(seen: list[Preview]) -> dict[str, Any]:
    """Previews for programs."""
    return {
        "differs": any(each.differs for each in seen),
        "objects": [diff for each in seen for diff in (*each.diffs, *each.pruned)],
        "conflicts": [{"field": field, "manager": owner}
                      for each in seen for error in each.conflicts for field, owner in error.fields.items()],
    }  # fmt: skip


def show_preview(seen: Preview, context: str) -> None:
    """A preview for people."""
    from kserve_ext.cli import output as show

    show.say(f"{seen.unit.namespace}/{seen.unit.service} on {context}", style="bold")
    for diff in (*seen.diffs, *seen.pruned):
        _show_diff(diff)
    for error in seen.conflicts:
        show.say(f"  conflict: {error.message}", style="yellow")


def _show_diff(diff: ObjectDiff) -> None:
    from kserve_ext.cli import output as show
    from kserve_ext.cluster.difference import Action

    words = {Action.CREATE: "is new", Action.CHANGE: "changes", Action.DELETE: "goes", Action.SAME: "stays as it is"}
    effect = f": {diff.effect}" if diff.effect else ""
    show.say(f"  {diff.ref} {words[diff.action]}{effect}")
    for change in diff.changes if diff.action is Action.CHANGE else ():
        show.say(f"    {change}")


def show_receipts(receipts: list[Receipt], output: Format) -> None:
    """What was done."""
    from kserve_ext.cli import output as show

    if output is not Format.TABLE:
        show.emit(receipts if len(receipts) != 1 else receipts[0], output)
        return
    for each in receipts:
        state = (
            f"ready after {each.took_s:.1f} s at {each.url}"
            if each.ready
            else "applied; `kserve-ext wait` says when it serves"
        )
        show.say(f"{each.namespace}/{each.service}: {state} (bundle {each.number})", style="bold green")


def show_history(entries: tuple[Entry, ...], output: Format) -> None:
    """The bundles, the oldest first."""
    from kserve_ext.cli import output as show

    rows = [
        {"number": one.number, "applied_at": one.applied_at, "outcome": one.outcome, "digest": one.digest}
        for one in entries
    ]
    if output is not Format.TABLE:
        show.emit(rows, output)
    else:
        show.table(
            ("bundle", "applied at", "outcome", "digest"), [[str(value) for value in row.values()] for row in rows]
        )


def remind_of_configs(seen: Preview, *, quiet: bool) -> None:
    """What an apply cannot do: where the plan is new or changes, its config.pbtxt belongs into the model repository."""
    from kserve_ext.cli import output as show
    from kserve_ext.cluster.difference import Action
    from kserve_ext.cluster.objects import dig, services

    (service,) = services(seen.unit.objects)
    storage = dig(service, "spec", "predictor", "model", "storageUri")
    planned = any(
        diff.ref.name == f"{seen.unit.service}-plan" and diff.action is not Action.SAME for diff in seen.diffs
    )
    if storage and planned:
        show.note(
            f"note: copy the bundle's model_repo/ over {storage}: Triton reads its config.pbtxt there", quiet=quiet
        )
