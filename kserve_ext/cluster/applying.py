"""Makes a cluster hold a bundle: what would change, the apply itself, its record, what it leaves behind, and the way back.

An apply may be run again after any interruption: each object is sent as a whole, and what is already there stays.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from kserve_ext.cluster import history
from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.checks import check
from kserve_ext.cluster.collect import find_service, read_bundles, service_ref, take
from kserve_ext.cluster.difference import Action, ObjectDiff, compare, overlay
from kserve_ext.cluster.history import Entry
from kserve_ext.cluster.objects import SERVICE, Object, Ref, dig, ref_of
from kserve_ext.cluster.pruning import find_pruned
from kserve_ext.cluster.readiness import identity
from kserve_ext.cluster.units import Unit
from kserve_ext.cluster.waiting import Say, wait_ready
from kserve_ext.errors import (
    ConflictError,
    KserveExtError,
    NotReadyError,
    RejectedError,
    UnreachableError,
)


class DryRun(StrEnum):
    """Who works out what would change: this program alone, or the API server with its webhooks."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an apply would change (`diffs`, one for each object of the unit) and delete, and the fields that others own."""

    unit: Unit
    diffs: tuple[ObjectDiff, ...]
    pruned: tuple[ObjectDiff, ...] = ()
    conflicts: tuple[ConflictError, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the cluster has all that the unit says."""
        return all(diff.action is Action.SAME for diff in self.diffs)

    @property
    def differs(self) -> bool:
        return bool(self.pruned) or not self.holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What an apply did. `number` is that of the bundle in the service's history."""

    service: str
    namespace: str
    context: str
    diffs: tuple[ObjectDiff, ...]
    number: int
    ready: bool  # False where nobody waited
    url: str
    took_s: float


def preview(cluster: Cluster, unit: Unit, *, dry_run: DryRun = DryRun.SERVER) -> Preview:
    """What applying the unit would change. Raises as `check` does, and RejectedError for what would be refused."""
    check(cluster, unit.objects, unit.namespace)
    diffs, conflicts = [], []
    for wanted in unit.objects:
        ref = ref_of(wanted)
        live = cluster.get(ref)
        if dry_run is DryRun.CLIENT:
            diffs.append(compare(ref, live, overlay(live or {}, wanted)))
            continue
        try:
            after = cluster.apply(wanted, dry_run=True)
        except ConflictError as error:
            conflicts.append(error)
            after = cluster.apply(wanted, dry_run=True, force=True)
        diffs.append(compare(ref, live, after))
    pruned = find_pruned(cluster, unit)
    if dry_run is DryRun.SERVER:
        for diff in pruned:
            cluster.delete(diff.ref, dry_run=True)
    return Preview(unit=unit, diffs=tuple(diffs), pruned=pruned, conflicts=tuple(conflicts))


def apply(
    cluster: Cluster, seen: Preview, *, timeout_s: float | None, force: bool = False, atomic: bool = False,
    say: Say = lambda text: None,
) -> Receipt:  # fmt: skip
    """Apply what was previewed, record it, wait until it serves, and delete what it leaves behind.

    `timeout_s` None: do not wait, and delete nothing, as replicas of the bundle before may need it.
    Raises ConflictError before anything is sent; UnreachableError or RejectedError that say what was applied before;
    NotReadyError. With `atomic` the last good bundle is then applied again, or what was made here deleted.
    """
    if seen.conflicts and not force:
        raise seen.conflicts[0]
    started, unit = time.monotonic(), seen.unit
    child_before = _child(cluster, unit) if any(_touches_service(diff) for diff in seen.diffs) else None
    _send(cluster, seen, force=force, say=say)
    live = find_service(cluster, unit.service, unit.namespace)
    entry = record(cluster, live, unit)
    if timeout_s is None:
        for diff in seen.pruned:
            say(f"{diff.ref} stays until an apply waits for the service")
        return _receipt(cluster, seen, entry, live, ready=False, started=started)
    try:
        found = wait_ready(
            cluster, unit.service, unit.namespace, timeout_s=timeout_s, say=say, child_before=child_before
        )
    except NotReadyError as error:
        mark(cluster, unit, entry, history.FAILED)
        raise _after_failure(cluster, seen, entry, error, atomic=atomic, say=say) from error
    mark(cluster, unit, entry, history.GOOD)
    for diff in seen.pruned:
        cluster.delete(diff.ref)
        say(f"{diff.ref} deleted")
    return _receipt(cluster, seen, entry, found.service, ready=True, started=started)


def _receipt(cluster: Cluster, seen: Preview, entry: Entry, live: Object, *, ready: bool, started: float) -> Receipt:
    done = (*seen.diffs, *seen.pruned) if ready else seen.diffs
    return Receipt(
        service=seen.unit.service, namespace=seen.unit.namespace, context=cluster.name, diffs=done, ready=ready,
        number=entry.number, url=str(dig(live, "status", "url") or ""), took_s=time.monotonic() - started,
    )  # fmt: skip


def _touches_service(diff: ObjectDiff) -> bool:
    return diff.action is not Action.SAME and diff.ref.kind.endswith((SERVICE, "ServingRuntime"))


def _child(cluster: Cluster, unit: Unit) -> tuple[str, int]:
    live = cluster.get(service_ref(unit.service, unit.namespace))
    return identity(take(cluster, live).child) if live is not None else ("", 0)


_DONE = {Action.CREATE: "created", Action.CHANGE: "changed", Action.SAME: "unchanged"}


def _send(cluster: Cluster, seen: Preview, *, force: bool, say: Say) -> None:
    done: list[Ref] = []
    for wanted, diff in zip(seen.unit.objects, seen.diffs, strict=True):
        try:
            cluster.apply(wanted, force=force)
        except (UnreachableError, RejectedError) as error:
            raise _halfway(error, done, diff.ref, [ref_of(one) for one in seen.unit.objects]) from error
        done.append(diff.ref)
        say(f"{diff.ref} {_DONE[diff.action]}")


def _halfway(error: KserveExtError, done: Sequence[Ref], at: Ref, wanted: Sequence[Ref]) -> KserveExtError:
    """The same error, with what has been applied and what has not."""
    left = [ref for ref in wanted if ref not in done and ref != at]
    perhaps = isinstance(error, UnreachableError)  # an answer that got lost may have been a yes
    lines = [
        error.message,
        f"applied: {_names(done)}",
        f"{'perhaps applied' if perhaps else 'not applied'}: {at}",
        f"not sent: {_names(left)}",
    ]
    again = "run the same command again: what has been applied stays, the rest follows"
    error.message = "\n".join(lines)
    error.args = (error.message,)
    error.remedy = "\n".join(filter(None, [error.remedy, again]))
    return error


def _names(refs: Sequence[Ref]) -> str:
    return ", ".join(map(str, refs)) or "nothing"


def record(cluster: Cluster, live: Object, unit: Unit) -> Entry:
    """Keep what was applied in the service's history; the entry of it."""
    entries = read_bundles(cluster, unit.service, unit.namespace)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = history.next_entry(entries, unit.objects, service=unit.service, applied_at=now)
    if entry not in entries:
        cluster.apply(history.config_map(entry, live), force=True)
        for old in history.surplus((*entries, entry)):
            cluster.delete(_entry_ref(old, unit.namespace))
    return entry


def mark(cluster: Cluster, unit: Unit, entry: Entry, outcome: str) -> None:
    """Write down what became of an entry. One that was good once stays good: to fail later is not its doing."""
    if entry.outcome not in (outcome, history.GOOD):
        change = {"metadata": {"labels": {history.OUTCOME: outcome}}}
        cluster.merge(_entry_ref(entry, unit.namespace), change)


def _entry_ref(entry: Entry, namespace: str) -> Ref:
    return Ref(api_version="v1", kind="ConfigMap", namespace=namespace, name=entry.name)


def _after_failure(
    cluster: Cluster, seen: Preview, entry: Entry, error: NotReadyError, *, atomic: bool, say: Say
) -> NotReadyError:
    """What is there now is told, or with `atomic` undone and told."""
    unit = seen.unit
    back = history.to_go_back_to(read_bundles(cluster, unit.service, unit.namespace))
    if not atomic:
        way = f"kserve-ext {'rollback' if back else 'delete'} {unit.service} -n {unit.namespace}"
        state = "all of it is applied; what served before goes on serving" if back else "all of it is applied"
        return NotReadyError(
            f"{error.message}\n{state} (bundle {entry.number})", remedy=f"{error.remedy}\nto undo it: {way}"
        )
    made = [diff.ref for diff in seen.diffs if diff.action is Action.CREATE]
    if back is not None:
        say(f"going back to bundle {back.number}")
        for wanted in back.objects:
            cluster.apply(wanted, force=True)
        live = find_service(cluster, unit.service, unit.namespace)
        record(cluster, live, replace(unit, objects=back.objects))
        kept = {ref_of(one) for one in back.objects}
        undone = f"bundle {back.number} is applied again"
    else:
        kept, undone = set(), f"deleted again: {_names(made)}" if made else "nothing had been made anew"
    for ref in reversed(made):
        if ref not in kept:
            cluster.delete(ref)
    return NotReadyError(f"{error.message}\n{undone}", remedy=error.remedy)
