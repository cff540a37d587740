"""The gRPC server: V2 inference, grpc.health.v1 and reflection on one port, on our own HTTP/2.

grpc's asyncio server costs 0.3 ms of CPU for a call that does nothing, four times what the rest of an inference costs.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc

from kserve_ext.errors import UnreachableError
from kserve_ext.http2.connection import STREAM_WINDOW, ServerConnection
from kserve_ext.http2.stream import Receiver, Stream
from kserve_ext.serving import grpc_messages as messages
from kserve_ext.serving import grpc_wire as wire
from kserve_ext.serving.admission import Admission
from kserve_ext.serving.grpc_calls import Call, InferCall, TaskCall
from kserve_ext.serving.grpc_service import InferenceService
from kserve_ext.serving.settings import Settings

_SERVICE = "inference.GRPCInferenceService"
_HEALTH = "grpc.health.v1.Health"
_INFER = f"/{_SERVICE}/ModelInfer"
_STREAM = f"/{_SERVICE}/ModelStreamInfer"
_WATCH_S = 0.5
_BACKLOG = 2048
_LOOK_S = 0.02


class Methods:
    """The methods that grpc's generated code adds, by path. It takes this for a grpc.Server."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._generic: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._generic += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """What was added as generic handlers already."""

    def find(self, path: str) -> Any:
        """The handler, or None."""
        handler = self._found.get(path)
        if handler is None:
            found = (one.service(_Details(path, ())) for one in self._generic)
            handler = next((one for one in found if one is not None), None)
            if handler is not None:
                self._found[path] = handler
        return handler


class _Details(NamedTuple):
    method: str
    invocation_metadata: tuple[()]


class GrpcServer:
    """Connections and the port they come from."""

    def __init__(self, service: InferenceService, methods: Methods, admission: Admission, settings: Settings) -> None:
        self._service, self._methods, self._admission = service, methods, admission
        self._limit = settings.max_request_bytes
        self._max_streams = 2 * settings.limit + 64  # a last resort: health must get through beside the limit
        self._connections: set[ServerConnection[wire.Head]] = set()
        self._ending = False

    async def listen(self, listener: socket.socket, secured: ssl.SSLContext | None) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, sock=listener, ssl=secured, backlog=_BACKLOG
        )

    def _connection(self) -> ServerConnection[wire.Head]:
        connection = ServerConnection(
            wire.read_head, self._open, self._connections.discard, max_streams=self._max_streams
        )
        self._connections.add(connection)
        return connection

    def _open(self, stream: Stream, head: wire.Head) -> Receiver:
        if head.path == _INFER and head.is_grpc:
            service = self._service
            return InferCall(stream, head, self._limit, self._admission, service.infer, service.count_refused)
        handler = self._methods.find(head.path) if head.is_grpc else None
        if handler is not None:
            limit = self._limit if head.path == _STREAM else STREAM_WINDOW // 2
            return TaskCall(stream, head, limit, self._admission, handler)
        return self._refuse(stream, head)

    def _refuse(self, stream: Stream, head: wire.Head) -> Call:
        call = stream.receiver = Call(stream, head, 0)
        if head.is_grpc:
            call.fail(wire.Unsupported(f"there is no method {head.path}"))
        else:
            stream.finish(wire.NOT_GRPC)
        return call

    def wind_down(self) -> None:
        """Ask all clients to connect elsewhere; what they send is still answered."""
        for connection in list(self._connections):
            connection.wind_down()

    async def stop(self, grace_s: float) -> None:
        """Take no more connections and calls; close at once what is not answered within `grace_s`."""
        self._server.close()
        for connection in list(self._connections):
            connection.drain()
        loop = asyncio.get_running_loop()
        end_s = loop.time() + grace_s
        while self._connections and loop.time() < end_s:
            await asyncio.sleep(_LOOK_S)
        for connection in list(self._connections):
            connection.abort()


async def start_grpc(
    service: InferenceService,
    port: int,
    settings: Settings,
    admission: Admission,
    why_unready: Callable[[str], str | None],
    *,
    shared: bool,
    secured: ssl.SSLContext | None,
) -> GrpcServer:
    """A running server. `shared`: other processes listen on the port too. Raises UnreachableError for a taken port."""
    methods = Methods()
    grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, methods)
    methods.add_generic_rpc_handlers((_beyond_kserve(service),))
    health_pb2_grpc.add_HealthServicer_to_server(Health(why_unready), methods)
    names = (_SERVICE, _HEALTH, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), methods)
    server = GrpcServer(service, methods, admission, settings)
    await server.listen(_take_port(port, shared), secured)
    return server


def _take_port(port: int, shared: bool) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("::" if both else "0.0.0.0", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
            reuse_port=shared,
            backlog=_BACKLOG,
        )
    except OSError as error:
        raise UnreachableError(
            f"the gRPC port {port} cannot be used: {error.strerror}",
            remedy="stop the process that holds it, or give another --grpc_port",
        ) from error


def _beyond_kserve(service: InferenceService) -> grpc.GenericRpcHandler:
    """The methods that KServe's protocol file leaves out."""
    answer = grpc.unary_unary_rpc_method_handler
    return grpc.method_handlers_generic_handler(
        _SERVICE,
        {
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
                service.stream,
                request_deserializer=pb.ModelInferRequest.FromString,
                response_serializer=messages.ModelStreamInferResponse.SerializeToString,
            ),
            "ModelStatistics": answer(
                service.ModelStatistics,
                request_deserializer=messages.ModelStatisticsRequest.FromString,
                response_serializer=messages.ModelStatisticsResponse.SerializeToString,
            ),
            "RepositoryIndex": answer(
                service.RepositoryIndex,
                request_deserializer=messages.RepositoryIndexRequest.FromString,
                response_serializer=messages.RepositoryIndexResponse.SerializeToString,
            ),
        },
    )


def secured_by(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """TLS where a certificate is given. Raises UnreachableError for one that cannot be used."""
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UnreachableError(f"the certificate {certificate} cannot be used: {error}") from error
    return context


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """grpc.health.v1: the empty name is the server, other names are models; None from `why_unready` is an unknown one."""

    def __init__(self, why_unready: Callable[[str], str | None]) -> None:
        self._why_unready = why_unready

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        status = self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.service}")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        told = None
        while True:
            if (status := self._status(request.service)) != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            await asyncio.sleep(_WATCH_S)

    def _status(self, name: str) -> Any:
        if name == _SERVICE:
            name = ""
        why = self._why_unready(name)
        answer = health_pb2.HealthCheckResponse
        if why is None:
            return answer.SERVICE_UNKNOWN
        return answer.NOT_SERVING if why else answer.SERVING
