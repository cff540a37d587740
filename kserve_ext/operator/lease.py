"""A Lease held by one of several processes. Expiry is told by what one sees change, never by comparing clocks."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable

from kserve_ext.cluster.api import Cluster
from kserve_ext.cluster.objects import Ref, dig
from kserve_ext.errors import KserveExtError

log = logging.getLogger(__name__)

_API = "coordination.k8s.io/v1"


class Lease:
    """One Lease object, seen by one process called `identity`."""

    def __init__(
        self, cluster: Cluster, *, namespace: str, name: str, identity: str, duration_s: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._cluster, self.identity, self.duration_s, self._monotonic = cluster, identity, duration_s, monotonic
        self._ref = Ref(api_version=_API, kind="Lease", namespace=namespace, name=name)
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0

    def hold(self) -> bool:
        """Take the Lease, or renew it; False while another holds it. Raises KserveExtError when the server is away."""
        found = self._cluster.get(self._ref)
        if found is None:
            self._cluster.apply(self._body(""), force=True)
            found = self._cluster.get(self._ref) or {}
        holder = str(dig(found, "spec", "holderIdentity") or "")
        if holder not in ("", self.identity) and not self._looks_expired(found):
            return False
        change = {**self._body(self.identity), "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}
        try:
            return self._cluster.merge(self._ref, change) is not None
        except KserveExtError as error:
            if error.exit_code == 4:
                raise
            return False  # someone was faster

    def release(self) -> None:
        """Let another take it at once."""
        found = self._cluster.get(self._ref)
        if found is not None and dig(found, "spec", "holderIdentity") == self.identity:
            self._cluster.merge(self._ref, {"spec": {"holderIdentity": None}})

    def renew(self) -> None:
        """Say that what this Lease stands for is alive, whoever said so before."""
        self._cluster.apply(self._body(self.identity), force=True)

    def expired(self) -> bool:
        """Whether nobody has renewed it for its duration, as far as this process could see; a Lease that is not there has."""
        found = self._cluster.get(self._ref)
        return found is None or self._looks_expired(found)

    def _looks_expired(self, found: object) -> bool:
        now = self._monotonic()
        mark = (str(dig(found, "spec", "holderIdentity")), str(dig(found, "spec", "renewTime")))
        if mark != self._seen:
            self._seen, self._seen_at = mark, now
        duration_s = float(dig(found, "spec", "leaseDurationSeconds") or self.duration_s)
        return now - self._seen_at >= duration_s

    def _body(self, holder: str) -> dict[str, object]:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, object] = {"leaseDurationSeconds": self.duration_s, "renewTime": now}
        if holder:
            spec["holderIdentity"] = holder
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        return {"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": spec}
