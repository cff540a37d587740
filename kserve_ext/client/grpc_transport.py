"""Requests over gRPC with one kept channel, sync and async. Messages go in and come out as bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio

from kserve_ext.bench.message import Request
from kserve_ext.client.answer import Answer, good, grpc_answer
from kserve_ext.client.transport import Link
from kserve_ext.errors import InputError, Problem

PUSHBACK = "grpc-retry-pushback-ms"
_OPTIONS = (
    ("grpc.max_send_message_length", -1),  # 4 MiB otherwise, less than eight images of 224x224x3 floats
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),  # 1 s otherwise, for which every request fails at once
    ("grpc.max_reconnect_backoff_ms", 2000),  # 120 s otherwise
    ("grpc.enable_retries", 0),  # attempts are counted and bounded here
    # a channel otherwise stays with the one address it met first, whatever the name stands for later
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.use_local_subchannel_pool", 1),  # closing a client closes its connections
)


class GrpcTransport:
    """Requests from any thread."""

    def __init__(self, link: Link) -> None:
        self._metadata = _metadata(link)
        credentials, options = _credentials(link), _options(link)
        if credentials is None:
            self._channel = grpc.insecure_channel(link.target.address, options)
        else:
            self._channel = grpc.secure_channel(link.target.address, credentials, options)
        self._methods: dict[str, Any] = {}

    def send(self, request: Request, timeout_s: float) -> Answer:
        """One attempt."""
        method = self._methods.get(request.path)
        if method is None:
            method = self._methods[request.path] = self._channel.unary_unary(request.path)
        try:
            return good(method(request.body, timeout=timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            return _answer(error)

    def close(self) -> None:
        self._channel.close()


class AsyncGrpcTransport:
    """Requests within one event loop."""

    def __init__(self, link: Link) -> None:
        self._metadata = _metadata(link)
        credentials, options = _credentials(link), _options(link)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(link.target.address, options)
        else:
            self._channel = grpc.aio.secure_channel(link.target.address, credentials, options)
        self._methods: dict[str, Any] = {}

    async def send(self, request: Request, timeout_s: float) -> Answer:
        """One attempt. Cancelling it cancels the call at the server."""
        method = self._methods.get(request.path)
        if method is None:
            method = self._methods[request.path] = self._channel.unary_unary(request.path)
        try:
            return good(await method(request.body, timeout=timeout_s, metadata=self._metadata))
        except grpc.aio.AioRpcError as error:
            return _answer(error)

    async def close(self) -> None:
        await self._channel.close()


def _options(link: Link) -> list[tuple[str, Any]]:
    options = list(_OPTIONS)
    if link.target.authority:
        options.append(("grpc.default_authority", link.target.authority))
    if link.server_name:
        options.append(("grpc.ssl_target_name_override", link.server_name))
    return options


def _metadata(link: Link) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in link.headers)


def _credentials(link: Link) -> grpc.ChannelCredentials | None:
    """Raises InputError."""
    if not link.target.tls:
        return None
    try:
        roots = link.ca_file.read_bytes() if link.ca_file else None
    except OSError as error:
        raise InputError(Problem(file=str(link.ca_file), what=f"cannot be read: {error.strerror}")) from error
    return grpc.ssl_channel_credentials(roots)


def _answer(error: Any) -> Answer:
    code = error.code()
    trailers: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()
    pushback = next((str(value) for name, value in trailers if name == PUSHBACK), None)
    return grpc_answer(code.name, code.value[0], error.details() or "", pushback_ms=pushback)
