"""Stories: a scaler asked second by second about a given load, with replicas that take a while to start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from kserve_ext.simulate.scaler import Scaler, Second, Tick


@dataclass(slots=True)
class Story:
    """The load is given, the replicas follow the scaler: ready `cold_start_s` after they were asked for."""

    scaler: Scaler[Any]
    replicas: int = 1
    cold_start_s: int = 0
    now: int = 0
    wanted: dict[int, int] = field(default_factory=dict)  # by second, as it stands at its beginning
    _state: Any = None
    _starting: list[int] = field(default_factory=list)
    _seconds: list[Second] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._state = self.scaler.start(self.replicas)
        self.wanted[0] = self.replicas

    def goes_on(self, until: int, *, concurrency: float = 0.0, rps: int = 0, busy: float | None = None) -> Story:
        """Seconds of the same load up to `until`; `busy` is everything in flight unless given."""
        while self.now < until:
            used = concurrency if busy is None else busy
            self._seconds.append(Second(t_s=self.now, arrivals=rps, concurrency=concurrency, busy=used))
            self.now += 1
            while self._starting and self._starting[0] <= self.now:
                self._starting.pop(0)
                self.replicas += 1
            if self.now % self.scaler.interval_s == 0:
                self._step()
            self.wanted[self.now] = self.replicas + len(self._starting)
        return self

    def _step(self) -> None:
        tick = Tick(
            now_s=float(self.now), ready=self.replicas, starting=len(self._starting), seconds=tuple(self._seconds),
            slots_per_replica=1.0,
        )  # fmt: skip
        self._seconds.clear()
        self._state, wanted = self.scaler.step(self._state, tick)
        self._starting += [self.now + self.cold_start_s] * (wanted - self.replicas - len(self._starting))
        del self._starting[max(0, wanted - self.replicas) :]
        self.replicas = min(self.replicas, wanted)
        while self._starting and self._starting[0] <= self.now:
            self._starting.pop(0)
            self.replicas += 1

    def expect(self, *, at: int, replicas: int) -> Story:
        """So many replicas were wanted, starting ones included, after the step at this second."""
        assert self.wanted[at] == replicas, f"at {at} s: {self.wanted[at]} replicas, not {replicas}"
        return self


@dataclass(frozen=True, slots=True)
class Watched:
    """A scaler that keeps a record of what it was shown and what it answered."""

    scaler: Scaler[Any]
    steps: list[tuple[Tick, int]] = field(default_factory=list)

    @property
    def interval_s(self) -> float:
        return self.scaler.interval_s

    def start(self, replicas: int) -> Any:
        return self.scaler.start(replicas)

    def step(self, state: Any, tick: Tick) -> tuple[Any, int]:
        state, wanted = self.scaler.step(state, tick)
        self.steps.append((tick, wanted))
        return state, wanted


@pytest.fixture(scope="session")
def story() -> Callable[..., Story]:
    return Story


@pytest.fixture(scope="session")
def watched() -> Callable[[Scaler[Any]], Watched]:
    return Watched
