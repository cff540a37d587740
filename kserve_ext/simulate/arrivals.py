"""When requests arrive: counts of a trace, Poisson, modulated and shaped rates, or exact times; in blocks, by seed.

A block is a span of whole seconds and the arrival times in it, ascending, so that a day of any rate fits in memory.
The same seed gives the same times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
_BLOCK_S = 60  # the least that a block spans, but for the last


class Block(NamedTuple):
    """Arrivals in [start_s, end_s), both whole seconds."""

    start_s: int
    end_s: int
    times_s: Times

    def counts(self) -> NDArray[np.int64]:
        """How many arrive in each of its seconds; one that rounding has put at the very end belongs to the last."""
        edges = np.searchsorted(self.times_s, np.arange(self.start_s + 1, self.end_s))
        return np.diff(edges, prepend=0, append=len(self.times_s))


class Arrivals(Protocol):
    """A source of arrivals from second 0 to `duration_s`."""

    @property
    def duration_s(self) -> int: ...

    def blocks(self, seed: int) -> Iterator[Block]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Requests counted in steps of `step_s` seconds, as in a trace; inside a step they fall uniformly at random."""

    counts: tuple[int, ...]
    step_s: int = 1

    @property
    def duration_s(self) -> int:
        return len(self.counts) * self.step_s

    def blocks(self, seed: int) -> Iterator[Block]:
        return _joined(self._steps(np.random.default_rng((seed, 11))))

    def _steps(self, rng: np.random.Generator) -> Iterator[Block]:
        for index, count in enumerate(self.counts):
            start_s = index * self.step_s
            yield Block(start_s, start_s + self.step_s, start_s + self.step_s * _ordered(rng, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Poisson arrivals whose rate is `rates_rps[i]` in the i-th step of `step_s` seconds."""

    rates_rps: tuple[float, ...]
    step_s: int = _BLOCK_S

    @property
    def duration_s(self) -> int:
        return len(self.rates_rps) * self.step_s

    def blocks(self, seed: int) -> Iterator[Block]:
        return _joined(self._steps(np.random.default_rng((seed, 12))))

    def _steps(self, rng: np.random.Generator) -> Iterator[Block]:
        for index, rate_rps in enumerate(self.rates_rps):
            start_s = index * self.step_s
            count = int(rng.poisson(rate_rps * self.step_s))
            yield Block(start_s, start_s + self.step_s, start_s + self.step_s * _ordered(rng, count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Modulated:
    """Markov-modulated Poisson arrivals: each state has a rate and a mean stay, the next state is drawn evenly.

    With rates (r, 0) it is an on/off source. Index of dispersion above 1, as in bursty traffic.
    """

    rates_rps: tuple[float, ...]
    stays_s: tuple[float, ...]
    duration_s: int

    def blocks(self, seed: int) -> Iterator[Block]:
        rng = np.random.default_rng((seed, 13))
        state, left_s = 0, float(rng.exponential(self.stays_s[0]))
        for start_s in range(0, self.duration_s, _BLOCK_S):
            span_s = min(_BLOCK_S, self.duration_s - start_s)
            times: list[Times] = []
            position_s = 0.0
            while position_s < span_s:
                length_s = min(left_s, span_s - position_s)
                count = int(rng.poisson(self.rates_rps[state] * length_s))
                times.append(start_s + position_s + length_s * _ordered(rng, count))
                position_s += length_s
                left_s -= length_s
                if left_s <= 0.0:
                    state = _another(rng, state, len(self.rates_rps))
                    left_s = float(rng.exponential(self.stays_s[state]))
            yield Block(start_s, start_s + span_s, np.concatenate(times))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Arrivals at exactly these times, ascending, in seconds from 0."""

    times_s: tuple[float, ...]

    @property
    def duration_s(self) -> int:
        return int(self.times_s[-1]) + 1 if self.times_s else 1

    def blocks(self, seed: int) -> Iterator[Block]:
        del seed
        yield Block(0, self.duration_s, np.asarray(self.times_s, dtype=np.float64))


def ramp(low_rps: float, high_rps: float, duration_s: int, step_s: int = _BLOCK_S) -> Rates:
    """A rate that rises or falls in a straight line."""
    steps = max(1, duration_s // step_s)
    return Rates(rates_rps=tuple(np.linspace(low_rps, high_rps, steps).tolist()), step_s=step_s)


def daily(low_rps: float, high_rps: float, days: int, step_s: int = _BLOCK_S) -> Rates:
    """A rate that swings once a day between two levels, as a sine with its low at midnight."""
    phase = 2 * np.pi * np.arange(days * 86400 // step_s) * step_s / 86400
    middle, swing = (low_rps + high_rps) / 2, (high_rps - low_rps) / 2
    return Rates(rates_rps=tuple((middle - swing * np.cos(phase)).tolist()), step_s=step_s)


def per_second(arrivals: Arrivals, seed: int) -> NDArray[np.int64]:
    """How many requests arrive in each second."""
    counts = np.zeros(arrivals.duration_s, dtype=np.int64)
    for block in arrivals.blocks(seed):
        counts[block.start_s : block.end_s] = block.counts()
    return counts


def _joined(steps: Iterator[Block]) -> Iterator[Block]:
    """Short steps joined until they span a minute: an array per second would cost more than what is in it."""
    parts: list[Block] = []
    for step in steps:
        parts.append(step)
        if step.end_s - parts[0].start_s >= _BLOCK_S:
            yield _one(parts)
            parts = []
    if parts:
        yield _one(parts)


def _one(parts: Sequence[Block]) -> Block:
    return Block(parts[0].start_s, parts[-1].end_s, np.concatenate([part.times_s for part in parts]))


def _ordered(rng: np.random.Generator, count: int) -> Times:
    """`count` ordered uniform values in [0, 1): gaps are exponential, so no sorting is needed."""
    gaps = rng.standard_exponential(count + 1)
    summed = np.cumsum(gaps)
    ordered: Times = summed[:-1] / summed[-1]
    return ordered


def _another(rng: np.random.Generator, state: int, states: int) -> int:
    return (state + int(rng.integers(1, states))) % states if states > 1 else state
