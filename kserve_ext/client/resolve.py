"""The addresses a host name stands for, asked of the system's resolver."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

Resolve = Callable[[], Awaitable[tuple[str, ...]]]


def resolver(host: str) -> Resolve:
    """Looks up `host` each time it is called: its addresses in order, none where the look-up fails."""

    async def resolve() -> tuple[str, ...]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:  # no such name now, or no answer
            return ()
        return tuple(sorted({str(entry[4][0]) for entry in found}))

    return resolve
