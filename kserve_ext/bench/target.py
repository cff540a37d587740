"""Where requests go: one model at one address, over HTTP or gRPC.

In: a URL as a user writes it. Out: a frozen `Target`, or an InputError that says what is allowed. Connects nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from kserve_ext.domain import Protocol
from kserve_ext.errors import InputError, Problem

URL_ALLOWED = "http://host:port, https://host, grpc://host:port, grpcs://host:port, or host:port"
_SCHEMES: dict[str, tuple[Protocol, bool, int | None]] = {  # protocol, tls, port when none is given
    "http": (Protocol.REST, False, 80),
    "https": (Protocol.REST, True, 443),
    "grpc": (Protocol.GRPC, False, None),  # gRPC has no usual port
    "grpcs": (Protocol.GRPC, True, 443),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One model behind one address. `authority` is the host name asked for, where a gateway routes by it."""

    host: str
    port: int
    protocol: Protocol
    model: str
    tls: bool = False
    authority: str | None = None
    version: str | None = None

    @property
    def address(self) -> str:
        """host:port, with brackets around an IPv6 host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_target(
    url: str,
    *,
    model: str,
    protocol: Protocol | None = None,
    authority: str | None = None,
    version: str | None = None,
) -> Target:
    """The target behind `url`. A bare host:port speaks `protocol`, REST when none is given. Raises InputError."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        scheme = "grpc" if protocol is Protocol.GRPC else "http"
        url = f"{scheme}://{url}"
    if scheme.lower() not in _SCHEMES:
        raise _bad_url("unknown scheme", url)
    spoken, tls, usual_port = _SCHEMES[scheme.lower()]
    if protocol not in (None, spoken):
        raise _bad_url(f"this URL speaks {spoken}, but {protocol} is asked for", url)
    host, port = _host_and_port(url)
    if port is None and (not separator or usual_port is None):
        raise _bad_url("no port", url)
    return Target(
        host=host,
        port=port or usual_port or 0,
        protocol=spoken,
        model=model,
        tls=tls,
        authority=authority,
        version=version,
    )


def _host_and_port(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_url(f"not a URL: {error}", url) from error
    if not host or port == 0:
        raise _bad_url("no host" if not host else "port 0", url)
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise _bad_url("only scheme, host and port are used; the path is made from the model's name", url)
    return host, port


def _bad_url(what: str, url: str) -> InputError:
    return InputError(Problem(what=what, field="url", found=repr(url), allowed=URL_ALLOWED))
