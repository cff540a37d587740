"""HTTP/1.1 for the load loop: keep-alive connections, one request at a time on each.

The pool grows when every connection is busy, up to a bound. A response is framed and counted, not decoded.
"""

from __future__ import annotations

from collections.abc import Sequence

from kserve_ext.bench.connection import Connection, Poller, Route, find_route
from kserve_ext.bench.message import ANSWERED, Reply, Request
from kserve_ext.bench.responses import FramingError, Response, ResponseReader
from kserve_ext.bench.target import Target
from kserve_ext.bench.transport import Outbox

MAX_CONNECTIONS = 512
BAD_RESPONSE = "bad HTTP response"


def request_bytes(request: Request, authority: str) -> bytes:
    """The whole request as it goes over the wire."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {authority}", "User-Agent: kserve-ext"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if request.method != "GET":
        lines.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join([*lines, "", ""]).encode() + request.body


class Http1Transport:
    """Requests over a pool of keep-alive connections."""

    def __init__(self, target: Target, requests: Sequence[Request], connections: int | None, outbox: Outbox) -> None:
        self.outbox = outbox
        self._route = find_route(target, alpn="http/1.1")
        self.poller = Poller()
        self._requests = [request_bytes(request, target.authority or target.address) for request in requests]
        self._limit = connections or MAX_CONNECTIONS
        self._idle: list[_Http1Connection] = []
        self._connections: set[_Http1Connection] = set()

    def start(self, ticket: int, index: int) -> bool:
        if self._idle:
            connection = self._idle.pop()  # the last one used: its socket and parser are warm
        elif len(self._connections) < self._limit:
            try:
                connection = _Http1Connection(self._route, self.poller, self)
            except OSError as error:
                self.outbox.finish(ticket, f"no socket: {error.strerror}")
                return True
            self._connections.add(connection)
        else:
            return False
        connection.request(ticket, self._requests[index])
        return True

    def release(self, connection: _Http1Connection) -> None:
        self._idle.append(connection)

    def forget(self, connection: _Http1Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        self.poller.close()


class _Http1Connection(Connection):
    def __init__(self, route: Route, poller: Poller, pool: Http1Transport) -> None:
        self._pool = pool
        self._reader = ResponseReader()
        self._ticket: int | None = None
        super().__init__(route, poller)

    def request(self, ticket: int, data: bytes) -> None:
        self._ticket = ticket
        self.send(data)

    def received(self, data: bytes) -> None:
        try:
            responses = self._reader.feed(data)
        except FramingError:
            self._drop(BAD_RESPONSE)
            return
        for response in responses:
            self._answer(response)

    def lost(self, kind: str) -> None:
        try:
            response = self._reader.finish() if kind == "connection closed" else None
        except FramingError:
            response, kind = None, BAD_RESPONSE
        if response is not None and self._ticket is not None:
            self._answer(response)
        else:
            self._drop(kind)

    def _answer(self, response: Response) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is None:  # an answer to nothing
            self._drop(BAD_RESPONSE)
            return
        outbox = self._pool.outbox
        if outbox.keep_replies:
            outbox.reply(ticket, _reply(response))
        else:
            outbox.finish(ticket, ANSWERED if response.status == 200 else f"HTTP {response.status}")
        if response.keep_alive and not self.closed:
            self._pool.release(self)
        else:
            self._drop("")

    def _drop(self, kind: str) -> None:
        """Close, and fail the request that waits here."""
        self.close()
        self._pool.forget(self)
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._pool.outbox.finish(ticket, kind)


def _reply(response: Response) -> Reply:
    good = response.status == 200
    return Reply(
        outcome=ANSWERED if good else f"HTTP {response.status}",
        detail="" if good else response.body[:500].decode(errors="replace").strip(),
        json_bytes=response.json_bytes,
        body=response.body,
    )
