"""Ports: free ones are found, given ones are checked."""

from __future__ import annotations

import socket

import pytest

from kserve_ext.errors import TritonError
from kserve_ext.triton.listen import PortTakenError, choose_ports


def test_free_ports_differ_and_can_be_opened() -> None:
    ports = choose_ports()
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    for port in (ports.http, ports.grpc, ports.metrics):
        socket.create_server(("127.0.0.1", port)).close()


def test_given_ports_are_kept() -> None:
    free = choose_ports()
    chosen = choose_ports(http=free.http, metrics=free.metrics)
    assert (chosen.http, chosen.metrics) == (free.http, free.metrics)
    assert chosen.grpc not in (free.http, free.metrics)


@pytest.mark.parametrize("address", ["127.0.0.1", ""], ids=["on loopback", "on every address"])
def test_a_port_another_program_listens_on_is_refused(address: str) -> None:
    with socket.create_server((address, 0)) as other:
        with pytest.raises(PortTakenError, match="Address already in use") as caught:
            choose_ports(grpc=other.getsockname()[1])
        assert "leave the port out" in caught.value.remedy


def test_one_port_for_two_endpoints_is_refused() -> None:
    free = choose_ports()
    with pytest.raises(PortTakenError, match=f"the grpc port {free.http}"):
        choose_ports(http=free.http, grpc=free.http)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(TritonError, match=f"the http port cannot be {port}"):
        choose_ports(http=port)
