"""One request and one answer, without the bytes of the protocol around them."""

from __future__ import annotations

from dataclasses import dataclass

ANSWERED = ""  # the outcome of a good answer; any other outcome is the kind of failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked: an HTTP body, or a serialised gRPC message without its five-byte prefix."""

    path: str
    body: bytes = b""
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was answered. `outcome` is empty for HTTP 200 and gRPC status 0, else a kind such as `HTTP 503`."""

    outcome: str
    detail: str = ""  # the server's own words, where it gave any
    json_bytes: int | None = None  # length of the JSON in front of raw tensors (binary extension)
    body: bytes = b""
