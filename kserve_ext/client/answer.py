"""One attempt's outcome in words of its own, whatever the protocol: HTTP status or gRPC code in, an `Answer` out. Pure.

`again` says whether the same request may be sent again: the server said so, or it cannot have begun to work on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from enum import StrEnum

from kserve_ext.bench.message import ANSWERED, Reply

DETAIL_BYTES = 500  # of the server's words


class Outcome(StrEnum):
    """What became of one attempt."""

    ANSWERED = "answered"
    REFUSED = "refused"
    NOT_FOUND = "not found"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one attempt brought. `retry_after_s` is the time the server asks to be left alone."""

    outcome: Outcome
    reply: Reply
    again: bool = False
    retry_after_s: float | None = None


_HTTP = {404: Outcome.NOT_FOUND, 408: Outcome.LATE, 504: Outcome.LATE} | dict.fromkeys(
    (429, 502, 503), Outcome.UNAVAILABLE
)

_GRPC = {  # names of the codes; any other is FAILED
    "INVALID_ARGUMENT": Outcome.REFUSED, "FAILED_PRECONDITION": Outcome.REFUSED, "OUT_OF_RANGE": Outcome.REFUSED,
    "ALREADY_EXISTS": Outcome.REFUSED, "UNIMPLEMENTED": Outcome.REFUSED, "PERMISSION_DENIED": Outcome.REFUSED,
    "UNAUTHENTICATED": Outcome.REFUSED, "NOT_FOUND": Outcome.NOT_FOUND, "UNAVAILABLE": Outcome.UNAVAILABLE,
    "RESOURCE_EXHAUSTED": Outcome.UNAVAILABLE, "CANCELLED": Outcome.LOST, "DEADLINE_EXCEEDED": Outcome.LATE,
}  # fmt: skip


def http_answer(
    status: int, body: bytes, *, json_bytes: str | None = None, retry_after: str | None = None, now_s: float = 0.0
) -> Answer:
    """The answer in an HTTP response; `json_bytes` and `retry_after` are the headers' text, `now_s` is Unix time.

    A 429 or 503 may be sent again only where the server says when.
    """
    if status == 200:
        size = int(json_bytes) if json_bytes and json_bytes.isdecimal() else None
        return Answer(outcome=Outcome.ANSWERED, reply=Reply(outcome=ANSWERED, json_bytes=size, body=body))
    outcome = _HTTP.get(status, Outcome.FAILED if status >= 500 or status < 400 else Outcome.REFUSED)
    after_s = _retry_after_s(retry_after, now_s) if outcome is Outcome.UNAVAILABLE else None
    detail = body[:DETAIL_BYTES].decode(errors="replace").strip()
    reply = Reply(outcome=f"HTTP {status}", detail=detail)
    return Answer(outcome=outcome, reply=reply, again=after_s is not None, retry_after_s=after_s)


def _retry_after_s(text: str | None, now_s: float) -> float | None:
    """Seconds in a Retry-After header: a number, or a date. None where there is none that can be read."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    date = parsedate_tz(text)
    return None if date is None else max(0.0, mktime_tz(date) - now_s)


def grpc_answer(name: str, number: int, detail: str, *, pushback_ms: str | None = None) -> Answer:
    """The answer in a gRPC status; `pushback_ms` is the text of `grpc-retry-pushback-ms`, gRPC's Retry-After.

    UNAVAILABLE may be sent again unless the server pushes back with a negative number; RESOURCE_EXHAUSTED, which
    also stands for a message that is too large, only where the server says when.
    """
    outcome = _GRPC.get(name, Outcome.FAILED)
    after_s = float(pushback_ms) / 1000 if pushback_ms and pushback_ms.isdecimal() else None
    again = outcome is Outcome.UNAVAILABLE and (
        after_s is not None or (name == "UNAVAILABLE" and pushback_ms is None)  # a pushback that is no number: never
    )
    reply = Reply(outcome=f"gRPC {number} {name}", detail=detail[:DETAIL_BYTES])
    return Answer(outcome=outcome, reply=reply, again=again, retry_after_s=after_s if again else None)


def good(body: bytes) -> Answer:
    """A gRPC message that came with status 0."""
    return Answer(outcome=Outcome.ANSWERED, reply=Reply(outcome=ANSWERED, body=body))


def unanswered(outcome: Outcome, status: str, detail: str = "", *, again: bool = False) -> Answer:
    """An attempt that brought no response; `again` where nothing was sent."""
    return Answer(outcome=outcome, reply=Reply(outcome=status, detail=detail), again=again)
