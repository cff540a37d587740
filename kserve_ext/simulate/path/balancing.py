"""Which pod gets the next request: the ways of Knative's activator, and those of a client or an ingress.

In: how many requests the chooser has at each pod, and how many places it may use there. Out: a position, or None when
every place is taken. An ingress knows of no places: it always finds a pod, and the pod's queue-proxy queues or refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

_MOST_WITH_FIRST_AVAILABLE = 3  # Knative: up to this containerConcurrency the first pod with a place is taken
_DRAWS = 4096  # random numbers are made in blocks of this size


class Balancing(StrEnum):
    """How a pod is chosen."""

    ROUND_ROBIN = "round-robin"  # the next one with a place after the last one chosen
    FIRST_AVAILABLE = "first-available"  # the first one with a place: later pods starve at low load
    TWO_CHOICES = "two-choices"  # of two drawn at random the one with fewer requests, a coin on a tie
    RANDOM = "random"  # as a Kubernetes service does


def activator_balancing(limit: int) -> Balancing:
    """The activator's way for a containerConcurrency; 0 is no limit."""
    if limit == 0:
        return Balancing.TWO_CHOICES
    return Balancing.FIRST_AVAILABLE if limit <= _MOST_WITH_FIRST_AVAILABLE else Balancing.ROUND_ROBIN


class Balancer:
    """One chooser with its memory: whose turn it is, and its random numbers."""

    def __init__(self, way: Balancing, *, places: int | None, seed: tuple[int, ...] = (0,)) -> None:
        """`places` per pod; None: as many as asked for."""
        self._way = way
        self._places = places
        self._turn = 0
        self._rng = np.random.default_rng(seed)
        self._draws: list[float] = []

    def choose(self, held: Sequence[int]) -> int | None:
        """The position of the pod that gets the next request; `held[i]` requests of this chooser are at pod i."""
        if not held:
            return None
        if self._way is Balancing.RANDOM:
            return self._draw(len(held))
        if self._way is Balancing.TWO_CHOICES:
            return self._of_two(held)
        return self._in_order(held)

    def _in_order(self, held: Sequence[int]) -> int | None:
        in_turn = self._way is Balancing.ROUND_ROBIN
        first = self._turn if in_turn and self._turn < len(held) else 0
        for step in range(len(held)):
            position = (first + step) % len(held)
            if self._places is None or held[position] < self._places:
                self._turn = position + 1
                return position
        return None

    def _of_two(self, held: Sequence[int]) -> int:
        if len(held) == 1:
            return 0
        one, other = 0, 1
        if len(held) > 2:
            one, other = self._draw(len(held)), self._draw(len(held) - 1)
            other += other >= one
        if held[one] == held[other]:
            return other if self._draw(2) else one
        return one if held[one] < held[other] else other

    def _draw(self, count: int) -> int:
        if not self._draws:
            self._draws = self._rng.random(_DRAWS).tolist()
        return int(self._draws.pop() * count)
