"""What decides how many replicas run, as the simulator and the operator see it: a pure step over frozen observations.

A scaler is given what happened in each second since its last step and answers how many replicas it wants. Its state
is its own frozen type, taken and returned; it has no clock, and it may be asked at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

State = TypeVar("State")


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """One whole second [t_s, t_s + 1) of one service."""

    t_s: int
    arrivals: int  # requests that arrived, answered or not
    concurrency: float  # time-weighted mean of requests in the system: waiting and being served
    busy: float  # time-weighted mean of requests being served


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a scaler sees when it is asked."""

    now_s: float
    ready: int  # replicas that take requests
    starting: int  # replicas decided on and not ready yet
    seconds: tuple[Second, ...]  # since the last tick, ascending, without gaps
    slots_per_replica: float  # requests one replica serves at a time when it is full (1, or instances x batch)


class Scaler(Protocol[State]):
    """How many replicas a service wants, asked every `interval_s` seconds."""

    @property
    def interval_s(self) -> float:
        """Seconds between steps; a whole number."""

    def start(self, replicas: int) -> State:
        """The state before the first step, with so many replicas ready."""

    def step(self, state: State, tick: Tick) -> tuple[State, int]:
        """The next state, and the replicas wanted (starting ones included)."""
