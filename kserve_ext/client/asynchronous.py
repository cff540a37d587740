"""The client for asyncio: `AsyncClient`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from kserve_ext.bench.tensor import Array
from kserve_ext.client import calls
from kserve_ext.client.answer import Answer
from kserve_ext.client.balanced import Balance
from kserve_ext.client.budget import Budget
from kserve_ext.client.calls import Call, Metadata
from kserve_ext.client.connect import check_timeout, find_link, open_async_transport
from kserve_ext.client.retry import NO_RETRY, RetryPolicy, Wait, attempts
from kserve_ext.client.transport import AsyncTransport

T = TypeVar("T")


class AsyncClient:
    """Asks models at one address: `await AsyncClient("grpc://host:port").infer("digits", {"image": array})`.

    As `Client`, within one event loop. With `balance` each request goes to the best of all addresses that the host
    name stands for, as those of a headless service.
    """

    def __init__(
        self,
        where: str,
        *,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        binary: bool = True,
        headers: Mapping[str, str] | None = None,
        authority: str | None = None,
        ca_file: Path | None = None,
        balance: Balance | None = None,
    ) -> None:
        self._link = find_link(where, headers=headers, authority=authority, ca_file=ca_file)
        self._timeout_s, self._binary = check_timeout(timeout_s), binary
        self._retry = retry or RetryPolicy()
        self._budget = Budget(self._retry)
        self._balance = balance
        self._transport: AsyncTransport | None = None  # gRPC's belongs to the loop it is made in

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str | None = None,
        datatypes: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Array]:
        """The model's outputs by name. `datatypes` sends an input as another datatype, such as `{"x": "BF16"}`.

        Raises InputError for inputs that cannot be sent, and InferenceError.
        """
        target = calls.model_target(self._link.target, model, version)
        return await self._result(calls.inference(target, inputs, datatypes, binary=self._binary), timeout_s)

    async def metadata(self, model: str, *, version: str | None = None, timeout_s: float | None = None) -> Metadata:
        """The model's inputs and outputs. Raises InferenceError."""
        return await self._result(calls.metadata(calls.model_target(self._link.target, model, version)), timeout_s)

    async def ready(self, model: str = "", *, version: str | None = None, timeout_s: float | None = None) -> bool:
        """Whether the model, or without one the server, takes requests; False too where nobody answers."""
        target = calls.model_target(self._link.target, model, version) if model else self._link.target
        call = calls.readiness(target)
        answer, sent = await self._ask(call, timeout_s, NO_RETRY)
        return not calls.says_not_ready(answer) and call.result(answer, sent)

    async def close(self) -> None:
        if self._transport is not None:
            await self._transport.close()
            self._transport = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _result(self, call: Call[T], timeout_s: float | None) -> T:
        return call.result(*await self._ask(call, timeout_s, self._retry))

    async def _ask(self, call: Call[Any], timeout_s: float | None, retry: RetryPolicy) -> tuple[Answer, int]:
        self._budget.request()
        limit_s = self._timeout_s if timeout_s is None else check_timeout(timeout_s)
        steps = attempts(
            timeout_s=limit_s, policy=retry, may_retry=self._budget.take, clock=time.monotonic, draw=random.random
        )
        if self._transport is None:
            self._transport = open_async_transport(self._link, self._balance, self._budget)
        transport, step = self._transport, next(steps)
        try:
            while True:
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(await transport.send(call.request, step.timeout_s))
        except StopIteration as end:
            result: tuple[Answer, int] = end.value
            return result
