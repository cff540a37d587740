"""V2 over gRPC: ModelInfer with raw contents, streaming, readiness, metadata and the repository.

The messages are KServe's; what they lack for streaming stands in grpc_messages.py. Plain kserve.Models go to KServe.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from time import monotonic
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer

from kserve_ext.serving import grpc_messages as messages
from kserve_ext.serving.admission import Admission
from kserve_ext.serving.codec import to_raw
from kserve_ext.serving.codec_grpc import asked_names, decode_inputs
from kserve_ext.serving.datatypes import datatype_of
from kserve_ext.serving.execution import Tensors
from kserve_ext.serving.faults import BadRequest, Fault, ModelFailed
from kserve_ext.serving.grpc_calls import Context, InferCall
from kserve_ext.serving.grpc_wire import internal
from kserve_ext.serving.repository import Repository
from kserve_ext.serving.request_log import log_request
from kserve_ext.serving.served import Served, new_id
from kserve_ext.serving.settings import Settings
from kserve_ext.serving.statistics import statistics
from kserve_ext.serving.status_pages import index, metadata
from kserve_ext.serving.tracing import exemplar, record

log = logging.getLogger("kserve_ext.serving")


class InferenceService(InferenceServicer):  # type: ignore[misc]
    """KServe's servicer, with inference, metadata and readiness of our predictors answered here."""

    def __init__(
        self, data_plane: Any, extension: Any, repository: Repository, admission: Admission, settings: Settings
    ) -> None:
        super().__init__(data_plane, extension)
        self._repository, self._admission, self._settings = repository, admission, settings
        self._statuses = ExceptionToStatusInterceptor()

    def infer(self, call: InferCall, content: bytes) -> None:
        """Begin the inference asked for in `content`; the call is answered when it is done. Raises a Fault."""
        request = _parsed(content)
        served = self._repository.find(request.model_name)
        if served is None:
            call.run(self._infer_by_kserve(call, request))
            return
        outputs = self._submit(served, request, call.deadline_s)
        call.future = outputs
        outputs.add_done_callback(partial(self._done, call, served, request))

    def count_refused(self, payload: bytes) -> None:
        """A request was refused unread; `payload` is how it begins, which is where its model is named."""
        served = self._repository.find(_named_model(payload))
        if served is not None:
            served.engine.tally.rejected += 1

    def _done(self, call: InferCall, served: Served, request: Any, outputs: asyncio.Future[Tensors]) -> None:
        if outputs.cancelled():
            return
        call.future = None
        code = "OK"
        try:
            call.succeed(_response(served, request, outputs.result(), call.head.request_id).SerializeToString())
        except Fault as fault:
            code = fault.code
            call.fail(fault)
        except Exception:  # the top of a request: it gets an answer, and the log gets the traceback
            log.exception("%s: a request failed in the server", served.name)
            code = ModelFailed.code
            call.fail(internal())
        took_s = monotonic() - call.started_s
        served.observe(took_s, exemplar(call.head.trace))
        record(served.name, call.head.trace, took_s, code)
        if self._settings.request_log:
            log_request(served.name, code, request.id or call.head.request_id, call.head.trace, took_s)

    async def _infer_by_kserve(self, call: InferCall, request: Any) -> bytes:
        response = await self._by_kserve(super().ModelInfer, request, Context(call))
        content: bytes = response.SerializeToString()
        return content

    def _submit(self, served: Served, request: Any, deadline_s: float | None) -> asyncio.Future[Tensors]:
        served.check_version(request.model_version)
        if deadline_s is None and self._settings.timeout_s:
            deadline_s = monotonic() + self._settings.timeout_s
        return served.engine.submit(decode_inputs(request), deadline_s=deadline_s)

    async def _infer(self, served: Served, request: Any) -> Any:
        """One request of a stream."""
        started_s = monotonic()
        fault = self._admission.enter()
        if fault is not None:
            served.engine.tally.rejected += 1
            raise fault
        try:
            return _response(served, request, await self._submit(served, request, None), "")
        finally:
            self._admission.leave()
            served.observe(monotonic() - started_s, None)

    async def stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """ModelStreamInfer: the requests of one stream run together, their answers keep the stream's order."""
        waiting: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(maxsize=self._settings.limit)

        async def read() -> None:
            async for request in requests:
                await waiting.put(asyncio.create_task(self._one_of_stream(request)))
            await waiting.put(None)

        reader = asyncio.create_task(read())
        try:
            while (task := await waiting.get()) is not None:
                error, response = await task
                yield messages.ModelStreamInferResponse(error_message=error, infer_response=response)
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
            return "", await self._infer(served, request)
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

    async def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Of one model, or of all where none is named."""
        named = self._repository.find(request.name)
        if request.name and named is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {request.name}")
        chosen = [named] if named is not None else list(self._repository.served().values())
        rows = [statistics(one.name, one.version, one.engine.tally) for one in chosen]
        return messages.ModelStatisticsResponse(model_stats=rows)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        rows = [row for row in index(self._repository.served()) if row["state"] == "READY" or not request.ready]
        return messages.RepositoryIndexResponse(models=rows)

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


def _parsed(content: bytes) -> Any:
    try:
        return pb.ModelInferRequest.FromString(content)
    except DecodeError as error:
        raise BadRequest(f"the message is no ModelInferRequest: {error}") from None


def _named_model(payload: bytes) -> str:
    """The model named at the beginning of a message, where all encoders put it; empty where it is not found there."""
    if len(payload) < 7 or payload[5] != 0x0A or payload[6] > 0x7F:
        return ""
    return payload[7 : 7 + payload[6]].decode(errors="replace")


def _response(served: Served, request: Any, outputs: Tensors, request_id: str) -> Any:
    response = pb.ModelInferResponse(
        model_name=served.name, model_version=served.version, id=request.id or request_id or new_id()
    )
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
