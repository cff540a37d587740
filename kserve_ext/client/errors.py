"""What can go wrong with a request, each with the model, the address, the status and the server's own words.

KserveExtError
├── InputError                 exit 2   what was given cannot be sent (kserve_ext.errors)
└── InferenceError             exit 2
    ├── RefusedError           exit 2   the server does not take this request: input, shape, size, permission
    │   └── NotFoundError      exit 2   no such model or version there
    ├── FailedError            exit 2   the model or the server failed on it
    ├── AnswerError            exit 2   an answer that is not the protocol's
    └── (UnreachableError)
        ├── UnavailableError   exit 4   nothing listens, the server is full or ends, or the connection was lost
        └── DeadlineError      exit 4   no answer in the time given
"""

from __future__ import annotations

from kserve_ext.errors import KserveExtError, UnreachableError


class InferenceError(KserveExtError):
    """A request without a good answer. `status` is the protocol's, such as `HTTP 503` or `gRPC 14 UNAVAILABLE`."""

    what = "gives no good answer"
    remedy_text = ""

    def __init__(self, *, model: str, address: str, status: str, detail: str, attempts: int = 1) -> None:
        about = f"{model} at {address}" if model else address
        words = "; ".join(part for part in (status, detail) if part)
        tried = f" ({attempts} attempts)" if attempts > 1 else ""
        super().__init__(f"{about} {self.what}{tried}: {words}", remedy=self.remedy_text)
        self.model = model
        self.address = address
        self.status = status
        self.detail = detail
        self.attempts = attempts


class RefusedError(InferenceError):
    """The server does not take this request; sent again it would be refused again."""

    what = "refuses the request"
    remedy_text = "compare the inputs with the model's metadata"


class NotFoundError(RefusedError):
    """The server knows no such model or version."""

    what = "is not there"
    remedy_text = "check the model's name and version, and that it is loaded"


class FailedError(InferenceError):
    """The model or the server failed while it worked on the request."""

    what = "failed on the request"
    remedy_text = "the server's log has the reason"


class AnswerError(InferenceError):
    """An answer that cannot be read."""

    what = "gives an answer that cannot be read"
    remedy_text = "check that the address is that of an Open Inference Protocol V2 server"


class UnavailableError(InferenceError, UnreachableError):
    """Nothing listens, the server is full or ends, or the connection was lost."""

    what = "is not available"
    remedy_text = "try again later, or check that the server runs and the address is right"


class DeadlineError(InferenceError, UnreachableError):
    """No answer in the time given. The server may have worked on the request, so it was not sent again."""

    what = "did not answer in time"
    remedy_text = "give more time with timeout_s, or ask for less at once"
