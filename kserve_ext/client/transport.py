"""What carries a request to a server and brings its answer, sync or async; and what all of them need to know.

A transport keeps its connections open between requests. It makes one attempt and never raises for what a server or
a network does: that is in the `Answer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kserve_ext.bench.message import Request
from kserve_ext.bench.target import Target
from kserve_ext.client.answer import Answer

TIMEOUT_HEADER = "X-Request-Timeout-Ms"  # HTTP has no deadline of its own: how long this client still waits
CONNECT_TIMEOUT_S = 5.0  # a packet to a dead address is lost in silence
MAX_CONNECTIONS = 256  # HTTP/1.1 carries one request at a time on each


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How to reach a server, and what every request to it carries."""

    target: Target
    headers: tuple[tuple[str, str], ...] = ()
    ca_file: Path | None = None
    server_name: str | None = None  # the name in its certificate, where the address is another

    @property
    def authority(self) -> str:
        """The host name asked for."""
        return self.target.authority or self.target.address


class Transport(Protocol):
    """Requests to one server, from any thread."""

    def send(self, request: Request, timeout_s: float) -> Answer: ...

    def close(self) -> None: ...


class AsyncTransport(Protocol):
    """Requests to one server, or to many that stand behind one name, within one event loop."""

    async def send(self, request: Request, timeout_s: float) -> Answer: ...

    async def close(self) -> None: ...
