"""One server that holds several models, request by request: each has its own batcher, all slow each other down.

An execution takes as long as its law says with the instances of all models counted that are busy when it starts. The
concurrency limit in front is one for all. Pure: the caller brings arrivals and a seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from kserve_ext.simulate.batcher import Seconds, Server, Stage, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model's requests and its stages; their laws cover the busy instances of all models."""

    arrivals_s: Seconds  # ascending
    stages: Sequence[Stage]


def simulate_several(
    models: Sequence[Model], *, concurrency_limit: int | None = None, seed: int = 0
) -> tuple[Trace, ...]:
    """When each request of each model is answered. The same arguments give the same result."""
    replica = _Replica(models, concurrency_limit, seed)
    order = sorted((moment, place, request) for place, model in enumerate(models)
                   for request, moment in enumerate(model.arrivals_s.tolist()))  # fmt: skip
    for moment, place, request in chain(order, [(math.inf, 0, 0)]):
        replica.run_until(moment)
        if moment < math.inf:
            replica.arrive(place, request, moment)
    return tuple(
        Trace(arrivals_s=model.arrivals_s, done_s=np.array(done), batch_sizes=server.batch_sizes)
        for model, done, server in zip(models, replica.done_s, replica.servers, strict=True)
    )


class _Replica:
    """The server while it runs; models are told by their place."""

    def __init__(self, models: Sequence[Model], concurrency_limit: int | None, seed: int) -> None:
        self.servers = [
            Server(model.stages, seed=seed + place, draws=len(model.arrivals_s)) for place, model in enumerate(models)
        ]
        self.done_s = [[0.0] * len(model.arrivals_s) for model in models]
        self._limit = concurrency_limit or sum(len(model.arrivals_s) for model in models) + 1
        self._outside: deque[tuple[int, int]] = deque()

    def run_until(self, moment: float) -> None:
        """Everything that happens up to `moment`."""
        while True:
            place = min(range(len(self.servers)), key=lambda each: self.servers[each].next_s)
            server = self.servers[place]
            if not server.due(moment):
                return
            self._see(place)
            now, answered = server.step()
            for request in answered:
                self.done_s[place][request] = now
            while answered and self._outside and self._inside < self._limit:
                self._admit(*self._outside.popleft(), now)

    def arrive(self, place: int, request: int, now: float) -> None:
        """A request for the model at `place`."""
        if self._inside < self._limit:
            self._admit(place, request, now)
        else:
            self._outside.append((place, request))

    @property
    def _inside(self) -> int:
        return sum(server.inside for server in self.servers)

    def _admit(self, place: int, request: int, now: float) -> None:
        self._see(place)
        self.servers[place].admit(request, now)

    def _see(self, place: int) -> None:
        """Tell a model's server how many instances of the others are busy."""
        busy = sum(server.busy_instances for server in self.servers)
        self.servers[place].foreign = busy - self.servers[place].busy_instances
