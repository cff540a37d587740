"""The gRPC server: V2 inference, grpc.health.v1 and reflection on one port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc

from kserve_ext.errors import UnreachableError
from kserve_ext.serving.grpc_messages import ModelStreamInferResponse
from kserve_ext.serving.grpc_service import InferenceService
from kserve_ext.serving.settings import Settings

_SERVICE = "inference.GRPCInferenceService"
_HEALTH = "grpc.health.v1.Health"
_WATCH_S = 0.5


async def start_grpc(
    service: InferenceService, port: int, settings: Settings, why_unready: Callable[[str], str | None], *, shared: bool
) -> aio.Server:
    """A running server. `shared`: other processes listen on the port too. Raises UnreachableError for a taken port."""
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.max_request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(shared)),
        ],
        maximum_concurrent_rpcs=2 * settings.limit + 64,  # a last resort: health must get through beside the limit
    )
    grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    server.add_generic_rpc_handlers((_streaming(service),))
    health_pb2_grpc.add_HealthServicer_to_server(Health(why_unready), server)
    reflection.enable_server_reflection((_SERVICE, _HEALTH, reflection.SERVICE_NAME), server)
    try:
        server.add_insecure_port(f"[::]:{port}")
    except RuntimeError as error:
        raise UnreachableError(
            f"the gRPC port {port} cannot be used", remedy="stop the process that holds it, or give another --grpc_port"
        ) from error
    await server.start()
    return server


def _streaming(service: InferenceService) -> grpc.GenericRpcHandler:
    method = grpc.stream_stream_rpc_method_handler(
        service.stream,
        request_deserializer=pb.ModelInferRequest.FromString,
        response_serializer=ModelStreamInferResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(_SERVICE, {"ModelStreamInfer": method})


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
