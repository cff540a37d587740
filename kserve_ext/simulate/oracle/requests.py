"""The very requests the engine will see, ahead of time: arrivals and service times, whole epochs at a time.

Same workload and seed as the engine, same values to the bit. At most one block of the arrivals, or one epoch if that
is longer, is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kserve_ext.simulate.arrivals import Block, Times
from kserve_ext.simulate.engine import Workload

_SERVICE_STREAM = 21  # as in SlotPool: service times are drawn in the order of arrival, whatever the replicas do


class Epoch(NamedTuple):
    """The requests that arrive in [start_s, end_s), in order of arrival."""

    start_s: float
    end_s: float
    arrivals_s: Times
    services_s: Times


def epochs(workload: Workload, seed: int, epoch_s: int) -> Iterator[Epoch]:
    """The workload in spans of `epoch_s`; the last one may be shorter."""
    rng = np.random.default_rng((seed, _SERVICE_STREAM))
    duration_s = workload.arrivals.duration_s
    for span in _whole_epochs(workload.arrivals.blocks(seed), epoch_s, duration_s):
        services_s = workload.service_time.draw_s(rng, len(span.times_s))
        starts = np.arange(span.start_s, span.end_s, epoch_s)
        edges = np.append(np.searchsorted(span.times_s, starts), len(span.times_s)).tolist()
        for start_s, first, last in zip(starts.tolist(), edges[:-1], edges[1:], strict=True):
            end_s = min(start_s + epoch_s, duration_s)
            yield Epoch(float(start_s), float(end_s), span.times_s[first:last], services_s[first:last])


def _whole_epochs(blocks: Iterator[Block], epoch_s: int, duration_s: int) -> Iterator[Block]:
    """The same arrivals in blocks that begin and end where epochs do."""
    start_s, held = 0, np.empty(0)
    parts: list[Times] = []
    for block in blocks:
        parts.append(block.times_s)
        end_s = duration_s if block.end_s >= duration_s else block.end_s // epoch_s * epoch_s
        if end_s > start_s:
            held = np.concatenate(parts)
            cut = int(np.searchsorted(held, end_s)) if end_s < duration_s else len(held)
            yield Block(start_s, end_s, held[:cut])
            start_s, parts = end_s, [held[cut:]]
