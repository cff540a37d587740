"""Single requests with their whole answers, one after another: checks before a run, and a model's metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from kserve_ext.bench.codec import decode_metadata, metadata_request
from kserve_ext.bench.http1 import Http1Transport
from kserve_ext.bench.http2 import Http2Transport
from kserve_ext.bench.message import Reply, Request
from kserve_ext.bench.payload import TensorSpec
from kserve_ext.bench.target import Target
from kserve_ext.bench.transport import Outbox, Transport
from kserve_ext.domain import Protocol
from kserve_ext.errors import ModelError, Problem, UnreachableError

ANSWER_TIMEOUT_S = 60.0


@contextmanager
def open_transport(
    target: Target, requests: Sequence[Request], *, connections: int | None = None, keep_replies: bool = False
) -> Iterator[Transport]:
    """Connections to `target` that can send `requests`. Raises UnreachableError when it does not answer."""
    kind = Http2Transport if target.protocol is Protocol.GRPC else Http1Transport
    transport: Transport = kind(target, requests, connections, Outbox(keep_replies=keep_replies))
    try:
        yield transport
    finally:
        transport.close()


def exchange(target: Target, requests: Sequence[Request], timeout_s: float = ANSWER_TIMEOUT_S) -> list[Reply]:
    """The answers to `requests`, each sent when the one before is answered. Raises UnreachableError."""
    with open_transport(target, requests, connections=1, keep_replies=True) as transport:
        return [_one(transport, target, i, timeout_s) for i in range(len(requests))]


def _one(transport: Transport, target: Target, index: int, timeout_s: float) -> Reply:
    outbox, stop = transport.outbox, perf_counter() + timeout_s
    to_send = True
    while not outbox.finished:
        if outbox.refused:
            outbox.refused.clear()
            to_send = True
        if to_send:
            to_send = not transport.start(index, index)
        left_s = stop - perf_counter()
        if left_s <= 0:
            raise UnreachableError(f"{target.address} took a request and gave no answer within {timeout_s:g} s")
        if not outbox.finished:
            transport.poller.poll(min(left_s, 1.0))
    finished = outbox.finished.pop()
    if finished.ticket not in outbox.replies:
        raise UnreachableError(f"{target.address} gave no answer: {finished.outcome}")
    return outbox.replies.pop(finished.ticket)


def fetch_metadata(target: Target) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The model's inputs and outputs, as the endpoint tells them. Raises UnreachableError or ModelError."""
    (reply,) = exchange(target, [metadata_request(target)])
    if reply.outcome:
        raise refusal(target, reply)
    try:
        return decode_metadata(reply, target)
    except ValueError as error:
        raise ModelError(Problem(what=f"metadata of {target.model} at {target.address}: {error}")) from error


def refusal(target: Target, reply: Reply, what: str = "") -> ModelError:
    """The error for an answer that says no, in the server's own words."""
    told = f": {reply.detail}" if reply.detail else ""
    about = f" to {what}" if what else ""
    return ModelError(
        Problem(what=f"{target.model} at {target.address} answers {reply.outcome}{about}{told}"),
        remedy="check the model's name and version, and that its inputs are those of the samples",
    )
