"""Passes V2 requests on to the best replica of the predictor, over one kept gRPC channel for each.

Choice, retries and hedging are kserve_ext.client's. A subclass writes `preprocess` and `postprocess` as for any KServe
transformer. The predictor's errors come back as KServe's own, so that both of its protocols tell them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kserve
from kserve import errors
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import generate_uuid

from kserve_ext.client import (
    TIMEOUT_HEADER,
    AsyncClient,
    Balance,
    InferenceError,
    NotFoundError,
    RefusedError,
    RetryPolicy,
    UnavailableError,
)
from kserve_ext.errors import InputError


class Router(kserve.Model):  # type: ignore[misc]
    """The predictor at `url`, such as `grpc://digits-predictor.default:9000`, under the name `name`."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout_s: float = 30.0,
        balance: Balance | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__(name)
        self._url, self._timeout_s = url, timeout_s
        self._balance, self._retry = balance or Balance(), retry or RetryPolicy()
        self._client: AsyncClient | None = None  # made in the worker's own process
        self.ready = True

    async def healthy(self) -> bool:
        """Ready when a replica of the predictor is."""
        try:
            return self.ready and await self._asked().ready(self.name, timeout_s=min(1.0, self._timeout_s))
        except InferenceError:  # an answer, but no yes
            return False

    async def predict(
        self, payload: Any, headers: Mapping[str, str] | None = None, response_headers: Any = None
    ) -> Any:
        if not isinstance(payload, kserve.InferRequest):
            raise errors.InvalidInput("the router takes the Open Inference Protocol V2 only")
        inputs = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        datatypes = {tensor.name: tensor.datatype for tensor in payload.inputs}
        try:
            outputs = await self._asked().infer(
                self.name, inputs, datatypes=datatypes, timeout_s=time_left_s(headers or {}, self._timeout_s)
            )
        except (RefusedError, InputError) as error:
            if isinstance(error, NotFoundError):
                raise errors.ModelNotFound(self.name) from error
            raise errors.InvalidInput(error.message) from error
        except UnavailableError as error:
            unready = errors.ServerNotReady(error.message)
            unready.reason = error.message  # KServe's gRPC side looks for it
            raise unready from error
        except InferenceError as error:
            raise errors.InferenceError(error.message) from error
        return kserve.InferResponse(
            response_id=payload.id or generate_uuid(),
            model_name=self.name,
            infer_outputs=[_output(name, array) for name, array in outputs.items()],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )

    def _asked(self) -> AsyncClient:
        if self._client is None:
            self._client = AsyncClient(self._url, timeout_s=self._timeout_s, retry=self._retry, balance=self._balance)
        return self._client


def time_left_s(headers: Mapping[str, str], usual_s: float) -> float:
    """How long the caller still waits, as its header says; never longer than usual."""
    text = {name.lower(): value for name, value in headers.items()}.get(TIMEOUT_HEADER.lower(), "")
    return min(usual_s, int(text) / 1000) if text.isdecimal() and int(text) else usual_s


def _output(name: str, array: Any) -> kserve.InferOutput:
    output = kserve.InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
    output.set_data_from_numpy(array)
    return output
