"""The client for threads: `Client`."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from kserve_ext.bench.tensor import Array
from kserve_ext.client import calls
from kserve_ext.client.answer import Answer
from kserve_ext.client.budget import Budget
from kserve_ext.client.calls import Call, Metadata
from kserve_ext.client.connect import check_timeout, find_link, open_transport
from kserve_ext.client.retry import NO_RETRY, RetryPolicy, Wait, attempts

T = TypeVar("T")


class Client:
    """Asks models at one address: `Client("http://host:port").infer("digits", {"image": array})`.

    `where` is a URL (http, https, grpc, grpcs) or the name of an InferenceService in the current cluster. Connections
    are kept; use it from any thread, close it or use it with `with`. Each call takes at most `timeout_s` in all, and
    the server is told how long that still is.
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
    ) -> None:
        self._link = find_link(where, headers=headers, authority=authority, ca_file=ca_file)
        self._timeout_s, self._binary = check_timeout(timeout_s), binary
        self._retry = retry or RetryPolicy()
        self._budget = Budget(self._retry)
        self._transport = open_transport(self._link)

    def infer(
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
        return self._result(calls.inference(target, inputs, datatypes, binary=self._binary), timeout_s)

    def metadata(self, model: str, *, version: str | None = None, timeout_s: float | None = None) -> Metadata:
        """The model's inputs and outputs. Raises InferenceError."""
        return self._result(calls.metadata(calls.model_target(self._link.target, model, version)), timeout_s)

    def ready(self, model: str = "", *, version: str | None = None, timeout_s: float | None = None) -> bool:
        """Whether the model, or without one the server, takes requests; False too where nobody answers."""
        target = calls.model_target(self._link.target, model, version) if model else self._link.target
        call = calls.readiness(target)
        answer, sent = self._ask(call, timeout_s, NO_RETRY)
        return not calls.says_not_ready(answer) and call.result(answer, sent)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _result(self, call: Call[T], timeout_s: float | None) -> T:
        return call.result(*self._ask(call, timeout_s, self._retry))

    def _ask(self, call: Call[Any], timeout_s: float | None, retry: RetryPolicy) -> tuple[Answer, int]:
        self._budget.request()
        limit_s = self._timeout_s if timeout_s is None else check_timeout(timeout_s)
        steps = attempts(
            timeout_s=limit_s, policy=retry, may_retry=self._budget.take, clock=time.monotonic, draw=random.random
        )
        step = next(steps)
        try:
            while True:
                if isinstance(step, Wait):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(self._transport.send(call.request, step.timeout_s))
        except StopIteration as end:
            result: tuple[Answer, int] = end.value
            return result
