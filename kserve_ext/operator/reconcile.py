"""Every Revision gets the min-scale that is wanted for it, by few patches in a round."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref
from kserve_ext.errors import KserveExtError
from kserve_ext.observe.readings import Key
from kserve_ext.operator.floors import change, has_floor, service_name
from kserve_ext.operator.guard import REVISION
from kserve_ext.operator.store import key_of

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
_MOST = 100  # patches in a round: 10 a second, as many as Knative's own autoscaler sends


def reconcile(
    cluster: Cluster, revisions: Iterable[Object], wanted: Mapping[Key, int], pending: frozenset[Key],
    patched: Callable[[], None],
) -> None:  # fmt: skip
    """Patch what differs, floors that are no longer wanted first; those of `pending` services, left by an earlier leader,
    stay. Raises KserveExtError where the API server does not answer.
    """
    changes = list(_changes(revisions, wanted, pending))
    if len(changes) > _MOST:
        log.info("%d floors to change: %d in the next rounds", len(changes), len(changes) - _MOST)
    for key, patch in changes[:_MOST]:
        patched()
        try:
            cluster.merge(Ref(api_version=REVISION[0], kind=REVISION[1], namespace=key[0], name=key[1]), patch)
        except KserveExtError as error:
            if error.exit_code == 4:
                raise
            log.warning("Revision %s/%s: %s", *key, error)


def _changes(
    revisions: Iterable[Object], wanted: Mapping[Key, int], pending: frozenset[Key]
) -> Iterator[tuple[Key, Object]]:
    for revision in sorted(revisions, key=lambda one: (key_of(one) in wanted, key_of(one))):
        key = key_of(revision)
        if key not in wanted and (not has_floor(revision) or (key[0], service_name(revision)) in pending):
            continue
        if (patch := change(revision, wanted.get(key))) is not None:
            yield key, patch
