"""Requests to a cluster's API with plain dicts: tried again while the server is away, refusals as our errors.

Every request is one that may be sent twice: reads, server-side applies, deletes, merge patches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kserve_ext.cluster.conflicts import FIELD_MANAGER, conflict_error, read_conflicts
from kserve_ext.cluster.objects import Object, Ref, entries, ref_of
from kserve_ext.cluster.refusals import read_answer, refusal_error
from kserve_ext.cluster.requests import Requests, read_lines
from kserve_ext.errors import ClusterError

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_PAGE = 500
_GRACE_S = 30.0  # a watch that should have ended by itself and has not is a dead connection


@dataclass(frozen=True, slots=True)
class _Kind:
    plural: str
    namespaced: bool


class AbsentKindError(ClusterError):
    """The cluster has no such kind: its CRD is not installed."""


class Cluster:
    """One cluster under one context. `namespace` is the one meant where an object says none."""

    def __init__(self, client: Any, *, name: str, namespace: str, patience_s: float = 20.0) -> None:
        self.name, self.namespace = name, namespace
        self._requests = Requests(client, name=name, patience_s=patience_s)
        self._kinds: dict[str, dict[str, _Kind]] = {}

    @property
    def server(self) -> str:
        """The address of its API."""
        return self._requests.server

    # -------------------------------------------------------------------------------------------------- objects

    def get(self, ref: Ref) -> Object | None:
        """The object, or None where it, or its kind, is not there."""
        try:
            found: Object | None = self._json(
                "GET", self._path(ref), what=f"get {ref}", namespace=ref.namespace, missing_ok=True
            )
        except AbsentKindError:
            return None
        return found

    def list(
        self, api_version: str, kind: str, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[Object, ...]:
        """All objects of a kind, of every namespace where none is given; none where the kind is not there."""
        return self.list_at(api_version, kind, namespace=namespace, labels=labels, fields=fields)[0]

    def list_at(
        self, api_version: str, kind: str, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[tuple[Object, ...], str]:
        """The same, and the resource version from which a watch goes on."""
        path = self._collection(api_version, kind, namespace)
        query = [("limit", str(_PAGE)), *((key, value) for key, value in
                 (("labelSelector", labels), ("fieldSelector", fields)) if value)]  # fmt: skip
        found: list[Object] = []
        more = ""
        while True:
            page = self._json("GET", path, query=[*query, *([("continue", more)] if more else [])],
                              what=f"list {kind}s", namespace=namespace, missing_ok=True) or {}  # fmt: skip
            found += [{"apiVersion": api_version, "kind": kind, **item} for item in entries(page, "items")]
            metadata = page.get("metadata") or {}
            more = str(metadata.get("continue") or "")
            if not more:
                return tuple(found), str(metadata.get("resourceVersion") or "")

    def apply(self, wanted: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Server-side apply under our field manager; what the server makes of it. Raises ConflictError, RejectedError."""
        ref = ref_of(wanted, self.namespace)
        query = [
            ("fieldManager", FIELD_MANAGER),
            ("force", str(force).lower()),
            *([("dryRun", "All")] if dry_run else []),
        ]
        status, content = self._requests.send(
            "PATCH", self._path(ref), query=query, body=dict(wanted), content_type=_APPLY
        )
        if status == 409 and (conflicts := read_conflicts(content if isinstance(content, Mapping) else {})):
            raise conflict_error(ref, conflicts, self.get(ref) or {}, wanted)
        applied: Object = self._checked(status, content, what=str(ref), namespace=ref.namespace)
        return applied

    def merge(self, ref: Ref, change: Object) -> Object | None:
        """Merge a change into an object; None where it is gone."""
        query = [("fieldManager", FIELD_MANAGER)]
        status, content = self._requests.send("PATCH", self._path(ref), query=query, body=change, content_type=_MERGE)
        return None if status == 404 else self._checked(status, content, what=f"change {ref}", namespace=ref.namespace)

    def delete(self, ref: Ref, *, dry_run: bool = False) -> bool:
        """Delete an object and what it owns; False where it was not there."""
        body = {"propagationPolicy": "Background", **({"dryRun": ["All"]} if dry_run else {})}
        status, content = self._requests.send("DELETE", self._path(ref), body=body)
        if status == 404:
            return False
        self._checked(status, content, what=f"delete {ref}", namespace=ref.namespace)
        return True

    def watch(
        self, api_version: str, kind: str, version: str, *, namespace: str = "", labels: str = "", timeout_s: int = 300
    ) -> Iterator[Object]:
        """Changes after the resource version of a list, as watch events, until the server ends it. The first answer may be
        an event of type ERROR with code 410: list again.
        """
        query = [("watch", "true"), ("resourceVersion", version), ("timeoutSeconds", str(timeout_s)),
                 ("allowWatchBookmarks", "true"), *([("labelSelector", labels)] if labels else [])]  # fmt: skip
        status, answer = self._requests.send("GET", self._collection(api_version, kind, namespace), query=query, stream=True,
                                             silent_s=timeout_s + 30.0)  # fmt: skip
        if not 200 <= status < 300:
            self._checked(status, answer, what=f"watch {kind}s", namespace=namespace)
        yield from (json.loads(line) for line in read_lines(answer))

    def log_lines(
        self, pod: str, namespace: str, container: str, *, tail: int | None, previous: bool, follow: bool
    ) -> Iterator[str]:
        """The lines of a container's log; with `follow` until it ends."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = [("container", container), ("previous", str(previous).lower()), ("follow", str(follow).lower())]
        query += [("tailLines", str(tail))] if tail is not None else []
        status, answer = self._requests.send("GET", path, query=query, stream=True)
        if not 200 <= status < 300:
            self._checked(status, answer, what=f"log of {container} in pod {pod}", namespace=namespace)
        yield from read_lines(answer)

    # ----------------------------------------------------------------------------------------------- what there is

    def has_kind(self, api_version: str, kind: str) -> bool:
        """Whether the cluster knows a kind."""
        return kind in self._known(api_version)

    def openapi(self, api_version: str) -> Object | None:
        """The OpenAPI v3 document of a group and version, which holds its schemas; None where it is not there."""
        prefix = "apis/" if "/" in api_version else "api/"
        path = f"/openapi/v3/{prefix}{api_version}"
        found: Object | None = self._json("GET", path, what=f"schema of {api_version}", missing_ok=True)
        return found

    def _known(self, api_version: str) -> dict[str, _Kind]:
        if api_version not in self._kinds:
            prefix = "/apis/" if "/" in api_version else "/api/"
            found = self._json("GET", prefix + api_version, what=f"kinds of {api_version}", missing_ok=True) or {}
            self._kinds[api_version] = {
                str(one["kind"]): _Kind(plural=str(one["name"]), namespaced=bool(one["namespaced"]))
                for one in entries(found, "resources")
                if "/" not in str(one["name"])
            }
        return self._kinds[api_version]

    def _collection(self, api_version: str, kind: str, namespace: str) -> str:
        known = self._known(api_version).get(kind)
        if known is None:
            self._kinds.pop(api_version, None)  # it may be installed while we run
            remedy = {"serving.kserve.io": "install KServe, or name another cluster with --context",
                      "serving.knative.dev": "install Knative Serving, or use Standard mode",
                      "keda.sh": "install KEDA, or choose another kserve-ext.dev/scaler",
                      "autoscaling.k8s.io": "install the VPA, or leave kserve-ext.dev/vertical out"}  # fmt: skip
            group = api_version.partition("/")[0]
            raise AbsentKindError(
                f"{self.name} has no kind {kind} in {api_version}: its CRD is not installed, or is of another version",
                remedy=remedy.get(group, f"`kubectl api-resources --api-group={group}` lists what there is"),
            )
        prefix = ("/apis/" if "/" in api_version else "/api/") + api_version
        return (
            f"{prefix}/namespaces/{namespace}/{known.plural}"
            if known.namespaced and namespace
            else f"{prefix}/{known.plural}"
        )

    def _path(self, ref: Ref) -> str:
        return f"{self._collection(ref.api_version, ref.kind, ref.namespace)}/{ref.name}"

    def _json(
        self, method: str, path: str, *, what: str, query: Any = (), namespace: str = "", missing_ok: bool = False
    ) -> Any:
        status, content = self._requests.send(method, path, query=query)
        return None if status == 404 and missing_ok else self._checked(status, content, what=what, namespace=namespace)

    def _checked(self, status: int, content: Any, *, what: str, namespace: str = "") -> Any:
        if 200 <= status < 300:
            return content
        raise refusal_error(read_answer(status, content, what=what, namespace=namespace))


def _lines(answer: Any) -> Iterator[str]:
    """The lines of a streamed answer, as they come."""
    rest = b""
    for chunk in answer.stream(2**14):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")
