"""A local HTTP server that speaks as much of the Kubernetes API as the faults need that a real one cannot be made to have."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kserve_ext.cluster.difference import overlay

KINDS = {
    "/api/v1": {
        "ConfigMap": "configmaps",
        "Pod": "pods",
        "Event": "events",
        "Namespace": "namespaces",
        "Node": "nodes",
    },
    "/apis/serving.kserve.io/v1beta1": {"InferenceService": "inferenceservices"},
    "/apis/serving.kserve.io/v1alpha1": {
        "ServingRuntime": "servingruntimes",
        "ClusterServingRuntime": "clusterservingruntimes",
    },
    "/apis/apps/v1": {"Deployment": "deployments"},
}
CLUSTER_WIDE = ("Namespace", "Node", "ClusterServingRuntime")
Fault = Callable[
    [str, str], "tuple[int, Any] | None"
]  # method and path → an answer instead; None: as usual; raises: no answer


class GoneError(Exception):
    """The server breaks the connection off instead of answering."""


class TinyApi:
    """Objects by path, the requests that came, and a fault that may answer first."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {
            "/api/v1/namespaces/models": {"metadata": {"name": "models"}, "status": {"phase": "Active"}}
        }
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault = lambda method, path: None
        self.url = ""
        self.kinds = {version: dict(kinds) for version, kinds in KINDS.items()}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.requests.append((method, path))
        if (instead := self.fault(method, path)) is not None:
            return instead
        if path in self.kinds:
            resources = [
                {"kind": kind, "name": plural, "namespaced": kind not in CLUSTER_WIDE}
                for kind, plural in self.kinds[path].items()
            ]
            return 200, {"resources": resources}
        if method == "PATCH":
            return self._patch(path, body, query)
        if method == "DELETE":
            return self._delete(path, dry_run="dryRun" in body)
        if path in self.objects:
            return 200, self.objects[path]
        if path.rpartition("/")[2] in {plural for kinds in self.kinds.values() for plural in kinds.values()}:
            return 200, {"items": [found for where, found in self.objects.items() if where.rpartition("/")[0] == path]}
        return self._missing()

    def _patch(self, path: str, body: Any, query: dict[str, list[str]]) -> tuple[int, Any]:
        after = overlay(self.objects.get(path, {}), body)
        after["metadata"].setdefault("uid", f"uid-{path}")
        managers = [{"manager": name} for name in query.get("fieldManager", [])]
        after["metadata"].setdefault("managedFields", managers)
        if "dryRun" not in query:
            self.objects[path] = after
        return 200, after

    def _delete(self, path: str, *, dry_run: bool) -> tuple[int, Any]:
        if path not in self.objects:
            return self._missing()
        if not dry_run:
            del self.objects[path]
        return 200, {}

    @staticmethod
    def _missing() -> tuple[int, Any]:
        return 404, {"message": "not found", "reason": "NotFound"}


@contextlib.contextmanager
def serving(api: TinyApi, certificate: Path | None = None) -> Iterator[TinyApi]:
    """The server, over TLS with a certificate (a PEM file with its key), until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            parts = urlsplit(self.path)
            try:
                status, content = api.answer(self.command, parts.path, parse_qs(parts.query), body)
            except GoneError:
                self.close_connection = True
                self.connection.close()
                return
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_DELETE = do_POST = _do  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that breaks off, as one that does not trust the certificate, is what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        api.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        yield api
        server.shutdown()
        thread.join()


def kubeconfig(folder: Path, url: str, *, ca_file: Path | None = None) -> Path:
    """A kubeconfig with the context `here`, namespace models."""
    cluster = {"server": url} | ({"certificate-authority": str(ca_file)} if ca_file else {})
    file = folder / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "here",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "models"}}],
            }
        )
    )  # fmt: skip
    return file
