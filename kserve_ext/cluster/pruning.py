"""What earlier bundles of a service had and the next one has not: what of it goes, and what must not.

An object goes when it was applied from here (our field manager) with this service (our label), holds no data, and no
other service names it. It is looked for in the whole history, so that a prune which was interrupted is made up for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.collect import SERVING, read_bundles
from kserve_ext.cluster.conflicts import FIELD_MANAGER
from kserve_ext.cluster.difference import ObjectDiff, compare
from kserve_ext.cluster.history import Entry
from kserve_ext.cluster.objects import SERVICE, Object, Ref, dig, entries, ref_of
from kserve_ext.cluster.units import OWNER, Unit

EFFECT = "the bundle no longer has it; it is deleted once the service is ready"
_NEVER = (SERVICE, "PersistentVolumeClaim")  # the service has `delete`, and a claim holds what no bundle brings back


def find_pruned(cluster: Cluster, unit: Unit) -> tuple[ObjectDiff, ...]:
    """What is there of earlier bundles and goes with the next apply of the unit."""
    refs = left_behind(read_bundles(cluster, unit.service, unit.namespace), unit.objects)
    used = runtimes_of_others(cluster, unit.service, unit.namespace) if refs else set()
    found = ((ref, cluster.get(ref)) for ref in refs if ref.name not in used)
    return tuple(
        compare(ref, live, None, effect=EFFECT)
        for ref, live in found
        if live is not None and is_ours(live, unit.service)
    )


def left_behind(history: Iterable[Entry], wanted: Sequence[Object]) -> tuple[Ref, ...]:
    """The objects of earlier bundles that are not among those wanted, under whatever version of their group. Pure."""
    kept = {_identity(ref_of(one)) for one in wanted}
    had = {_identity(ref): ref for entry in history for ref in map(ref_of, entry.objects)}
    return tuple(
        ref for identity, ref in had.items() if identity not in kept and ref.namespace and ref.kind not in _NEVER
    )


def is_ours(live: Object, service: str) -> bool:
    """Whether an object was applied from here with this service. Pure."""
    managers = {dig(each, "manager") for each in entries(live, "metadata", "managedFields")}
    return dig(live, "metadata", "labels", OWNER) == service and FIELD_MANAGER in managers


def runtimes_of_others(cluster: Cluster, name: str, namespace: str) -> set[str]:
    """The runtimes that other services of the namespace name."""
    return {
        str(dig(one, "spec", "predictor", "model", "runtime"))
        for one in cluster.list(SERVING, SERVICE, namespace=namespace)
        if dig(one, "metadata", "name") != name
    }


def _identity(ref: Ref) -> tuple[str, str, str, str]:
    return ref.api_version.rpartition("/")[0], ref.kind, ref.namespace, ref.name
