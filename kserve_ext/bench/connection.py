"""One non-blocking TCP or TLS connection with a send buffer, and the poller that wakes it.

The poller waits with microseconds: epoll_wait takes whole milliseconds, so its descriptor is put into select.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass

from kserve_ext.bench.target import Target
from kserve_ext.errors import UnreachableError

RECEIVE_BYTES = 65536
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a target's name led, and how to speak TLS there."""

    family: socket.AddressFamily
    address: tuple[str | int, ...]
    tls: ssl.SSLContext | None
    server_name: str


def find_route(target: Target, *, alpn: str) -> Route:
    """Connect once and keep the address that worked. Raises UnreachableError with host:port."""
    try:
        with socket.create_connection((target.host, target.port), CONNECT_TIMEOUT_S) as probe:
            family, address = probe.family, probe.getpeername()
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise UnreachableError(
            f"{target.address} does not answer: {reason}", remedy="check that the server runs and the port is right"
        ) from error
    context = None
    if target.tls:
        context = ssl.create_default_context()
        context.set_alpn_protocols([alpn])
    name = (target.authority or target.host).partition(":")[0]
    return Route(family=socket.AddressFamily(family), address=address, tls=context, server_name=name)


class Poller:
    """Waits for many connections at once."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}

    def add(self, connection: Connection, descriptor: int) -> None:
        self._connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLOUT)

    def watch(self, descriptor: int, *, writable: bool) -> None:
        self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if writable else 0))

    def remove(self, descriptor: int) -> None:
        if self._connections.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def poll(self, wait_s: float) -> None:
        """Let every connection that can read or write do so; wait at most `wait_s` for the first one."""
        if wait_s > 0 and not select.select((self._epoll,), (), (), wait_s)[0]:
            return
        for descriptor, _ in self._epoll.poll(0):
            connection = self._connections.get(descriptor)
            if connection is not None:  # an earlier one in this round may have closed it
                connection.wake()

    def close(self) -> None:
        for connection in list(self._connections.values()):
            connection.close()
        self._epoll.close()


class Connection(ABC):
    """Bytes out through `send`, bytes in through `received`; `lost` is called once when the connection ends."""

    def __init__(self, route: Route, poller: Poller) -> None:
        self._poller = poller
        self._unsent = bytearray()
        self._watching_writes = True
        self._connected = self._open = False
        raw = socket.socket(route.family, socket.SOCK_STREAM)
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connect_code = raw.connect_ex(route.address)
        self._route = route
        self._socket = raw
        self._descriptor = raw.fileno()
        self.closed = False
        poller.add(self, self._descriptor)

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes from the server."""

    @abstractmethod
    def lost(self, kind: str) -> None:
        """The connection is gone; `kind` says how, in words for an error table."""

    def send(self, data: bytes) -> None:
        """Send now what the socket takes, and the rest when it can."""
        if self.closed:
            return
        if self._open and not self._unsent:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                sent = 0
            except OSError as error:
                self._fail(error)
                return
            if sent == len(data):
                return
            data = data[sent:]
        self._unsent += data
        self._watch(True)

    def wake(self) -> None:
        """The socket can be read or written."""
        try:
            if not self._open and not self._establish():
                return
            if self._unsent:
                self._flush()
            self._receive()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Leave without a word."""
        if not self.closed:
            self.closed = True
            self._poller.remove(self._descriptor)
            self._socket.close()

    def _establish(self) -> bool:
        """Finish connecting, then the TLS handshake. False while the handshake waits for the server."""
        if not self._connected:
            self._finish_connect()
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.do_handshake()
            except ssl.SSLWantReadError:
                self._watch(False)
                return False
        self._open = True
        self._watch(bool(self._unsent))
        return True

    def _finish_connect(self) -> None:
        code = self._connect_code if self._connect_code != errno.EINPROGRESS else 0
        code = code or self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self._connected = True
        if self._route.tls is not None:  # keeps the descriptor, so the poller need not know
            self._socket = self._route.tls.wrap_socket(
                self._socket, server_hostname=self._route.server_name, do_handshake_on_connect=False
            )

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            del self._unsent[: self._socket.send(self._unsent)]
        self._watch(bool(self._unsent))

    def _receive(self) -> None:
        while not self.closed:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                self._end("connection closed")
                return
            self.received(data)
            if len(data) < RECEIVE_BYTES and not isinstance(self._socket, ssl.SSLSocket):
                return  # a TLS socket may hold decrypted bytes that epoll does not see: read it dry

    def _watch(self, writable: bool) -> None:
        if writable != self._watching_writes and not self.closed:
            self._watching_writes = writable
            self._poller.watch(self._descriptor, writable=writable)

    def _fail(self, error: OSError) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            self._end("certificate refused")
            return
        self._end(_KINDS.get(error.errno or 0, f"connection failed: {error.strerror or error}"))

    def _end(self, kind: str) -> None:
        if not self.closed:
            self.close()
            self.lost(kind)


_KINDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection closed",
    errno.ETIMEDOUT: "connection timed out",
}
