"""How many requests may be in flight, and what is said to one too many. No I/O; not for several threads.

A place is taken before the body is read, so memory is bounded by places x the largest request.
"""

from __future__ import annotations

from dataclasses import dataclass

from kserve_ext.serving.faults import Fault, NotReady, Overloaded


@dataclass(slots=True, kw_only=True)
class Admission:
    """The places of one process. Ending: unready, still open. Closed: nobody enters, those inside stay."""

    limit: int
    in_flight: int = 0
    ending: bool = False
    closed: bool = False

    def enter(self) -> Fault | None:
        """Take a place, or say why there is none."""
        if self.closed:
            return NotReady("this server is about to end")
        if self.in_flight >= self.limit:
            return Overloaded(f"{self.limit} requests are in flight, which is the limit")
        self.in_flight += 1
        return None

    def leave(self) -> None:
        """Give the place back."""
        self.in_flight -= 1
