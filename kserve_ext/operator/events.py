"""Events on an InferenceService, as `kubectl describe` shows them. One object for each reason, its count raised."""

from __future__ import annotations

import datetime
import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from kserve_ext.cluster.api import Cluster
from kserve_ext.errors import KserveExtError

log = logging.getLogger(__name__)

COMPONENT = "kserve-ext-operator"
_LONGEST = 1000  # of a message; the API server takes 1024
_WARNINGS = ("FloorPaused", "NotPlanned", "NotAsProfiled")


class Events:
    """Says things about services. What cannot be said is logged: an Event is never worth an error."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._counts: dict[str, tuple[int, str]] = {}

    def say(self, service: Mapping[str, Any], reason: str, text: str) -> None:
        """Make or repeat an Event."""
        metadata = service["metadata"]
        mark = hashlib.sha256(f"{metadata.get('uid')} {reason}".encode()).hexdigest()[:12]
        name = f"{metadata['name']}.{reason.lower()}.{mark}"
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        count, first = self._counts.get(name, (0, now))
        self._counts[name] = (count + 1, first)
        body = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
                               "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata.get("uid", "")},
            "reason": reason, "message": text[:_LONGEST], "type": "Warning" if reason in _WARNINGS else "Normal",
            "source": {"component": COMPONENT}, "reportingComponent": COMPONENT, "reportingInstance": "",
            "firstTimestamp": first, "lastTimestamp": now, "count": count + 1,
        }  # fmt: skip
        try:
            self._cluster.apply(body, force=True)
        except KserveExtError as error:
            log.warning("event %s of %s: %s", reason, metadata["name"], error)
