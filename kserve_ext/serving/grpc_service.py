"""V2 over gRPC: ModelInfer with raw contents, streaming, readiness, metadata and the repository.

The messages are KServe's; what they lack for streaming stands in grpc_messages.py. Plain kserve.Models go to KServe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer

from kserve_ext.serving.admission import Admission
from kserve_ext.serving.codec import to_raw
from kserve_ext.serving.codec_grpc import asked_names, decode_inputs
from kserve_ext.serving.datatypes import datatype_of
from kserve_ext.serving.execution import Tensors
from kserve_ext.serving.faults import BadRequest, Fault, ModelFailed
from kserve_ext.serving.repository import Repository
from kserve_ext.serving.served import Served, new_id
from kserve_ext.serving.settings import Settings
from kserve_ext.serving.status_pages import metadata

log = logging.getLogger("kserve_ext.serving")


class InferenceService(InferenceServicer):  # type: ignore[misc]
    """KServe's servicer, with inference, metadata and readiness of our predictors answered here."""

    def __init__(
        self, data_plane: Any, extension: Any, repository: Repository, admission: Admission, settings: Settings
    ) -> None:
        super().__init__(data_plane, extension)
        self._repository, self._admission, self._settings = repository, admission, settings
        self._statuses = ExceptionToStatusInterceptor()

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        served = self._repository.find(request.model_name)
        if served is None:
            return await self._by_kserve(super().ModelInfer, request, context)
        try:
            return await self._infer(served, request, context.time_remaining())
        except Fault as fault:
            if fault.retry_after_s is not None:
                context.set_trailing_metadata((("retry-after", str(fault.retry_after_s)),))
            await context.abort(getattr(grpc.StatusCode, fault.code), fault.message)
        except Exception:  # the top of a request: it gets an answer, and the log gets the traceback
            log.exception("%s: a request failed in the server", served.name)
            await context.abort(grpc.StatusCode.INTERNAL, "internal server error")

    async def _infer(self, served: Served, request: Any, left_s: float | None) -> Any:
        started_s = monotonic()
        fault = self._admission.enter()
        if fault is not None:
            served.engine.tally.rejected += 1
            raise fault
        try:
            served.check_version(request.model_version)
            timeout_s = left_s if left_s is not None else self._settings.timeout_s or None
            deadline_s = None if timeout_s is None else started_s + timeout_s
            outputs = await served.engine.submit(decode_inputs(request), deadline_s=deadline_s)
            return _response(served, request, outputs)
        finally:
            self._admission.leave()
            served.observe(monotonic() - started_s)

    async def stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """ModelStreamInfer: the requests of one stream run together, their answers keep the stream's order."""
        from kserve_ext.serving.grpc_messages import ModelStreamInferResponse

        waiting: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(maxsize=self._settings.limit)

        async def read() -> None:
            async for request in requests:
                await waiting.put(asyncio.create_task(self._one_of_stream(request)))
            await waiting.put(None)

        reader = asyncio.create_task(read())
        try:
            while (task := await waiting.get()) is not None:
                error, response = await task
                yield ModelStreamInferResponse(error_message=error, infer_response=response)
        finally:
            reader.cancel()
            while not waiting.empty():
                if (left := waiting.get_nowait()) is not None:
                    left.cancel()

    async def _one_of_stream(self, request: Any) -> tuple[str, Any]:
        served = self._repository.find(request.model_name)
        try:
            if served is None:
                raise BadRequest(f"model {request.model_name} cannot be streamed from")
            return "", await self._infer(served, request, None)
        except Fault as fault:
            return fault.message, pb.ModelInferResponse(id=request.id, model_name=request.model_name)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        ready = not self._admission.ending and all(
            not served.engine.why_unready() for served in self._repository.served().values()
        )
        return pb.ServerReadyResponse(ready=ready and await self._data_plane.ready())

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        served = self._repository.find(request.name)
        if served is None:
            return await self._by_kserve(super().ModelReady, request, context)
        known = request.version in ("", served.version)
        return pb.ModelReadyResponse(ready=known and not served.engine.why_unready())

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        served = self._repository.find(request.name)
        if served is None:
            return await self._by_kserve(super().ModelMetadata, request, context)
        try:
            served.check_version(request.version)
        except Fault as fault:
            await context.abort(getattr(grpc.StatusCode, fault.code), fault.message)
        return pb.ModelMetadataResponse(**metadata(served))

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._by_kserve(super().RepositoryModelLoad, request, context)

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self._by_kserve(super().RepositoryModelUnload, request, context)

    async def _by_kserve(self, method: Any, request: Any, context: Any) -> Any:
        """KServe's own method, its exceptions as the codes its interceptor makes of them."""
        try:
            return await method(request, context)
        except Exception as error:  # noqa: BLE001 - whatever KServe or a model raises becomes a status
            await self._statuses.handle_exception(error, request, context, method.__name__)


def _response(served: Served, request: Any, outputs: Tensors) -> Any:
    response = pb.ModelInferResponse(model_name=served.name, model_version=served.version, id=request.id or new_id())
    names = asked_names(request)
    for name in names or outputs:
        array = outputs.get(name)
        if array is None:
            raise BadRequest(f"the model has no output `{name}`; it has {', '.join(outputs)}")
        try:
            datatype = datatype_of(array.dtype)
        except ValueError as error:
            raise ModelFailed(f"the model answered `{name}`: {error}") from None
        response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(to_raw(datatype, array))
    return response
