"""The way back: an earlier bundle applied again, and everything of a service taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kserve_ext.cluster import history
from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.applying import Preview, Receipt, apply, mark, preview
from kserve_ext.cluster.collect import find_service, read_bundles, service_ref
from kserve_ext.cluster.conflicts import FORCE
from kserve_ext.cluster.history import Entry
from kserve_ext.cluster.objects import SERVICE, Ref, ref_of
from kserve_ext.cluster.pruning import runtimes_of_others
from kserve_ext.cluster.units import Unit
from kserve_ext.cluster.waiting import Say
from kserve_ext.errors import ConflictError, InputError, Problem


def rollback(
    cluster: Cluster, name: str, namespace: str, *, to: int | None, confirm: Callable[[Entry, Preview], bool],
    timeout_s: float | None, force: bool = False, say: Say = lambda text: None,
) -> Receipt | None:  # fmt: skip
    """Apply an earlier bundle again: number `to`, else the last good one before the newest. None if not confirmed."""
    find_service(cluster, name, namespace)
    entries = read_bundles(cluster, name, namespace)
    entry = (
        next((one for one in entries if one.number == to), None) if to is not None else history.to_go_back_to(entries)
    )
    if entry is None:
        allowed = (
            ", ".join(f"{one.number} ({one.outcome})" for one in entries)
            or "none: it was not applied with kserve-ext apply"
        )
        what = "no such bundle in its history" if to is not None else "no good bundle before the newest to go back to"
        raise InputError(Problem(field="--to", what=what, found=str(to) if to is not None else "", allowed=allowed))
    seen = preview(cluster, Unit(service=name, namespace=namespace, objects=entry.objects))
    if not confirm(entry, seen):
        return None
    if seen.conflicts and not force:
        error = seen.conflicts[0]
        raise ConflictError(
            f"{error.message}\nnothing was rolled back", fields=error.fields, remedy=f"roll back over it with {FORCE}"
        )
    return apply(cluster, seen, timeout_s=timeout_s, force=force, say=say)


def what_is_ours(cluster: Cluster, name: str, namespace: str) -> tuple[Ref, ...]:
    """What a delete of the service takes away: it, and what was applied with it and is not used by another."""
    find_service(cluster, name, namespace)
    found = {ref_of(one) for entry in read_bundles(cluster, name, namespace) for one in entry.objects}
    used = runtimes_of_others(cluster, name, namespace)
    rest = [ref for ref in found if ref.kind != SERVICE and ref.namespace and ref.name not in used]
    present = [ref for ref in sorted(rest, key=str) if cluster.get(ref) is not None]
    return (service_ref(name, namespace), *present)


def delete(cluster: Cluster, refs: Sequence[Ref], *, dry_run: bool = False) -> tuple[Ref, ...]:
    """Delete objects; those that were there. Ones that are gone already are no error: a re-run converges."""
    return tuple(ref for ref in refs if cluster.delete(ref, dry_run=dry_run))


def confirm_newest(cluster: Cluster, name: str, namespace: str) -> None:
    """Mark the newest bundle as good, once the service is ready and still says what that bundle says."""
    entries = read_bundles(cluster, name, namespace)
    if entries and entries[-1].outcome == history.APPLIED:
        unit = Unit(service=name, namespace=namespace, objects=entries[-1].objects)
        if preview(cluster, unit).holds:
            mark(cluster, unit, entries[-1], history.GOOD)
