"""The fallback: floors that nobody renews are removed, also when the operator is gone for good.

A process of its own, with the right to read one Lease and to change Revisions, and nothing to decide: while the
operator lives it renews the Lease of its floors; when it has not for the Lease's duration, every floor goes.
"""

from __future__ import annotations

import logging
import threading

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref
from kserve_ext.errors import KserveExtError
from kserve_ext.operator.floors import SERVICE_LABEL, change, has_floor
from kserve_ext.operator.lease import Lease

log = logging.getLogger(__name__)

REVISION = ("serving.knative.dev/v1", "Revision")
FLOORS_LEASE = "kserve-ext-floors"
EVERY_S = 10.0
_AGAIN_S = 60.0  # while the operator is gone: a floor may have been raised in its last moment


def guard(cluster: Cluster, lease: Lease, ended: threading.Event, every_s: float = EVERY_S) -> None:
    """Watch the Lease until `ended`. What fails is tried again with the next look."""
    while not ended.is_set():
        pause_s = every_s
        try:
            if lease.expired():
                count = remove_all(cluster)
                pause_s = _AGAIN_S
                log.info("the floors were not renewed for %d s: %d removed", lease.duration_s, count)
        except KserveExtError as error:
            log.warning("%s", error)
        ended.wait(pause_s)


def remove_all(cluster: Cluster) -> int:
    """Give every Revision back the min-scale that it had; how many had another."""
    api_version, kind = REVISION
    found = [one for one in cluster.list(api_version, kind, labels=SERVICE_LABEL) if has_floor(one)]
    for revision in found:
        patch = change(revision, None)
        metadata = revision["metadata"]
        if patch is not None:
            cluster.merge(Ref(api_version=api_version, kind=kind, namespace=str(metadata["namespace"]),
                              name=str(metadata["name"])), patch)  # fmt: skip
    return len(found)
