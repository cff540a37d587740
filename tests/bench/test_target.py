from __future__ import annotations

import pytest

from kserve_ext.bench.target import Target, parse_target
from kserve_ext.domain import Protocol
from kserve_ext.errors import InputError


@pytest.mark.parametrize(
    ("url", "host", "port", "protocol", "tls"),
    [
        ("http://h:8000", "h", 8000, Protocol.REST, False),
        ("http://h", "h", 80, Protocol.REST, False),
        ("https://h/", "h", 443, Protocol.REST, True),
        ("GRPC://h:1", "h", 1, Protocol.GRPC, False),
        ("grpcs://h", "h", 443, Protocol.GRPC, True),
        ("127.0.0.1:8000", "127.0.0.1", 8000, Protocol.REST, False),
        ("[::1]:8000", "::1", 8000, Protocol.REST, False),
    ],
)
def test_a_url_names_host_port_protocol_and_tls(url: str, host: str, port: int, protocol: Protocol, tls: bool) -> None:
    assert parse_target(url, model="m") == Target(host=host, port=port, protocol=protocol, model="m", tls=tls)


def test_a_bare_address_speaks_the_protocol_asked_for() -> None:
    target = parse_target("h:8001", model="m", protocol=Protocol.GRPC, authority="m.example.com", version="2")
    assert (target.protocol, target.authority, target.version) == (Protocol.GRPC, "m.example.com", "2")


def test_an_address_puts_brackets_around_ipv6() -> None:
    assert parse_target("[::1]:80", model="m").address == "[::1]:80"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://h:1", "unknown scheme"),
        ("h", "no port"),
        ("grpc://h", "no port"),
        ("", "no host"),
        ("http://:80", "no host"),
        ("http://h:0", "port 0"),
        ("http://h:99999", "not a URL"),
        ("http://h:x", "not a URL"),
        ("http://h/v2/models/m", "the path is made from the model's name"),
        ("http://u@h:1", "only scheme, host and port"),
    ],
)
def test_a_bad_url_says_what_is_allowed(url: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        parse_target(url, model="m")
    assert "allowed: http://host:port" in str(caught.value)


def test_a_url_of_another_protocol_than_asked_for_is_refused() -> None:
    with pytest.raises(InputError, match="speaks rest, but grpc"):
        parse_target("http://h:1", model="m", protocol=Protocol.GRPC)
