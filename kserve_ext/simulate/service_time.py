"""How long one request takes when a replica serves one at a time: a named distribution or measured quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kserve_ext.domain import Quantiles


class ServiceTime(Protocol):
    """A distribution of service times in seconds."""

    @property
    def mean_s(self) -> float: ...

    @property
    def least_s(self) -> float: ...

    def draw_s(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Every request takes the same time."""

    time_s: float

    @property
    def mean_s(self) -> float:
        return self.time_s

    @property
    def least_s(self) -> float:
        return self.time_s

    def draw_s(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        del rng
        return np.full(count, self.time_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """loc + scale x exp(shape x N(0, 1)): never below `loc_s`, median loc + scale."""

    loc_s: float
    scale_s: float
    shape: float

    @property
    def mean_s(self) -> float:
        return float(self.loc_s + self.scale_s * np.exp(self.shape**2 / 2))

    @property
    def least_s(self) -> float:
        return self.loc_s

    def draw_s(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        drawn: NDArray[np.float64] = rng.standard_normal(count)
        drawn *= self.shape
        np.exp(drawn, out=drawn)
        drawn *= self.scale_s
        drawn += self.loc_s
        return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Quantiles of a profile, interpolated; beyond the outermost the outermost value is used."""

    quantiles_s: Quantiles

    @property
    def mean_s(self) -> float:
        levels = (np.arange(2000) + 0.5) / 2000
        return float(np.mean(np.interp(levels, self.quantiles_s.probabilities, self.quantiles_s.values)))

    @property
    def least_s(self) -> float:
        return self.quantiles_s.values[0]

    def draw_s(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        drawn: NDArray[np.float64] = np.interp(
            rng.random(count), self.quantiles_s.probabilities, self.quantiles_s.values
        )
        return drawn
