"""Requests over HTTP/1.1 with pooled connections, sync and async."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Sequence
from typing import Any

import httpcore2

from kserve_ext.bench.message import Request
from kserve_ext.client.answer import Answer, Outcome, http_answer, unanswered
from kserve_ext.client.transport import CONNECT_TIMEOUT_S, MAX_CONNECTIONS, TIMEOUT_HEADER, Link
from kserve_ext.errors import InputError, Problem


class _Left(dict[str, float]):
    """A time limit for each step of a request, all of which end at the same moment."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._until = time.monotonic() + timeout_s

    def get(self, key: str, default: Any = None) -> Any:
        left_s = max(self._until - time.monotonic(), 1e-6)  # 0 would mean: do not block
        return min(left_s, CONNECT_TIMEOUT_S) if key == "connect" else left_s

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._until


class HttpTransport:
    """Requests from any thread."""

    def __init__(self, link: Link) -> None:
        self._outgoing = _Outgoing(link)
        self._pool = httpcore2.ConnectionPool(ssl_context=_tls(link), max_connections=MAX_CONNECTIONS)

    def send(self, request: Request, timeout_s: float) -> Answer:
        """One attempt."""
        left = _Left(timeout_s)
        try:
            with self._pool.stream(**self._outgoing.arguments(request, timeout_s, left)) as response:
                parts = []
                for part in response.iter_stream():
                    if left.over:
                        return _late(timeout_s)
                    parts.append(part)
            return _answer(response.status, response.headers, b"".join(parts))
        except _FAULTS as error:
            return _unanswered(error, timeout_s)

    def close(self) -> None:
        self._pool.close()


class AsyncHttpTransport:
    """Requests within one event loop."""

    def __init__(self, link: Link) -> None:
        self._outgoing = _Outgoing(link)
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=_tls(link), max_connections=MAX_CONNECTIONS)

    async def send(self, request: Request, timeout_s: float) -> Answer:
        """One attempt. Cancelling it closes its connection, which tells the server."""
        steps = {"connect": min(timeout_s, CONNECT_TIMEOUT_S)}
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._pool.request(**self._outgoing.arguments(request, timeout_s, steps))
            return _answer(response.status, response.headers, response.content)
        except TimeoutError:
            return _late(timeout_s)
        except _FAULTS as error:
            return _unanswered(error, timeout_s)

    async def close(self) -> None:
        await self._pool.aclose()


class _Outgoing:
    """Makes requests of one server in the library's words."""

    def __init__(self, link: Link) -> None:
        target = link.target
        self._scheme = b"https" if target.tls else b"http"
        self._host, self._port = target.host.encode("idna"), target.port
        self._headers = [("Host", link.authority), ("User-Agent", "kserve-ext"), *link.headers]
        self._extensions: dict[str, Any] = {}
        if link.server_name:
            self._extensions["sni_hostname"] = link.server_name

    def arguments(self, request: Request, timeout_s: float, limits: dict[str, float]) -> dict[str, Any]:
        """What the pool takes."""
        left_ms = str(max(1, math.floor(timeout_s * 1000)))
        return {
            "method": request.method,
            "url": httpcore2.URL(scheme=self._scheme, host=self._host, port=self._port, target=request.path),
            "headers": [*self._headers, *request.headers, (TIMEOUT_HEADER, left_ms)],
            "content": request.body if request.method != "GET" else None,
            "extensions": {**self._extensions, "timeout": limits},
        }


def _tls(link: Link) -> ssl.SSLContext | None:
    """Raises InputError."""
    if not link.target.tls:
        return None
    try:
        return ssl.create_default_context(cafile=link.ca_file)
    except OSError as error:
        what = f"no certificates to trust: {error.strerror or error}"
        raise InputError(Problem(file=str(link.ca_file), what=what, allowed="a PEM file")) from error


def _answer(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Answer:
    told = {name.lower(): value.decode("latin-1") for name, value in headers}
    return http_answer(
        status,
        body,
        json_bytes=told.get(b"inference-header-content-length"),
        retry_after=told.get(b"retry-after"),
        now_s=time.time(),
    )


_FAULTS = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError)


def _unanswered(error: Exception, timeout_s: float) -> Answer:
    """The answer that stands for a fault. Only one before anything was sent may be followed by another attempt."""
    if isinstance(error, httpcore2.ConnectTimeout):
        return unanswered(Outcome.UNAVAILABLE, "no connection", "the address does not answer", again=True)
    if isinstance(error, httpcore2.TimeoutException):
        return _late(timeout_s)
    if isinstance(error, httpcore2.ConnectError):
        certificate = "certificate" in str(error).lower()  # another attempt would see the same one
        return unanswered(Outcome.UNAVAILABLE, "no connection", str(error), again=not certificate)
    kind = "no HTTP" if isinstance(error, httpcore2.ProtocolError) else "connection lost"
    return unanswered(Outcome.LOST, kind, str(error))


def _late(timeout_s: float) -> Answer:
    return unanswered(Outcome.LATE, f"no answer within {timeout_s:.3g} s")
