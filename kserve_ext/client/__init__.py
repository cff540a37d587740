"""Clients of Open Inference Protocol V2 servers (Triton, KServe, ours): numpy in, numpy out, over HTTP or gRPC.

`Client` for threads, `AsyncClient` for asyncio. Imports neither kserve nor kubernetes, and a protocol's library only
when a client speaks it.
"""

from __future__ import annotations

from kserve_ext.client.asynchronous import AsyncClient
from kserve_ext.client.balance import Rule
from kserve_ext.client.balanced import Balance
from kserve_ext.client.calls import Metadata
from kserve_ext.client.errors import (
    AnswerError,
    DeadlineError,
    FailedError,
    InferenceError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from kserve_ext.client.retry import NO_RETRY, RetryPolicy
from kserve_ext.client.sync import Client
from kserve_ext.client.transport import TIMEOUT_HEADER

__all__ = [
    "NO_RETRY",
    "TIMEOUT_HEADER",
    "AnswerError",
    "AsyncClient",
    "Balance",
    "Client",
    "DeadlineError",
    "FailedError",
    "InferenceError",
    "Metadata",
    "NotFoundError",
    "RefusedError",
    "RetryPolicy",
    "Rule",
    "UnavailableError",
]
