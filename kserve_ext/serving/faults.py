"""What a request can be answered with instead of a result: one class for each HTTP status and gRPC code.

Fault
├── BadRequest            400  INVALID_ARGUMENT    the request is wrong, and will be wrong again
├── UnknownModel          404  NOT_FOUND           no such model or version
├── TooSlow               408  CANCELLED           the body did not arrive in time
├── TooLarge              413  RESOURCE_EXHAUSTED  more bytes than a request may have
├── ModelFailed           500  INTERNAL            the model raised, or answered NaN or another shape
├── Overloaded            503  RESOURCE_EXHAUSTED  as many in flight as the plan allows; Retry-After says when
├── NotReady              503  UNAVAILABLE         loading, unloaded, stuck, or about to end
├── TooLate               504  DEADLINE_EXCEEDED   the client's deadline cannot be met
└── ClientGone            499  CANCELLED           nobody waits for the answer
"""

from __future__ import annotations

from typing import ClassVar

from kserve_ext.errors import KserveExtError


class Fault(KserveExtError):
    """Base of all answers that are no result. A predictor may raise one of them too."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL"  # a name of grpc.StatusCode
    retry_after_s: int | None = None


class BadRequest(Fault):
    status, code = 400, "INVALID_ARGUMENT"


class UnknownModel(Fault):
    status, code = 404, "NOT_FOUND"


class TooSlow(Fault):
    status, code = 408, "CANCELLED"


class TooLarge(Fault):
    status, code = 413, "RESOURCE_EXHAUSTED"


class ModelFailed(Fault):
    status, code = 500, "INTERNAL"


class Overloaded(Fault):
    status, code = 503, "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReady(Fault):
    status, code = 503, "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooLate(Fault):
    status, code = 504, "DEADLINE_EXCEEDED"


class ClientGone(Fault):
    status, code = 499, "CANCELLED"
