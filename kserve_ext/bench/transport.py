"""What the load loop needs from a protocol: start a request, wait, and tell what has finished."""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple, Protocol

from kserve_ext.bench.connection import Poller
from kserve_ext.bench.message import Reply


class Finished(NamedTuple):
    """One request that is over. `outcome` is empty when it was answered well, else the kind of failure."""

    ticket: int
    outcome: str
    at_s: float  # on the clock of `perf_counter`


class Outbox:
    """Where connections leave what has finished; `replies` only while `keep_replies`."""

    def __init__(self, *, keep_replies: bool = False) -> None:
        self.finished: list[Finished] = []
        self.refused: list[int] = []  # tickets a server gave back unprocessed: to be sent again
        self.keep_replies = keep_replies
        self.replies: dict[int, Reply] = {}

    def finish(self, ticket: int, outcome: str) -> None:
        self.finished.append(Finished(ticket, outcome, perf_counter()))

    def reply(self, ticket: int, reply: Reply) -> None:
        """Finish with the whole answer."""
        if self.keep_replies:
            self.replies[ticket] = reply
        self.finish(ticket, reply.outcome)


class Transport(Protocol):
    """All connections to one target."""

    outbox: Outbox
    poller: Poller

    def start(self, ticket: int, index: int) -> bool:
        """Send request number `index` under `ticket`. False when everything is in use: try again after `poll`."""
        ...

    def close(self) -> None: ...
