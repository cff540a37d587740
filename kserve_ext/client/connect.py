"""From what a user writes to something that sends requests: the link to a server, and a transport over it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kserve_ext.bench.target import parse_target
from kserve_ext.client.balanced import Balance, BalancedTransport
from kserve_ext.client.budget import Budget
from kserve_ext.client.endpoint import service_name
from kserve_ext.client.resolve import resolver
from kserve_ext.client.transport import AsyncTransport, Link, Transport
from kserve_ext.domain import Protocol
from kserve_ext.errors import InputError, Problem

_HEADER_NAME = re.compile(r"[0-9A-Za-z_.-]+")


def find_link(
    where: str, *, headers: Mapping[str, str] | None = None, authority: str | None = None, ca_file: Path | None = None
) -> Link:
    """How to reach the server at a URL, or of an InferenceService. Raises InputError, UnreachableError."""
    service = service_name(where)
    if service is not None:
        from kserve_ext.client.cluster import find_url

        where = find_url(service)
    target = parse_target(where, model="", authority=authority)
    try:
        target.host.encode("idna")
    except UnicodeError as error:
        raise InputError(Problem(what=f"no host name: {error}", field="where", found=repr(where))) from error
    return Link(target=target, headers=_checked(headers or {}), ca_file=ca_file)


def _checked(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers, when both protocols can carry them. Raises InputError; values are secrets and not shown."""
    problems = [
        Problem(
            what="not a header", field=f"headers[{name!r}]", allowed="a name of letters, digits, _ . -; printable ASCII"
        )
        for name, value in headers.items()
        if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable())
    ]
    if problems:
        raise InputError(*problems)
    return tuple(headers.items())


def check_timeout(timeout_s: float) -> float:
    """The timeout, when it is one. Raises InputError."""
    if not 0 < timeout_s < math.inf:
        raise InputError(
            Problem(what="no time to wait", field="timeout_s", found=repr(timeout_s), allowed="seconds above 0")
        )
    return timeout_s


def open_transport(link: Link) -> Transport:
    """Connections for threads. The protocol's library is imported here, and only that one."""
    if link.target.protocol is Protocol.GRPC:
        from kserve_ext.client.grpc_transport import GrpcTransport

        return GrpcTransport(link)
    from kserve_ext.client.http_transport import HttpTransport

    return HttpTransport(link)


def open_async_transport(link: Link, balance: Balance | None, budget: Budget) -> AsyncTransport:
    """Connections within the running event loop, to one address or balanced over all that the host name stands for."""
    if balance is None:
        return _one_address(link)
    return BalancedTransport(
        balance,
        resolve=resolver(link.target.host),
        connect=lambda address: _one_address(_replica_link(link, address)),
        may_hedge=budget.take,
    )


def _replica_link(link: Link, address: str) -> Link:
    """The same link to one of the addresses; the server still sees the name that was asked for."""
    target = replace(link.target, host=address, authority=link.authority)
    return replace(link, target=target, server_name=link.target.host if link.target.tls else None)


def _one_address(link: Link) -> AsyncTransport:
    if link.target.protocol is Protocol.GRPC:
        from kserve_ext.client.grpc_transport import AsyncGrpcTransport

        return AsyncGrpcTransport(link)
    from kserve_ext.client.http_transport import AsyncHttpTransport

    return AsyncHttpTransport(link)
