"""The HTTP port: taken once, with a clear error where somebody else has it."""

from __future__ import annotations

import socket

from kserve_ext.errors import UnreachableError


def take_port(port: int, *, backlog: int | None = None) -> socket.socket:
    """A socket bound to the port, listening where a backlog is given. Raises UnreachableError where it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("0.0.0.0", port))
        if backlog is not None:
            listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise UnreachableError(
            f"the HTTP port {port} cannot be used: {error.strerror}",
            remedy="stop the process that holds it, or give another --http_port",
        ) from error
    return listener
