"""A made-up API server with watches: objects by path, resource versions, patches, every request noted. Kept in memory.

It speaks what the operator uses of the Kubernetes API, so that what a real one cannot be made to do (be away, be slow, hold
500 services on two cores) can be done to the operator as it is, in a process of its own.
"""

from __future__ import annotations

import bisect
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

KINDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "/api/v1": (("configmaps", "ConfigMap"), ("pods", "Pod"), ("nodes", "Node"), ("resourcequotas", "ResourceQuota"),
                ("secrets", "Secret"), ("events", "Event"), ("namespaces", "Namespace")),
    "/apis/serving.kserve.io/v1beta1": (("inferenceservices", "InferenceService"),),
    "/apis/serving.kserve.io/v1alpha1": (("servingruntimes", "ServingRuntime"),),
    "/apis/serving.knative.dev/v1": (("revisions", "Revision"),),
    "/apis/autoscaling.internal.knative.dev/v1alpha1": (("podautoscalers", "PodAutoscaler"),),
    "/apis/coordination.k8s.io/v1": (("leases", "Lease"),),
    "/apis/apps/v1": (("deployments", "Deployment"),),
    "/apis/autoscaling/v2": (("horizontalpodautoscalers", "HorizontalPodAutoscaler"),),
    "/apis/keda.sh/v1alpha1": (("scaledobjects", "ScaledObject"),),
    "/apis/autoscaling.k8s.io/v1": (("verticalpodautoscalers", "VerticalPodAutoscaler"),),
    "/apis/apiextensions.k8s.io/v1": (("customresourcedefinitions", "CustomResourceDefinition"),),
    "/apis/admissionregistration.k8s.io/v1": (
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    ),
}  # fmt: skip
CLUSTER_WIDE = (
    "nodes", "namespaces", "customresourcedefinitions", "mutatingwebhookconfigurations", "validatingwebhookconfigurations",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    door: Any = None  # the Door that it came through
    created: bool = False  # a patch of an object that was not there

    @property
    def verb(self) -> str:
        """As a Role names it."""
        if self.method == "GET":
            listed = self.path.rpartition("/")[2] in PLURALS
            return "watch" if "watch" in self.query else "list" if listed else "get"
        return {"PATCH": "create" if self.created else "patch", "DELETE": "delete", "POST": "create"}[self.method]

    @property
    def namespace(self) -> str:
        """Of the object; empty where it has none, or of all namespaces."""
        return self.path.partition("/namespaces/")[2].partition("/")[0]

    @property
    def resource(self) -> tuple[str, str, str]:
        """API group, resource, and the object's name where there is one."""
        parts = self.path.replace(f"/namespaces/{self.namespace}", "", 1).strip("/").split("/")
        group, rest = (parts[1], parts[3:]) if parts[0] == "apis" else ("", parts[2:])
        return group, rest[0], rest[1] if len(rest) > 1 else ""


PLURALS = {plural for kinds in KINDS.values() for plural, _ in kinds}


@dataclass
class WatchedApi:
    """The objects, and what was asked."""

    objects: dict[str, Object] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    version: int = 1
    oldest: int = 0
    events: list[tuple[int, str, str, Object]] = field(default_factory=list)  # version, path, type, object
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: bool = False

    def put(self, path: str, found: Object) -> Object:
        """Make or replace an object, as whoever owns it does."""
        with self.changed:
            kind = "MODIFIED" if path in self.objects else "ADDED"
            self.version += 1
            uid = self.objects.get(path, {}).get("metadata", {}).get("uid") or f"uid-{self.version}"
            metadata = {"uid": uid, **found.get("metadata", {}), "resourceVersion": str(self.version)}
            stored = self.objects[path] = {**found, "metadata": metadata}
            self._note(path, kind, stored)
            return stored

    def remove(self, path: str) -> bool:
        """Delete an object."""
        with self.changed:
            found = self.objects.pop(path, None)
            if found is not None:
                self.version += 1
                self._note(path, "DELETED", found)
            return found is not None

    def forget_events(self) -> None:
        """Compact: a watch from an older version is told to list again."""
        with self.changed:
            self.events.clear()
            self.oldest = self.version

    def _note(self, path: str, kind: str, found: Object) -> None:
        self.events.append((self.version, path, kind, found))
        self.changed.notify_all()

    # ---------------------------------------------------------------------------------------------------- requests

    def answer(self, door: Door, method: str, path: str, query: Mapping[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and content of everything but a watch."""
        if (known := discovered(path)) is not None:
            return 200, known
        self.asked.append(Asked(method, path, query, door, created=method == "PATCH" and path not in self.objects))
        if method == "GET" and path.rpartition("/")[2] in PLURALS:
            with self.changed:
                items = [found for at, found in self.objects.items() if _within(at, path) and _labelled(found, query)]
                return 200, {"metadata": {"resourceVersion": str(self.version)}, "items": items}
        if method == "GET":
            return (200, self.objects[path]) if path in self.objects else (404, {"message": "not found"})
        if method == "DELETE":
            return (200, {}) if self.remove(path) else (404, {"message": "not found"})
        return self._patch(path, body)

    def _patch(self, path: str, body: Any) -> tuple[int, Any]:
        before = self.objects.get(path)
        wanted = (body.get("metadata") or {}).get("resourceVersion")
        if before is not None and wanted not in (None, before["metadata"]["resourceVersion"]):
            return 409, {"message": "the object has been modified", "reason": "Conflict"}
        if before is None and "kind" not in body:
            return 404, {"message": "not found"}
        after = merged(before or {"metadata": {"name": path.rpartition("/")[2]}}, body)
        if before is not None and merged(after, {"metadata": {"resourceVersion": None}}) == merged(
            before, {"metadata": {"resourceVersion": None}}
        ):
            return 200, before
        return 200, self.put(path, after)

    def follow(self, door: Door, path: str, query: Mapping[str, list[str]]) -> Iterator[Object | None]:
        """The events of a watch; None while there is nothing to tell."""
        self.asked.append(Asked("GET", path, query, door))
        at = int(query["resourceVersion"][0])
        if at < self.oldest:
            yield {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
            return
        while not self.ended:
            with self.changed:
                news = self.events[bisect.bisect_right(self.events, at, key=lambda event: event[0]) :]
                if not news:
                    self.changed.wait(0.2)
                    yield None
            for version, where, kind, found in news:
                at = version
                if _within(where, path) and _labelled(found, query):
                    yield {"type": kind, "object": found}


def discovered(path: str) -> Object | None:
    """What the server says of its own kinds; None where something else is asked."""
    if path in KINDS:
        return {"resources": [
            {"name": plural, "singularName": "", "kind": kind, "namespaced": plural not in CLUSTER_WIDE,
             "verbs": ["get", "list", "watch", "patch", "create", "delete"]} for plural, kind in KINDS[path]
        ]}  # fmt: skip
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        groups: dict[str, list[dict[str, str]]] = {}
        for each in KINDS:
            if each.startswith("/apis/"):
                _, _, group, version = each.split("/")
                groups.setdefault(group, []).append({"version": version})
        return {"groups": [{"name": name, "versions": versions, "preferredVersion": versions[0]}
                           for name, versions in groups.items()]}  # fmt: skip
    return {"major": "1", "minor": "34"} if path == "/version" else None


def _within(path: str, collection: str) -> bool:
    """Whether an object is of a collection, of one namespace or of all."""
    root, _, plural = collection.rpartition("/")
    if path.rpartition("/")[0] == collection:
        return True
    return path.startswith(f"{root}/namespaces/") and path.split("/")[-2] == plural and "/namespaces/" not in root


def _labelled(found: Object, query: Mapping[str, list[str]]) -> bool:
    labels = found.get("metadata", {}).get("labels") or {}
    return all(label.partition("=")[0] in labels for label in query.get("labelSelector", []))


def merged(into: Any, more: Any) -> Any:
    """A JSON merge patch applied."""
    if not isinstance(more, dict):
        return more
    result = dict(into) if isinstance(into, dict) else {}
    for key, value in more.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@dataclass
class Door:
    """One way to the server: an address that can be shut. `elsewhere` answers what is not of the API, as a Prometheus would."""

    api: WatchedApi
    elsewhere: Callable[[str, Mapping[str, list[str]]], Any] = lambda path, query: {}
    shut: bool = False
    url: str = ""


@contextmanager
def serving(door: Door, port: int = 0) -> Iterator[Door]:
    """The server, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def _do(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            if door.shut:
                self.close_connection = True
            elif parts.path.startswith("/prometheus/"):
                self._say(200, door.elsewhere(parts.path, query))
            elif "watch" in query:
                self._stream(door.api.follow(door, parts.path, query))
            else:
                self._say(*door.api.answer(door, self.command, parts.path, query, body))

        def _say(self, status: int, content: Any) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _stream(self, events: Iterator[Object | None]) -> None:
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            for event in events:
                if door.shut:
                    return
                if event is not None:
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    self.wfile.flush()

        do_GET = do_PATCH = do_DELETE = _do  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that breaks off is what is tested."""

    with Server(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        door.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield door
        finally:
            door.api.ended = True
            server.shutdown()
