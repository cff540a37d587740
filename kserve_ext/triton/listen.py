"""The ports of one embedded server: given ones are checked, the others are free ones. Loopback only."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from kserve_ext.errors import TritonError

LOOPBACK = "127.0.0.1"


class PortTakenError(TritonError):
    """A port that another process listens on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where one server listens."""

    http: int
    grpc: int
    metrics: int


def choose_ports(*, http: int | None = None, grpc: int | None = None, metrics: int | None = None) -> Ports:
    """The given ports where they are free, and free ones for the rest. Raises PortTakenError or TritonError.

    A free port can be taken by another process before Triton opens it: the caller starts again with other ports.
    """
    wanted = {"http": http, "grpc": grpc, "metrics": metrics}
    chosen: dict[str, int] = {}
    with contextlib.ExitStack() as held:  # all at once, so that no two names get the same port
        for name, port in sorted(wanted.items(), key=lambda item: item[1] is None):
            chosen[name] = _bind(held, name, port or 0)
    return Ports(**chosen)


def _bind(held: contextlib.ExitStack, name: str, port: int) -> int:
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for Triton too
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(1)  # with SO_REUSEADDR two bound sockets may share a port, two listening ones may not
    except OverflowError as error:
        raise TritonError(f"the {name} port cannot be {port}", remedy="give a port from 1 to 65535") from error
    except OSError as error:
        raise PortTakenError(
            f"the {name} port {port} cannot be used: {error.strerror}",
            remedy="stop the process that holds it, or leave the port out to get a free one",
        ) from error
    bound: int = listener.getsockname()[1]
    return bound
