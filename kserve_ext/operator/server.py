"""HTTPS for the API server: /mutate and /validate; /healthz, /readyz and /metrics for whoever runs it. An ASGI app."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
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
    """The routes."""

    def __init__(self, admission: Admission, figures: Figures, ready: Callable[[], bool]) -> None:
        self._figures, self._ready = figures, ready
        self._reviews = {"/mutate": admission.mutate, "/validate": admission.validate}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, content, kind = await self._answer(scope["path"], receive)
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, path: str, receive: Receive) -> tuple[int, bytes, str]:
        if path in self._reviews:
            return await self._review(path, receive)
        if path == "/metrics":
            return 200, self._figures.text().encode(), "text/plain; version=0.0.4"
        fine = path == "/healthz" or (path == "/readyz" and self._ready())
        return (200 if fine else 503 if path == "/readyz" else 404), (b"ok\n" if fine else b"not ready\n"), "text/plain"

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
