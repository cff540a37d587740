"""HTTPS for the API server: /mutate and /validate, an ASGI app; and plain HTTP with /healthz, /readyz and /metrics.

The second answers before there is a certificate, and whatever the first is busy with.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kserve_ext.errors import KserveExtError
from kserve_ext.operator.admission import Admission
from kserve_ext.operator.certificates import Certificate
from kserve_ext.operator.figures import Figures

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LARGEST_BYTES = 8 * 2**20  # the API server's objects have at most 3 MiB, and an update has two


class App:
    """The webhooks."""

    def __init__(self, admission: Admission, figures: Figures) -> None:
        self._figures = figures
        self._reviews = {"/mutate": admission.mutate, "/validate": admission.validate}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] in self._reviews:
            status, content, kind = await self._review(scope["path"], receive)
        else:
            status, content, kind = 404, b"not found\n", "text/plain"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _review(self, path: str, receive: Receive) -> tuple[int, bytes, str]:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = bool(message.get("more_body"))
            if len(body) > _LARGEST_BYTES:
                return 413, b"too large\n", "text/plain"
        try:
            with self._figures.timed(path):
                found = await self._reviews[path](json.loads(body))
        except (ValueError, RecursionError, KserveExtError) as error:
            return 400, f"not an AdmissionReview: {error}\n".encode(), "text/plain"
        self._figures.answered(path, found["response"])
        return 200, json.dumps(found).encode(), "application/json"


class CertificateFiles:
    """A certificate where the TLS library can read it: in memory-backed files of this process alone."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kserve-ext-tls-")
        self.certificate, self.key = Path(self._folder.name) / "tls.crt", Path(self._folder.name) / "tls.key"

    def write(self, found: Certificate) -> None:
        """Put it there."""
        self.certificate.write_text(found.certificate)
        descriptor = os.open(self.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(found.key)


def https_server(app: App, host: str, port: int, files: CertificateFiles | None) -> Any:
    """A uvicorn server; without `files` it speaks plain HTTP, for tests and benches."""
    import uvicorn

    tls = {"ssl_certfile": str(files.certificate), "ssl_keyfile": str(files.key)} if files else {}
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off",
                            timeout_keep_alive=75, timeout_graceful_shutdown=10, **tls)  # fmt: skip
    return uvicorn.Server(config)


def serve_status(port: int, figures: Figures, ready: Callable[[], bool]) -> ThreadingHTTPServer:
    """The status pages, on a thread of their own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = 404, "not found\n"
            if self.path == "/metrics":
                status, text = 200, figures.text()
            elif self.path == "/healthz" or (self.path == "/readyz" and ready()):
                status, text = 200, "ok\n"
            elif self.path == "/readyz":
                status, text = 503, "not ready\n"
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not worth a line."""

    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server
